"""The client's stream, read again by the plain rules of RFC 5321 and by the replies that came.

Contract: `read` knows nothing of guards and servers.  Each reply answers the next unit of the stream:
a line that ends in CRLF, a SASL line behind a 334, a content behind the 354 to a DATA, or a BDAT with
its octets.  What the replies cannot mean is a complaint.  The last reply of a session that was closed
may stand for that, if it is a refusal, whatever the client had sent by then.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from attrs import Factory, define, frozen

from .generator import ClientStream

_REPLY: Final = re.compile(rb"(?:[2-5][0-9]{2}-[^\n]*\r\n)*[2-5][0-9]{2}(?: [^\n]*)?\r\n")
_TAG: Final = re.compile(rb"(\S+) #([0-9]+)")
_ODD: Final = re.compile(rb"[^\x20-\x7e]")
_MESSAGE: Final = b"MESSAGE"
"""Stands for the verb in the reply to a message."""
_CHUNK: Final = re.compile(rb"BDAT ([0-9]{1,9})( LAST)?", re.IGNORECASE)


class Kind(Enum):
    """What a unit is."""

    LINE = "line"
    SASL = "sasl"
    CONTENT = "content"
    CHUNK = "chunk"
    REST = "rest"
    """What the session did not come to; the rest of a content or a chunk is one of those."""


@frozen
class Unit:
    """A piece of the stream."""

    kind: Kind
    octets: bytes
    """With the line end, or the end of data."""
    verb: bytes = b""
    reply: bytes = b""

    @property
    def code(self) -> int:
        """Of the reply; 0 if there is none."""
        return int(self.reply[:3] or b"0")


@define
class Reading:
    """A stream, and what its client must think of it."""

    units: list[Unit] = Factory(list)
    replies: list[bytes] = Factory(list)
    messages: list[bytes] = Factory(list)
    """Those that were answered with 2yz, without the dot."""
    refused: int = 0
    """Messages that were sent in full and not accepted."""
    complaints: list[str] = Factory(list)


def cut_replies(octets: bytes) -> list[bytes] | None:
    """Return the replies; None if the octets are not made of whole ones."""
    found = _REPLY.findall(octets)
    if sum(map(len, found)) != len(octets):
        return None
    if any(len({line[:3] for line in reply.split(b"\r\n")[:-1]}) > 1 for reply in found if b"-" in reply[:4]):
        return None
    return found


def read(stream: ClientStream, to_client: bytes, *, closed: bool, hurried: bool, normalize: bool = False) -> Reading:
    """Read `stream` again; `hurried` if the client was gone before it had the replies, `normalize` if
    a bare LF ends a line too, and is to be read as CRLF."""
    return _Reader(stream.octets, closed=closed, hurried=hurried, normalize=normalize).read(to_client)


def mend(content: bytes) -> bytes:
    """Return content with CRLF for each LF; a dot that only then would stand alone gets a second one."""
    lines = []
    after_bare_lf = False
    for line in content.split(b"\n"):
        bare = not line.endswith(b"\r")
        if (after_bare_lf and line.startswith(b".")) or line == b".":
            line = b"." + line
        lines.append(line + b"\r" * bare)
        after_bare_lf = bare
    mended = b"\n".join(lines)
    return mended[:-1]  # behind the last LF, or where there is none, no line ended


class _Reader:
    """One reading."""

    def __init__(self, octets: bytes, *, closed: bool, hurried: bool, normalize: bool) -> None:
        self.octets = octets
        self.closed = closed
        self.hurried = hurried
        self.normalize = normalize
        self.at = 0
        self.kind = Kind.LINE
        self.chunks: list[bytes] = []
        self.serials = {False: 0, True: 0}  # of commands and of messages
        self.out = Reading()

    def read(self, to_client: bytes) -> Reading:
        out = self.out
        replies = cut_replies(to_client)
        if replies is None:
            self.complain(f"not made of whole replies: {to_client[-120:]!r}")
            return out
        out.replies = replies
        if replies and replies[0][:3] not in (b"220", b"421", b"554") and replies[0][:1] not in b"45":
            self.complain(f"banner {replies[0]!r}")
        for i, reply in enumerate(replies[1:], start=2):
            last = self.closed and i == len(replies) and reply[:1] in b"45"
            if not self.answer(reply, last):
                break
        else:
            self.look_for_unanswered()
        self.add_rest()
        return out

    def add_rest(self) -> None:
        """Add what was not answered: a line that a server may have got before it closed, and what is behind it."""
        end = self.end_of_unit()
        if self.kind is Kind.LINE and end is not None:
            line = self.take(end)
            self.out.units.append(Unit(Kind.LINE, line, line.rstrip(b"\r\n").split(b" ")[0].upper()))
            if _CHUNK.fullmatch(line[:-2]):
                self.kind = Kind.CHUNK
        left = self.kind if self.kind in (Kind.CONTENT, Kind.CHUNK) else Kind.REST
        rest = self.octets[self.at :]
        if left is Kind.CONTENT and self.normalize:
            rest = mend(rest)
        self.out.units.append(Unit(left, rest))

    def take(self, end: int) -> bytes:
        """Take a unit as it is to be forwarded."""
        octets = self.octets[self.at : end]
        self.at = end
        if not self.normalize:
            return octets
        if self.kind is Kind.CONTENT:
            # The end of data is CRLF.CRLF of the client's own; what is in front of it may be mended.
            return mend(octets[:-3]) + octets[-3:]
        return octets if octets.endswith(b"\r\n") else octets[:-1] + b"\r\n"

    def complain(self, what: str) -> None:
        self.out.complaints.append(what)

    def answer(self, reply: bytes, last: bool) -> bool:
        """Give the reply to the next unit; False if the rest cannot be read."""
        end = self.end_of_unit()
        if end is None:
            if not last:
                self.complain(f"reply to nothing: {reply!r}")
                return False
            if tags := _TAG.findall(reply):
                self.complain(f"reply to {tags[0][0]!r} without such a line")
            return True
        octets = self.take(end)
        code = int(reply[:3])
        kind, self.kind = self.kind, Kind.LINE
        verb = octets.rstrip(b"\r\n").split(b" ")[0].upper() if kind is Kind.LINE else b""
        ends_message = kind is Kind.CONTENT or (verb == b"BDAT" and b"MESSAGE #" in reply)
        self.check_tags(reply, b"" if ends_message else verb, octets)
        if kind is Kind.LINE and verb == b"BDAT":
            return self.answer_chunk(octets, code, reply, last)
        self.out.units.append(Unit(kind, octets, verb, reply))
        if kind is Kind.CONTENT:
            if 200 <= code < 300:
                self.out.messages.append(octets[:-3])
            else:
                self.out.refused += 1
        if 300 <= code < 400:
            return self.go_ahead(kind, verb, code, reply)
        if code < 300 and verb in (b"MAIL", b"RSET", b"EHLO", b"HELO"):
            self.chunks.clear()
        return True

    def end_of_unit(self) -> int | None:
        """Return where the unit ends that is answered next; None if it is not complete."""
        if self.kind is Kind.CONTENT:
            if self.octets.startswith(b".\r\n", self.at):
                return self.at + 3
            end = self.octets.find(b"\r\n.\r\n", self.at)
            return None if end < 0 else end + 5
        newline = b"\n" if self.normalize else b"\r\n"
        end = self.octets.find(newline, self.at)
        return None if end < 0 else end + len(newline)

    def go_ahead(self, kind: Kind, verb: bytes, code: int, reply: bytes) -> bool:
        if code == 354 and kind is Kind.LINE and verb == b"DATA":
            self.kind = Kind.CONTENT
        elif code == 334 and (kind is Kind.SASL or verb == b"AUTH"):
            self.kind = Kind.SASL
        else:
            self.complain(f"{reply!r} to {verb!r}")
            return False
        return True

    def answer_chunk(self, line: bytes, code: int, reply: bytes, last: bool) -> bool:
        """A BDAT is answered behind its octets; one whose octets cannot be counted ends the session."""
        match = _CHUNK.fullmatch(line[:-2])
        self.out.units.append(Unit(Kind.LINE, line, b"BDAT", reply))
        if _ODD.search(line[:-2]):
            return True  # no BDAT at all, but a line that no server need understand
        if match is None and not last:
            self.complain(f"{reply!r} to {line!r}, and the session went on")
            return False
        if match is None or last:
            self.kind = Kind.LINE if match is None else Kind.CHUNK  # its octets are what is left
            return True
        end = self.at + int(match.group(1))
        self.kind = Kind.CHUNK
        if end > len(self.octets):
            self.complain(f"{reply!r} before the octets of {line!r}")
            return False
        octets = self.octets[self.at : end]
        self.at = end
        self.kind = Kind.LINE
        self.out.units.append(Unit(Kind.CHUNK, octets, b"", reply))
        self.chunks.append(octets)
        if code >= 300:
            self.out.refused += match.group(2) is not None
            self.chunks.clear()
        elif match.group(2) is not None:
            self.out.messages.append(b"".join(self.chunks))
            self.chunks.clear()
        return code not in range(300, 400)

    def check_tags(self, reply: bytes, verb: bytes, octets: bytes) -> None:
        """A reply that names a verb answers that verb; no reply is told twice or out of turn."""
        tags = _TAG.findall(reply)
        for tag, serial in tags[:1]:
            if tag not in (verb or _MESSAGE, b"?"):
                self.complain(f"reply to {tag!r} for {octets[:80]!r}")
            series = tag == _MESSAGE
            if int(serial) <= self.serials[series]:
                self.complain(f"reply #{int(serial)} behind #{self.serials[series]}")
            self.serials[series] = int(serial)

    def look_for_unanswered(self) -> None:
        """Every unit has its reply, unless the session ended before."""
        end = self.end_of_unit()
        if end is None or (self.hurried and self.closed):
            return
        last_reply = self.out.replies[-1] if self.out.replies else b"4"
        last_verb = self.out.units[-1].verb if self.out.units else b""
        if not self.closed or (last_reply[:1] not in b"45" and last_verb != b"QUIT"):
            line = self.octets[self.at : end]
            match = _CHUNK.fullmatch(line[:-2])
            if match and end + int(match.group(1)) > len(self.octets):
                return
            self.complain(f"no reply to {line[:80]!r}")
