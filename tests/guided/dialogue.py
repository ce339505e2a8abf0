"""Target: the whole dialogue (smtpguard.smtp.dialogue), client and backend both from the fuzzer.

The first octet chooses policy and bounds, the second the backend's profile, the third what else is in
the terms; one that is missing is 0.  What follows is a script: octet 0xFE and a letter say what
happens, the octets behind them what is sent.  C and B: client or backend sends; F: the client
half-closes; L and K: client or backend is lost; U: no backend; T: time-out; D: the delay is over; R:
drain; S: stop; X: fail.  The script is played with segments as written and octet by octet.

What must hold is in watch.py; how the octets are cut changes nothing that the client sees, and octet
by octet the backend gets no less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import IntFlag
from functools import cache
from typing import Final

from smtpguard.config import policy_file
from smtpguard.config.yaml_reader import read
from smtpguard.policy.networks import Peer
from smtpguard.policy.rules import Policy
from smtpguard.smtp.answers import OUT_OF_TURN
from smtpguard.smtp.bounds import Bounds
from smtpguard.smtp.budgets import Budgets
from smtpguard.smtp.profiles import PROFILES as BACKENDS
from smtpguard.smtp.profiles import Profile
from smtpguard.smtp.replies import Reply
from smtpguard.smtp.terms import BareNewline, EarlyInput, StartTls, Terms
from tests.smtp.table import INSIDE, OUTSIDE, perimeter
from tests.smtp.test_transcripts import octets_of, transcripts

from . import oracle, parts, sources
from .watch import EVENTS, Watch

MAX_LEN: Final = 1024
SIGN: Final = b"\xfe"
WORDS: Final = (
    *(SIGN + letter.encode() for letter in ("C", "B", *EVENTS)), b"\xfeB250 ok\r\n\xfeC", b"\xfeB220 mx\r\n\xfeC",
    b"\xfeB354 go\r\n\xfeC", b"\xfeB334 \r\n\xfeC", b"\xfeB500 no\r\n", b"\xfeB421 x\r\n",
    b"\xfeB250-mx\r\n250-VRFY\r\n250 SMTPUTF8\r\n\xfeC", b"\xfeB221 bye\r\n", b"\xfeB235 in\r\n\xfeC", b"NOOP\r\n",
    b"VRFY a\r\n", b"EHLO a\r\n", b"HELO a\r\n", b"MAIL FROM:<a@b>", b" BODY=7BIT", b" SMTPUTF8", b"RSET\r\n",
    b"RCPT TO:<a@b>\r\n", b"DATA\r\n", b"\r\n.\r\n", b".\r\n", b"AUTH PLAIN\r\n", b"AUTH PLAIN eA==\r\n", b"eA==\r\n",
    b"*\r\n", b"BDAT 5 LAST\r\n", b"STARTTLS\r\n", b"QUIT\r\n", b"XCLIENT a\r\n", b"GET / HTTP/1.0\r\n", b"DEBUG\r\n",
    b"\r\n", b"\r", b"\n", b"\0", b"\xc3\xa9", b"EXPN a\r\n", b"BDAT 5\r\n", b"BDAT 0 LAST\r\n", b"\n.\n",
    b"\xfeB250-mx\r\n250 CHUNKING\r\n\xfeC", b"\xfeD", b"ETRN a\r\n", b"WIZ\r\n",
)  # fmt: skip

PROFILES: Final = (parts.profile(), *BACKENDS.values())
BOUNDS: Final = Bounds()
SMALL: Final = Bounds(queue=128, reply_line=64, reply=200)
FEW: Final = Budgets(bad=2, noop=1, helo=1, vrfy=1, etrn=1, refused=12)


class Option(IntFlag):
    """What the third octet chooses."""

    NORMALIZE = 1
    REJECT_EARLY = 2
    CHUNKING = 4
    BUDGETS = 8
    STARTTLS = 16


BANNER: Final = Reply.parse("220 mx.example.org ESMTP")
POLICIES: Final = (
    "rulesets: {}",
    "rulesets: {check_vrfy: [{action: reply, delay: 5}], check_noop: [{action: forward, delay: 3}]}",
    "rulesets: {check_debug: [{action: close}], check_wiz: [{action: close, reply: 554 5.7.1 Go away}]}",
    "rulesets: {check_data: [{action: reply}], check_auth: [{action: reply}]}",
    "rulesets: {check_etrn: [{authenticated: true, action: forward}, {action: reply}], "
    "check_data: [{greeted: false, action: reply, delay: 1}, {action: forward, delay: 2}]}",
)


@cache
def _settings() -> tuple[tuple[Policy, str], ...]:
    """Return (policy, client's address); the perimeter from outside twice, since it is the promise."""
    return (
        (perimeter(), OUTSIDE),
        (perimeter(), INSIDE),
        *((policy_file.build(read(text, "guided.yaml")).policy, OUTSIDE) for text in POLICIES),
        (perimeter(), OUTSIDE),
    )


def one(data: bytes) -> None:
    choice = data[0] if data else 0
    chosen, *steps = data[1:].split(SIGN)
    script = [(part[:1].decode("latin-1"), part[1:]) for part in steps]
    terms = _terms(choice, *(chosen + b"\0\0")[:2])
    whole, single = (_play(script, choice, terms, cut) for cut in (False, True))
    assert bytes(single.to_backend).startswith(whole.to_backend)
    if whole.to_client.endswith(OUT_OF_TURN.octets):
        # What stands behind a command in the same segment is early only if it came in that segment.
        assert single.to_client.startswith(whole.to_client[: -len(OUT_OF_TURN.octets)])
        return
    assert _codes(whole) == _codes(single), "cut otherwise, answered otherwise"
    assert (whole.closed is None) is (single.closed is None)
    assert whole.closed is not None or whole.to_backend == single.to_backend


def _codes(watch: Watch) -> list[bytes]:
    """Return what the client got, less the text behind the codes of the last reply.

    Of several faults of a line the one that is seen first is named.
    """
    replies, _, _ = oracle.replies(bytes(watch.to_client))
    return [*replies[:-1], *(reply[:9] for reply in replies[-1:])]


def _terms(choice: int, backend: int, options: int) -> Terms:
    small = bool(choice & 0x80)
    profile = PROFILES[backend % len(PROFILES)]
    return Terms(
        bounds=SMALL if small else BOUNDS,
        profile=_shrunk(profile) if small else profile,
        bare_newline=BareNewline.NORMALIZE if options & Option.NORMALIZE else BareNewline.REJECT,
        early_input=EarlyInput.REJECT if options & Option.REJECT_EARLY else EarlyInput.HOLD,
        budgets=FEW if options & Option.BUDGETS else Budgets(refused=5) if small else None,
        chunking=bool(options & Option.CHUNKING),
        starttls=StartTls.OFFERED if options & Option.STARTTLS else StartTls.HIDDEN,
        banner=BANNER if choice % len(_settings()) % 3 == 2 else None,
    )


def _shrunk(profile: Profile) -> Profile:
    """Return a profile that differs from others in the same places, with bounds that inputs reach."""
    return replace(
        profile,
        line=64,
        auth=96 if profile.auth > profile.line else 64,
        response=80 if profile.response > profile.line else 64,
        body_line=profile.body_line and 72,
    )


def _play(script: list[tuple[str, bytes]], choice: int, terms: Terms, cut: bool) -> Watch:
    place = choice % len(_settings())
    policy, source = _settings()[place]
    watch = Watch(policy.judge_for(Peer.parse(source), ""), terms)
    watch.outside = place in (0, len(_settings()) - 1)
    for letter, octets in script:
        if letter == "C":
            watch.client(octets, cut)
        elif letter == "B":
            watch.backend(octets, cut)
        elif letter in EVENTS:
            watch.event(letter)
    watch.done()
    return watch


def seeds() -> Iterator[bytes]:
    letters = {
        "finish": b"F", "lost": b"L", "backend-lost": b"K", "unreachable": b"U", "timeout": b"T", "delay-over": b"D",
        "drain": b"R", "stop": b"S",
    }  # fmt: skip
    named = {"normalize": Option.NORMALIZE, "early": Option.REJECT_EARLY, "budgets": Option.BUDGETS}
    policies = {"normalize": 2, "early": 2, "none": 2, "delay": 3, "close": 4, "banner": 5, "auth": 6, "no-data": 5}
    for number, (_, lines) in enumerate(transcripts()):
        script = b""
        said = dict(line[2:].split(" ", 1) for line in lines if line.startswith("@ "))
        name = said.get("policy", "")
        backend = [profile.name for profile in PROFILES].index(said.get("profile", "guided"))
        options = named.get(name, 0) | (Option.CHUNKING if "chunking" in said else 0)
        options |= Option.STARTTLS if "starttls" in said else 0
        for line in lines:
            sign, text = line[:2], line[3:]
            if sign in ("C>", "B<"):
                letter = SIGN + (b"C" if sign == "C>" else b"B")
                script += (b"" if script[script.rfind(SIGN) :][:2] == letter else letter) + octets_of(text)
            elif sign == "! ":
                script += SIGN + letters.get(line[2:], b"F")
        yield bytes([policies.get(name, 0) | (0x80 if number % 5 == 0 else 0), backend, options]) + script
    for number, octets in enumerate(sources.streams()):
        segments = octets.splitlines(keepends=True)
        answers = (b"354 go\r\n" if line.upper() == b"DATA\r\n" else b"250 ok\r\n" for line in segments)
        exchange = b"".join(
            SIGN + b"C" + line + SIGN + b"B" + reply for line, reply in zip(segments, answers, strict=True)
        )
        yield b"\0\xfeB220 mx\r\n" + exchange
        yield (
            bytes([number % 7 | (number & 8) << 4, number % len(PROFILES), number % 32]) + b"\xfeB220 mx\r\n" + exchange
        )
    legacy = [profile.name for profile in PROFILES].index("sendmail-legacy")
    for wide in (b"x" * 71, b"." + b"x" * 69 + b"\n."):
        yield bytes([0x82, legacy, 1]) + b"\xfeB220 mx\r\n\xfeCDATA\r\n\xfeB354 go\r\n\xfeC" + wide + b"\r\n.\r\n"
    data = b"\0\xfeB220 mx\r\n\xfeCMAIL FROM:<a@b>\r\n\xfeB250 ok\r\n\xfeCDATA\r\n\xfeB354 go\r\n\xfeCtext\r\n."
    chunks = b"\2\0\4\xfeB220 mx\r\n\xfeCEHLO a\r\n\xfeB250-mx\r\n250 CHUNKING\r\n\xfeCMAIL FROM:<a@b>\r\n" + (
        b"\xfeB250 ok\r\n\xfeCRCPT TO:<a@b>\r\n\xfeB250 ok\r\n\xfeCBDAT 9\r\nVRFY a\r\n"
    )
    yield chunks.replace(b" CHUNKING", b" SIZE") + b"\xfeB250 ok\r\n"
    yield chunks.replace(b"\2\0\4", b"\2\1\4") + b"\xfeB250 ok\r\n"
    yield chunks + b"BDAT 3 LAST\r\nab\n\xfeB250 ok\r\n\xfeB250 ok\r\n\xfeCBDAT 3\r\nxyzNOOP\r\n\xfeB250 ok\r\n"
    yield chunks + b"BDAT 0\r\nBDAT 0 last\r\nRSET\r\n" + b"\xfeB250 ok\r\n" * 4
    yield chunks[:-1] + b"\xfeB250 early\r\n"
    yield chunks[:-1] + b"\xfeB250-half\xfeC\nNOOP\r\n"
    yield chunks + b"NOOP\r\n\xfeB452 full\r\n\xfeCBDAT 2\r\nxx\xfeB503 no\r\n"
    yield chunks[:-1] + b"\xfeB500 no\r\n"
    yield from (chunks[:-1] + SIGN + letter.encode() for letter in EVENTS)
    yield from (data + SIGN + letter.encode() for letter in EVENTS)
