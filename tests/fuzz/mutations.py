"""What an attacker makes of a session: one change each, made where the grammar is soft.

Contract: `mutate` changes the list of steps in place, never leaves it empty, and takes all its luck
from the generator given.  Every mutation is about something that servers read differently, or that
only a reply can decide.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random  # noqa: TID251 - seeded
from typing import Final

from .sessions import REFUSED_LINES, Step, loose

ENDS: Final = (
    b"\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n", b"\r\0\n", b"\x8d\x8a", b"\x8d\n", b"\r\x8a", b"\r\n\r\n",
    b" \r\n", b"\t\r\n", b"\x0b\r\n", b"\x0c\r\n", b"\x1c\r\n", b"\x85\r\n", b"\x85", b"\xe2\x80\xa8", b"\r\n\0", b"",
)  # fmt: skip
BLANKS: Final = (
    b" ",
    b"  ",
    b"\t",
    b"\x0b",
    b"\x0c",
    b"\r",
    b"\0",
    b"\xa0",
    b"\x1c",
    b"\x7f",
    b"\xff\xf4",
    b"\xc2\xa0",
)
BOUNDS: Final = (
    *range(254, 257), *range(510, 514), *range(998, 1002), *range(1022, 1026), *range(1998, 2003), *range(2045, 2051),
    *range(2498, 2502), *range(4094, 4098),
)  # fmt: skip
FAR_BOUNDS: Final = (*range(12285, 12290), *range(16382, 16388))
"""Long lines cost time, so these come seldom."""
DOTS: Final = (
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\r.\r\n", b"\r\r\n.\r\n", b"\r\n.\r\r\n",
    b"\r\n.\0\r\n", b"\r\n.\0x\n", b"\r\n\0.\r\n", b"\0\r\n.\r\n",
    b"\r\n.\x8d\x8a", b"\x8d\x8a.\x8d\x8a", b"\x8d\x8a\xae\x8d\x8a",
    b"\r\n\xae\r\n", b"\xc3\x8a.\r\n", b"\n\n.\n\n", b"\r\n. \r\n", b"\r\n.\x0c\r\n", b"\n.\r", b"\r\n.\r\n",
)  # fmt: skip
SIZES: Final = (
    b"+11", b"11LAST", b"11 LASTX", b"11 x", b"11.0", b"-1", b"0xb", b"4294967307", b"", b"011", b"1\x001", b"11  LAST",
    b"11 LAST ", b"11\tLAST", b"999999999", b"9999999999", b" 11", b"11 last", "\u0661".encode(), b"1_1",
)  # fmt: skip
STARTS: Final = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\nVRFY root\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x80\x2e\x01\x00\x02",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 56324 25\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\xdc\x04\0\x19",
    b"Host: x\r\n",
    b"USER root\r\n",
    b"\r\n",
    b"\xff\xfd\x06",
)
Steps = list[Step]


def mutate(rng: Random, steps: Steps) -> None:
    """Make one change."""
    rng.choice(_MUTATIONS)(rng, steps)
    if not steps:
        steps.append(Step("other", b"NOOP\r\n"))


def _refused(rng: Random) -> bytes:
    return rng.choice(REFUSED_LINES)


def _pick(rng: Random, steps: Steps) -> int:
    return int(rng.random() * len(steps))


def _find(rng: Random, steps: Steps, *kinds: str) -> int | None:
    found = [i for i, step in enumerate(steps) if step.kind in kinds]
    return rng.choice(found) if found else None


def _put(steps: Steps, at: int, octets: bytes) -> None:
    steps[at] = steps[at]._replace(octets=octets)


def line_end(rng: Random, steps: Steps) -> None:
    """End a line otherwise, mostly with a refused command behind it."""
    at = _pick(rng, steps)
    octets = steps[at].octets
    tail = _refused(rng) + b"\r\n" if rng.random() < 0.7 else b""
    if octets.endswith(b"\r\n"):
        _put(steps, at, octets[:-2] + rng.choice(ENDS) + tail)


def blank(rng: Random, steps: Steps) -> None:
    """Put blanks, or what some server takes for one, before or behind a verb."""
    at = _find(rng, steps, "refused", "mail", "rcpt", "data", "other") if rng.random() < 0.8 else _pick(rng, steps)
    if at is None:
        steps.insert(_pick(rng, steps) + 1, Step("refused", rng.choice(BLANKS) + _refused(rng) + b"\r\n"))
        return
    octets = steps[at].octets
    if rng.random() < 0.5:
        _put(steps, at, rng.choice(BLANKS) + octets)
        return
    verb, space, rest = octets.partition(b" ")
    if space:
        _put(steps, at, verb + rng.choice(BLANKS) + rest)
    else:
        _put(steps, at, octets.replace(b"\r\n", rng.choice(BLANKS) + b"\r\n", 1))


def case(rng: Random, steps: Steps) -> None:
    """Change the case of a verb, or a letter for one that folds to it."""
    at = _find(rng, steps, "refused", "mail", "data", "other", "rcpt")
    if at is None:
        at = _pick(rng, steps)
    octets = steps[at].octets
    draw = rng.random()
    if draw < 0.4:
        octets = octets.lower()
    elif draw < 0.8:
        octets = octets[:2].swapcase() + octets[2:]
    else:
        octets = octets.replace(b"S", "\u017f".encode()).replace(b"K", "\u212a".encode()).replace(b"I", b"\xc4\xb1")
    _put(steps, at, octets)


def long_line(rng: Random, steps: Steps) -> None:
    """Fill a line up to a bound at which some server begins a new one, and put a command there."""
    bound = rng.choice(FAR_BOUNDS if rng.random() < 0.06 else BOUNDS)
    tail = _refused(rng) if rng.random() < 0.8 else b""
    at = _pick(rng, steps)
    if steps[at].kind == "content":
        head, lead = b"", b"" if rng.random() < 0.5 else b"Subject: t\r\n\r\n"
        filler = rng.choice((b"x", b"x", b"\xc3\xa9", b"\0"))
        line = (filler * bound)[:bound]
        dot = rng.choice((b".\r\n", b".\n", b"\r\n.\r\n", b""))
        behind = steps[at].octets if rng.random() < 0.5 else b"\r\n.\r\n"
        _put(steps, at, lead + line + dot + (tail + b"\r\n" if tail else b"") + behind)
        return
    head = steps[at].octets[:-2]
    if b" " not in head and steps[at].kind != "sasl":
        head = rng.choice((b"NOOP ", b"AUTH PLAIN ", b"MAIL FROM:<a@b.test> X=", b"RCPT TO:<", b"HELO ", head + b" "))
    filler = rng.choice((b"A", b"A", b"A", b" ", b"\0", b"=", b"\xc3"))
    _put(steps, at, head + filler * max(bound - len(head), 0) + tail + b"\r\n")


def smuggle(rng: Random, steps: Steps) -> None:
    """End the data in another way, and go on with commands."""
    at = _find(rng, steps, "content")
    if at is None:
        steps.append(Step("content", b"Subject: t\r\n\r\nx" + rng.choice(DOTS) + _refused(rng) + b"\r\n.\r\n"))
        return
    octets = steps[at].octets.removesuffix(b".\r\n").removesuffix(b"\r\n")
    inner = _refused(rng)
    if rng.random() < 0.3:
        inner = b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<root@mx.test>\r\nDATA\r\nSubject: evil\r\n\r\n" + inner
    _put(steps, at, octets + rng.choice(DOTS) + inner + b"\r\n" + (b".\r\n" if rng.random() < 0.8 else b""))


def start_of_content(rng: Random, steps: Steps) -> None:
    """Let the content begin with an end that is not quite one."""
    at = _find(rng, steps, "content")
    if at is not None:
        dot = rng.choice(DOTS).lstrip(b"\r\n")
        _put(steps, at, dot + _refused(rng) + b"\r\n" + (steps[at].octets if rng.random() < 0.7 else b".\r\n"))


def seven_bit(rng: Random, steps: Steps) -> None:
    """Say 7BIT and send octets that have the eighth bit."""
    at = _find(rng, steps, "mail")
    if at is None:
        steps.insert(_pick(rng, steps) + 1, Step("mail", b"MAIL FROM:<a@b.test> BODY=7BIT\r\n"))
    else:
        _put(steps, at, steps[at].octets[:-2] + rng.choice((b" BODY=7BIT\r\n", b" body=7bit\r\n", b" X BODY=7BIT\r\n")))
    at = _find(rng, steps, "content", "rcpt", "other", "refused")
    if at is not None:
        octets = steps[at].octets
        line = bytes(octet | 0x80 for octet in b"\r\n.\r\n" + _refused(rng) + b"\r\n")
        _put(steps, at, octets[:-3] + line + octets[-3:] if rng.random() < 0.6 else bytes(o | 0x80 for o in octets))


def eighth_bit(rng: Random, steps: Steps) -> None:
    """Set the eighth bit of some octets of a step."""
    at = _pick(rng, steps)
    octets = bytearray(steps[at].octets)
    for _ in range(1 + int(rng.random() * 4)):
        octets[int(rng.random() * len(octets))] |= 0x80
    _put(steps, at, bytes(octets))


def nul(rng: Random, steps: Steps) -> None:
    """Put a NUL somewhere, perhaps with a command behind it."""
    at = _pick(rng, steps)
    octets = steps[at].octets
    cut = int(rng.random() * (len(octets) + 1))
    _put(steps, at, octets[:cut] + b"\0" + (_refused(rng) if rng.random() < 0.4 else b"") + octets[cut:])


def insert_refused(rng: Random, steps: Steps) -> None:
    """Say a refused command somewhere, in a burst or by itself."""
    steps.insert(int(rng.random() * (len(steps) + 1)), Step("refused", _refused(rng) + b"\r\n", rng.random() < 0.5))


def many_refused(rng: Random, steps: Steps) -> None:
    """Say many refused commands."""
    line = Step("refused", _refused(rng) + b"\r\n", rng.random() < 0.5)
    at = int(rng.random() * (len(steps) + 1))
    steps[at:at] = [line] * rng.choice((5, 12, 30))


def drop(rng: Random, steps: Steps) -> None:
    """Leave a step out: no greeting, no MAIL, no RCPT."""
    del steps[_pick(rng, steps)]


def repeat(rng: Random, steps: Steps) -> None:
    """Say a step again, here or elsewhere."""
    steps.insert(_pick(rng, steps) + 1, steps[_pick(rng, steps)])


def swap(rng: Random, steps: Steps) -> None:
    """Let two steps change places."""
    a, b = _pick(rng, steps), _pick(rng, steps)
    steps[a], steps[b] = steps[b], steps[a]


def burst(rng: Random, steps: Steps) -> None:
    """Do not wait behind some of the steps."""
    share = rng.random()
    steps[:] = [step._replace(waits=step.waits and rng.random() < share) for step in steps]


def early_tail(rng: Random, steps: Steps) -> None:
    """Send something in the same segment behind a command whose reply decides what it means."""
    line = rng.choice((b"DATA", b"AUTH LOGIN", b"STARTTLS", b"AUTH PLAIN", b"BDAT 5 LAST", b"QUIT")) + b"\r\n"
    at = int(rng.random() * (len(steps) + 1))
    behind = _refused(rng) + b"\r\n"
    steps[at:at] = [Step("other", line, False), Step("refused", behind[: 1 + int(rng.random() * len(behind))])]


def foreign_start(rng: Random, steps: Steps) -> None:
    """Begin as a client of another protocol."""
    steps.insert(0, Step("other", rng.choice(STARTS), rng.random() < 0.5))


def odd_size(rng: Random, steps: Steps) -> None:
    """Announce a chunk in a way that servers count differently."""
    line = b"BDAT " + rng.choice(SIZES) + (b" LAST" if rng.random() < 0.4 else b"") + b"\r\n"
    at = int(rng.random() * (len(steps) + 1))
    steps[at:at] = [Step("other", line, rng.random() < 0.3), Step("chunk", _refused(rng) + b"\r\n")]


def cut_off(rng: Random, steps: Steps) -> None:
    """Let the stream end in the middle of a step, or of a line that would be refused."""
    if rng.random() < 0.4:
        line = rng.choice((_refused(rng), b"DATA", b"QUIT", b"."))
        steps.append(Step("refused", line + rng.choice((b"", b"\r", b"\n", b"\r\n.", b"\r\n.\r"))))
        return
    at = _pick(rng, steps)
    octets = steps[at].octets
    _put(steps, at, octets[: 1 + int(rng.random() * len(octets))])
    del steps[at + 1 :]


def octet(rng: Random, steps: Steps) -> None:
    """Change, drop, double or transpose octets."""
    at = _pick(rng, steps)
    octets = bytearray(steps[at].octets)
    for _ in range(1 + int(rng.random() * 3)):
        spot, draw = int(rng.random() * len(octets)), rng.random()
        if draw < 0.3:
            octets[spot] = rng.choice(b"\0\t\n\x0b\x0c\r .\x7f\x80\x85\x8a\x8d\xae\xffA<>@*=")
        elif draw < 0.55 and len(octets) > 1:
            del octets[spot]
        elif draw < 0.8:
            octets.insert(spot, octets[spot])
        else:
            octets[spot - 1], octets[spot] = octets[spot], octets[spot - 1]
    _put(steps, at, bytes(octets))


def inside_exchange(rng: Random, steps: Steps) -> None:
    """Answer a challenge, which there may not be, with something odd."""
    line = rng.choice((_refused(rng), b"*\0x", b"* ", b"====", b"", b"AGEAYg", b"\xff\xff", b"AGEA\nVRFY root"))
    start = rng.choice((b"AUTH LOGIN\r\n", b"AUTH PLAIN\r\n", b"AUTH CRAM-MD5\r\n", b"AUTH LOGIN =\r\n"))
    at = int(rng.random() * (len(steps) + 1))
    steps[at:at] = [Step("auth", start), Step("sasl", line + b"\r\n"), Step("refused", _refused(rng) + b"\r\n")]


def splice(rng: Random, steps: Steps) -> None:
    """Go on as another session, from somewhere in the middle."""
    other = loose(rng)
    steps[_pick(rng, steps) + 1 :] = other[_pick(rng, other) :]


_MUTATIONS: Final[tuple[Callable[[Random, Steps], None], ...]] = (
    *(line_end,) * 3, *(blank,) * 3, case, *(long_line,) * 2, *(smuggle,) * 4, start_of_content, *(seven_bit,) * 2,
    *(eighth_bit,) * 2, *(nul,) * 2, *(insert_refused,) * 3, many_refused, drop, repeat, swap, *(burst,) * 2,
    *(early_tail,) * 2, foreign_start, *(odd_size,) * 2, *(cut_off,) * 2, *(octet,) * 2, *(inside_exchange,) * 2,
    splice,
)  # fmt: skip
