"""Sessions with one attack each, and nothing in its way.

Contract: `attack` returns the steps of a client that behaves until it does one thing that servers
read differently.  A mutation of a session in any order seldom gets so far; these always do.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random  # noqa: TID251 - seeded
from typing import Final

from .mutations import BLANKS, BOUNDS, DOTS, ENDS, FAR_BOUNDS
from .sessions import REFUSED_LINES, Step

_GREETINGS: Final = (b"EHLO x.test\r\n",) * 4 + (b"HELO x.test\r\n",)
_BODIES: Final = (
    b"", b"", b"", b" BODY=8BITMIME", b" BODY=7BIT", b" body=7bit", b" BODY=7BIT SIZE=1000", b" SIZE=1000 BODY=7BIT",
)  # fmt: skip
_EVIL: Final = b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<root@mx.test>\r\nDATA\r\nevil\r\n.\r\n"
_LINE_STARTS: Final = (b"NOOP ", b"MAIL FROM:<a@b.test> X=", b"RCPT TO:<", b"HELO ", b"AUTH PLAIN ", b"RSET ", b"QUIT ")
_BODY_BOUNDS: Final = (*range(2045, 2050), *(2047, 2499, 4095) * 3, 1000, 1023, 2498, 2500, 4094, 4096)
_RESPONSE_BOUNDS: Final = (*range(1998, 2001), *(2046, 2047, 2048) * 2, 1023, 12286, 12287, 12288, 16382, 16383, 16384)
_BASE64_WORDS: Final = (b"VRFY", b"EXPN", b"DEBUG", b"WIZ", b"SHOWQ", b"VERB", b"TURN", b"ONEX")


def attack(rng: Random) -> list[Step]:
    """Return a session with an attack."""
    steps = [Step("hello", rng.choice(_GREETINGS)), *rng.choice(_ATTACKS)(rng)]
    if rng.random() < 0.5:
        steps.append(Step("quit", b"QUIT\r\n"))
    if rng.random() < 0.2:
        steps = [step._replace(waits=step.kind in ("data", "auth")) for step in steps]
    return steps


def _inner(rng: Random) -> bytes:
    """Return what is to be run: a refused command, or a message of one's own."""
    return _EVIL if rng.random() < 0.2 else rng.choice(REFUSED_LINES) + b"\r\n"


def _up_to_data(rng: Random) -> list[Step]:
    """Return MAIL, RCPT and DATA."""
    body = rng.choice(_BODIES)
    steps = [Step("mail", b"MAIL FROM:<a@b.test>" + body + b"\r\n")]
    return [*steps, Step("rcpt", b"RCPT TO:<root@mx.test>\r\n"), Step("data", b"DATA\r\n")]


def _masked(octets: bytes) -> bytes:
    return bytes(octet | 0x80 for octet in octets)


def end_of_data(rng: Random) -> list[Step]:
    """End the data as only some servers do; behind it are commands for them, and text for the others."""
    dot = rng.choice(DOTS)
    if rng.random() < 0.25:
        dot = _masked(b"\r\n.\r\n")[: 5 if rng.random() < 0.7 else 3] if rng.random() < 0.5 else _masked(dot)
    head = rng.choice((b"Subject: t\r\n\r\nx", b"Subject: t\n\nx", b"x", b"", b"Subject: t\r\n"))
    end = rng.choice((b"\r\n.\r\n", b".\r\n", b""))
    return [*_up_to_data(rng), Step("content", head + dot + _inner(rng) + end)]


def declared_before(rng: Random) -> list[Step]:
    """Say 7BIT in a MAIL that is refused or taken back, and then send what has the eighth bit."""
    mail, rcpt, data = b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<root@mx.test>\r\n", b"DATA\r\n"
    declared = mail.replace(b"\r\n", rng.choice((b" BODY=7BIT\r\n", b" body=7bit\r\n", b" SIZE=1 BODY=7BIT\r\n")))
    lines = rng.choice(
        (
            [mail, declared, rcpt],
            [mail, rcpt, declared],
            [mail, b"MAIL FROM:<refused@b.test> BODY=7BIT\r\n", rcpt],
            [declared.replace(b"<a@", b"<refused@"), mail, rcpt],
            [declared, b"RSET\r\n", mail, rcpt],
            [declared, b"EHLO x.test\r\n", mail, rcpt],
        )
    )
    steps = [Step("mail", line) for line in [*lines, data]]
    dot = rng.choice((_masked(b"\r\n.\r\n"), b"\r\n" + _masked(b".\r\n"), _masked(b"\n.\n"), b"\xc3\x8a.\r\n"))
    return [*steps, Step("content", b"x" + dot + _inner(rng) + b"\r\n.\r\n")]


def long_content(rng: Random) -> list[Step]:
    """Let a dot stand where a server with a short buffer begins a new line."""
    bound = rng.choice(_BODY_BOUNDS)
    lead = rng.choice((b"", b"Subject: t\r\n\r\n", b"x" * 500 + b"\r\n"))
    line = (rng.choice((b"x",) * 6 + (b".", b"\xc3")) * bound)[:bound]
    dot = rng.choice((b".\r\n",) * 4 + (b".\n", b".", b"\r\n.\n"))
    return [*_up_to_data(rng), Step("content", lead + line + dot + _inner(rng) + b"\r\n.\r\n")]


