"""Sessions as lists of steps: what a client that means well sends, and one that tries doors.

Contract: `conforming` follows RFC 5321 and 2920 to the letter; `loose` has the same steps in any
order, with refused verbs, chunks and exchanges that a server may or may not offer, each in a form
that is well-formed by itself.  No step holds `#`: that is the mark of the models' serial numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random  # noqa: TID251 - seeded
from typing import Final, NamedTuple


class Step(NamedTuple):
    """One thing that a client says."""

    kind: str
    """hello, auth, sasl, mail, rcpt, data, content, chunk, refused, other or quit."""
    octets: bytes
    waits: bool = True
    """The client reads the replies before it goes on."""


HELLO: Final = (b"EHLO x.test", b"EHLO x.test", b"EHLO [192.0.2.1]", b"HELO x.test", b"ehlo client.example.org")
SENDERS: Final = (b"<a@b.test>", b"<a@b.test>", b"<>", b"<bounce+x=y@list.example.org>", b'<"a b"@b.test>')
RECIPIENTS: Final = (b"<root@mx.test>", b"<root@mx.test>", b"<list@mx.test>", b"<postmaster>", b"<x@mx.test>")
MAGIC: Final = (b"<refused@mx.test>", b"<later@mx.test>", b"<nodata@mx.test>")
"""Local parts that the models refuse, put off, or take and then refuse the DATA of."""
PARAMETERS: Final = (
    b" SIZE=1000", b" SIZE=0", b" BODY=7BIT", b" BODY=8BITMIME", b" BODY=BINARYMIME", b" SMTPUTF8", b" RET=HDRS",
    b" ENVID=QQ314159", b" AUTH=<>", b" SIZE=99999999999", b" BODY=9BIT", b" X=1",
)  # fmt: skip
REFUSED_LINES: Final = (
    b"VRFY root", b"VRFY root", b"EXPN list", b"EXPN list", b"DEBUG", b"WIZ", b"SHOWQ", b"KILL", b"SHELL", b"VERB",
    b"ONEX", b"XUSR", b"ETRN x.test", b"TURN", b"ATRN x.test", b"SEND FROM:<a@b.test>", b"SOML FROM:<a@b.test>",
    b"SAML FROM:<a@b.test>", b"XCLIENT ADDR=127.0.0.1 LOGIN=admin", b"XFORWARD ADDR=127.0.0.1", b"STARTTLS",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25", b"BURL imap://x/ LAST", b"XEXCH50 20 2", b"X-EXPS GSSAPI", b"EXPN",
    b"XPROXYTO x", b"INTERNALCMD x", b"WELLKNOWN x", b"STARTTLS now", b"VRFY", b"VRFY  root", b"BDAT 0",
)  # fmt: skip
OTHER_LINES: Final = (
    b"RSET", b"RSET", b"NOOP", b"NOOP x", b"HELP", b"FOOBAR", b"NOOP ", b"RSET x", b"DATA x", b"QUIT x", b"X-UNKNOWN 1",
    b"HELP VRFY",
)  # fmt: skip
EXCHANGES: Final = (
    (b"AUTH PLAIN AGEAYg==",),
    (b"AUTH PLAIN AGEAYg==",),
    (b"AUTH PLAIN", b"AGEAYg=="),
    (b"AUTH LOGIN", b"dXNlcg==", b"cGFzcw=="),
    (b"AUTH LOGIN dXNlcg==", b"cGFzcw=="),
    (b"AUTH CRAM-MD5", b"*"),
    (b"AUTH CRAM-MD5", b"dXNlciBhYmNk"),
    (b"AUTH PLAIN =",),
    (b"AUTH LOGIN", b"VRFY", b"EXPN"),
    (b"AUTH",),
    (b"AUTH NOSUCH",),
)
_WORDS: Final = (b"mail", b"about", b"nothing", b"VRFY root", b"EXPN list", b"DATA", b"QUIT", b"=20", b"--x", b"250 ok")


def conforming(rng: Random) -> tuple[list[Step], list[bytes]]:
    """Return a session that conforms, and its messages."""
    steps = [Step("hello", rng.choice(HELLO) + b"\r\n")]
    esmtp = steps[0].octets[:1] in b"Ee"
    pipelined = esmtp and rng.random() < 0.4
    if esmtp and rng.random() < 0.12:
        steps.append(Step("auth", b"AUTH PLAIN AGEAYg==\r\n"))
    messages = []
    for _ in range(1 if rng.random() < 0.7 else rng.randint(0, 3)):
        if rng.random() < 0.15:
            steps.append(Step("other", rng.choice((b"NOOP\r\n", b"RSET\r\n")), not pipelined))
        draw = rng.random() if esmtp else 1.0
        eight = draw < 0.2
        parameters = b" BODY=8BITMIME" if eight else b" BODY=7BIT" if draw < 0.3 else b""
        content = ordinary(rng, eight)
        if esmtp and rng.random() < 0.2:
            parameters += b" SIZE=%d" % len(content)
        steps.append(Step("mail", b"MAIL FROM:" + rng.choice(SENDERS) + parameters + b"\r\n", not pipelined))
        for _ in range(1 if rng.random() < 0.7 else 3):
            steps.append(Step("rcpt", b"RCPT TO:" + rng.choice(RECIPIENTS) + b"\r\n", not pipelined))
        if rng.random() < 0.1:
            steps.append(Step("rcpt", b"RCPT TO:" + rng.choice(MAGIC[:2]) + b"\r\n", not pipelined))
        steps.append(Step("data", b"DATA\r\n"))
        steps.append(Step("content", content + b".\r\n", not pipelined))
        messages.append(content)
    if rng.random() < 0.9:
        steps.append(Step("quit", b"QUIT\r\n"))
    return steps, messages


def ordinary(rng: Random, eight: bool) -> bytes:
    """Return content that conforms: dots stuffed, lines of at most 998 octets, every line ended."""
    draw = rng.random()
    if draw < 0.04:
        return b""
    lines = [b"Subject: " + rng.choice(_WORDS), b""]
    for _ in range(int(rng.random() * 5)):
        draw = rng.random()
        if draw < 0.5:
            lines.append(rng.choice(_WORDS))
        elif draw < 0.7:
            lines.append(rng.choice((b"..", b"...", b"..VRFY root", b".. ", b"..\t")))
        elif draw < 0.8:
            lines.append(rng.choice((b"x", b"-", b"x ")) * rng.choice((70, 254, 496, 499)) + b"x")
        elif eight:
            lines.append(rng.choice(("Grüße", "Ж.", "…", "\u2028VRFY root")).encode() + rng.choice((b"", b"\x8d\x8a")))
        else:
            lines.append(b"")
    return b"\r\n".join(lines) + b"\r\n"


def content(rng: Random) -> bytes:
    """Return content with its end, mostly ordinary; 8-bit whether or not that was announced, and
    sometimes with the line for which the models refuse a message."""
    unwanted = b"X-Refuse: yes\r\n" if rng.random() < 0.05 else b""
    return unwanted + ordinary(rng, rng.random() < 0.2) + b".\r\n"


def chunk(rng: Random) -> list[Step]:
    """Return a BDAT and its octets; the count is not always theirs."""
    octets = rng.choice((b"x\r\n", b"Subject: t\r\n\r\nVRFY root\r\n", b"VRFY root\r\n", b".\r\n", b"a\0b\n.\n"))
    count = len(octets) + (rng.choice((-12, -2, -1, 1, 2, 12)) if rng.random() < 0.3 else 0)
    last = b" LAST" if rng.random() < 0.7 else b""
    return [Step("other", b"BDAT %d%s\r\n" % (max(count, 0), last), False), Step("chunk", octets)]


def transaction(rng: Random) -> list[Step]:
    """Return MAIL, RCPT and a content, or most of that."""
    mail = b"MAIL FROM:" + (MAGIC[0] if rng.random() < 0.03 else rng.choice(SENDERS))
    while rng.random() < 0.3:
        mail += rng.choice(PARAMETERS)
    if rng.random() < 0.05:
        mail = "MAIL FROM:<ü@b.test> SMTPUTF8".encode()
    steps = [Step("mail", mail + b"\r\n")]
    recipient = rng.choice(MAGIC) if rng.random() < 0.2 else rng.choice(RECIPIENTS)
    if mail.endswith(b" SMTPUTF8") and rng.random() < 0.5:
        recipient = "<grüße@mx.test>".encode()
    steps.append(Step("rcpt", b"RCPT TO:" + recipient + (b" NOTIFY=NEVER\r\n" if rng.random() < 0.05 else b"\r\n")))
    if rng.random() < 0.2:
        steps.append(Step("rcpt", b"RCPT TO:" + rng.choice(RECIPIENTS) + b"\r\n"))
    if rng.random() < 0.15:
        return steps + chunk(rng)
    steps.append(Step("data", b"DATA\r\n"))
    steps.append(Step("content", content(rng)))
    return steps


def exchange(rng: Random) -> list[Step]:
    """Return an AUTH and the lines that go with it."""
    first, *more = rng.choice(EXCHANGES)
    return [Step("auth", first + b"\r\n"), *(Step("sasl", line + b"\r\n") for line in more)]


def refused(rng: Random) -> list[Step]:
    """Return one command that an outsider may not have."""
    return [Step("refused", rng.choice(REFUSED_LINES) + b"\r\n")]


def other(rng: Random) -> list[Step]:
    """Return one command that changes little."""
    return [Step("other", rng.choice(OTHER_LINES) + b"\r\n")]


_PARTS: Final[tuple[Callable[[Random], list[Step]], ...]] = (
    *(transaction,) * 6, *(refused,) * 2, *(other,) * 2, *(exchange,) * 2, chunk,
)  # fmt: skip


def loose(rng: Random) -> list[Step]:
    """Return a session of parts in any order."""
    steps = [Step("hello", rng.choice(HELLO) + b"\r\n")] if rng.random() < 0.93 else []
    for _ in range(1 + int(rng.random() * 3)):
        steps += rng.choice(_PARTS)(rng)
    if rng.random() < 0.6:
        steps.append(Step("quit", b"QUIT\r\n"))
    if rng.random() < 0.25:
        steps = [step._replace(waits=step.kind in ("data", "auth")) for step in steps]
    return steps
