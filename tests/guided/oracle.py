"""What the grammars say, written a second time.

Contract: pure functions that share nothing with smtpguard, neither a regular expression nor a
constant, and that look at all the octets there are instead of at a segment.  Where one of them and
the guard disagree, one of both is wrong.
"""

from __future__ import annotations

import string
from typing import Final

_VERB: Final = frozenset((string.ascii_letters + string.digits + "-").encode())
_BASE64: Final = frozenset((string.ascii_letters + string.digits + "+/").encode())
_DIGITS: Final = frozenset(b"0123456789")
END: Final = b"\r\n.\r\n"


def verb_and_argument(line: bytes) -> tuple[bytes, bytes | None] | None:
    """Return the verb in upper case and the argument, or None if the line has not the one form."""
    body = line[:-2]
    if not line.endswith(b"\r\n") or any(octet < 0x20 or octet == 0x7F for octet in body):
        return None
    verb, space, argument = body.partition(b" ")
    if not 1 <= len(verb) <= 64 or not _VERB.issuperset(verb):
        return None
    return verb.upper(), argument if space else None


def harmless(line: bytes) -> bool:
    """True if every server finds the same end of this line, and the same octets before it."""
    blanks = b"\t\x0b\x0c"
    return line.endswith(b"\r\n") and all(0x20 <= octet < 0x7F or octet in blanks for octet in line[:-2])


def is_sasl(line: bytes) -> bool:
    """True for `*` and for base64 with its padding."""
    body = line[:-2]
    bare = body.rstrip(b"=")
    return line.endswith(b"\r\n") and (body == b"*" or (len(body) - len(bare) <= 2 and _BASE64.issuperset(bare)))


def chunk(argument: bytes | None) -> int | None:
    """Return the size that the argument of a BDAT announces, or None; zeros in front may stand for octal."""
    digits, space, last = (argument or b"").partition(b" ")
    if not 1 <= len(digits) <= 9 or not _DIGITS.issuperset(digits) or (space and last.upper() != b"LAST"):
        return None
    return int(digits)


def _is_reply_line(line: bytes) -> bool:
    code, text = line[:3], line[3:]
    return (
        len(code) == 3
        and _DIGITS.issuperset(code)
        and code[:1] in (b"2", b"3", b"4", b"5")
        and b"\0" not in text
        and (text == b"\r\n" or (text[:1] in (b" ", b"-") and text[1:].endswith(b"\r\n")))
    )


def replies(octets: bytes, line_bound: int = 1 << 30, bound: int = 1 << 30) -> tuple[list[bytes], bool, bytes]:
    """Cut octets into (whole replies, whether what follows can be none, what follows)."""
    found: list[bytes] = []
    start = at = 0
    while end := octets.find(b"\n", at) + 1:
        line = octets[at:end]
        other_code = at > start and line[:3] != octets[start : start + 3]
        if len(line) > line_bound or end - start > bound or other_code or not _is_reply_line(line):
            return found, True, octets[start:]
        at = end
        if line[3:4] != b"-":
            found.append(octets[start:end])
            start = end
    return found, len(octets) - at > line_bound or len(octets) - start > bound, octets[start:]


def message(octets: bytes) -> tuple[bytes, bytes | None]:
    """Cut what follows a 354 into (content with its end, what is behind it), None if there is no end."""
    end = (b"\r\n" + octets).find(END)
    return (octets, None) if end < 0 else (octets[: end + 3], octets[end + 3 :])


def normalized(octets: bytes) -> tuple[bytes, bytes | None]:
    """The same where a bare LF goes on as CRLF: it ends no message, nor does a dot next to it.

    Of content without an end that is returned which nothing behind it can change.
    """
    out, line, behind_bare = b"", b"", False
    for at, octet in enumerate(octets):
        if octet != 0x0A:
            line += octets[at : at + 1]
            continue
        bare = not line.endswith(b"\r")
        text = line if bare else line[:-1]
        if text == b"." and not bare and not behind_bare:
            return out + b".\r\n", octets[at + 1 :]
        if text.startswith(b".") and (behind_bare or (bare and text == b".")):
            text = b"." + text
        out, line, behind_bare = out + text + b"\r\n", b"", bare
    if behind_bare and line.startswith(b"."):
        line = b"." + line
    elif line in (b".", b".\r"):
        line = b""
    return out + line.removesuffix(b"\r"), None


def first_wide(content: bytes, widest: int, normalize: bool) -> int | None:
    """Return where the first line goes over `widest` octets, its end not counted.

    Where bare LF goes on as CRLF, a dot behind one gets a second one, which counts.
    """
    start, behind_bare = 0, False
    for line in content.split(b"\n"):
        room = widest - (behind_bare and line.startswith(b"."))
        if len(line.removesuffix(b"\r")) > room:
            return start + room
        start += len(line) + 1
        behind_bare = normalize and not line.endswith(b"\r")
    return None


def first_bad(content: bytes, seven_bit: bool, *, complete: bool, bare_lf: bool = False) -> int | None:
    """Return where the first octet stands that servers read differently; a CR at the end is undecided.

    `bare_lf` says that a bare LF is none.
    """
    for at, octet in enumerate(content):
        after = content[at + 1 : at + 2]
        if (
            (octet == 0x0A and content[at - 1 : at] != b"\r" and not bare_lf)
            or (octet == 0x0D and after != b"\n" and (complete or after))
            or octet == 0
            or (seven_bit and octet >= 0x80)
        ):
            return at
    return None