def half_content(rng: Random) -> list[Step]:
    """Go away in the middle of the content."""
    rest = rng.choice(
        (b"\r\n.", b"\r\n.\r", b"\r\n", b"\r", b"", b"\r\n.\r\n\r\n.", b"\n.", b"\r\n..", b"\r\nVRFY root")
    )
    lead = b"." if rng.random() < 0.1 else b"Subject: t\r\n\r\nx"
    return [*_up_to_data(rng), Step("content", lead + rest)]


def long_command(rng: Random) -> list[Step]:
    """Put a command where a server begins a new line."""
    start = rng.choice(_LINE_STARTS)
    bound = rng.choice(FAR_BOUNDS if rng.random() < 0.05 else BOUNDS)
    filler = (rng.choice((b"A", b"A", b"A", b" ", b"\xc3\xa9")) * bound)[: bound - len(start)]
    if rng.random() < 0.2:
        filler = b"\0" + filler[1:]
    return [Step("other", start + filler + _inner(rng))]


def exchange(rng: Random) -> list[Step]:
    """Answer a challenge with what may be a command, or may hide one."""
    start = rng.choice(
        (b"AUTH LOGIN\r\n", b"AUTH LOGIN\r\n", b"AUTH PLAIN\r\n", b"AUTH CRAM-MD5\r\n", b"AUTH LOGIN dQ==\r\n")
    )
    draw = rng.random()
    line: bytes
    if draw < 0.3:
        # Such a word is a response as good as any other, but for its place.
        bound = rng.choice(_RESPONSE_BOUNDS)
        line = rng.choice((b"A", b"A", b"A", b"A", b"A", b"\0")) * bound + rng.choice(_BASE64_WORDS) + b"\r\n"
    elif draw < 0.5:
        line = rng.choice((b"*", b"AGEAYg==", b"", b"=", b"dQ==")) + rng.choice((*BLANKS, *ENDS)) + _inner(rng)
    elif draw < 0.6:
        line = rng.choice((b"*\0x", b"* ", b" *", b"====", b"", b"AGEAYg", b"\xff\xff", b"*\r", b"dQ=\r\n")) + b"\r\n"
    else:
        line = rng.choice((b"dXNlcg==", b"AGEAYg==", b"VRFY", b"DEBUG")) + b"\r\n"
    more = [Step("sasl", rng.choice((b"cGFzcw==\r\n", b"EXPN\r\n", b"*\r\n")))] if rng.random() < 0.6 else []
    return [Step("auth", start), Step("sasl", line), *more, Step("refused", rng.choice(REFUSED_LINES) + b"\r\n")]


def no_data(rng: Random) -> list[Step]:
    """Send content behind a DATA that was refused: every line of it is a command."""
    recipient = rng.choice((b"<nodata@mx.test>", b"<refused@mx.test>", b"<later@mx.test>"))
    steps = [Step("mail", b"MAIL FROM:<a@b.test>\r\n"), Step("rcpt", b"RCPT TO:" + recipient + b"\r\n")]
    data = rng.choice((b"DATA\r\n", b"DATA\r\n", b"data\r\n", b"DATA \r\n", b"DATA x\r\n"))
    steps = steps[int(rng.random() * 3) :]
    return [*steps, Step("data", data), Step("content", _inner(rng) + b".\r\n")]


def odd_line(rng: Random) -> list[Step]:
    """Hide a command in a line, behind an end or a blank that not every server sees."""
    line = rng.choice(
        (b"NOOP", b"NOOP x", b"RSET", b"MAIL FROM:<a@b.test>", b"HELO x", b"FOOBAR", b"RCPT TO:<a@b.test>")
    )
    if rng.random() < 0.5:
        return [Step("other", line + rng.choice(ENDS) + _inner(rng))]
    inner = _inner(rng)
    draw = rng.random()
    if draw < 0.5:
        inner = rng.choice(BLANKS) * (1 + int(rng.random() * 3)) + inner
    elif draw < 0.7:
        inner = _masked(inner)
    else:
        inner = inner.replace(b" ", rng.choice(BLANKS), 1)
    return [Step("refused", inner), Step("other", line + b"\r\n")]


def chunks(rng: Random) -> list[Step]:
    """Send chunks that look like commands, and commands behind them."""
    steps = _up_to_data(rng)[:-1]
    for _ in range(1 + int(rng.random() * 3)):
        octets = _inner(rng) + rng.choice((b"", b".\r\n", b"\r\n.\r\n", b"\0", b"\n.\n"))
        last = b" LAST" if rng.random() < 0.4 else b""
        count = len(octets) if rng.random() < 0.85 else max(0, len(octets) + rng.choice((-11, -2, -1, 1, 2, 11)))
        steps += [Step("other", b"BDAT %d%s\r\n" % (count, last), rng.random() < 0.1), Step("chunk", octets)]
    if rng.random() < 0.3:
        steps.insert(
            -2, Step("other", rng.choice((b"DATA\r\n", b"RSET\r\n", b"NOOP\r\n", b"MAIL FROM:<c@b.test>\r\n")))
        )
    return steps


_ATTACKS: Final[tuple[Callable[[Random], list[Step]], ...]] = (
    *(end_of_data,) * 5, declared_before, *(long_content,) * 2, half_content, *(long_command,) * 2, *(exchange,) * 3,
    no_data, odd_line, chunks,
)  # fmt: skip
