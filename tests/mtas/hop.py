"""What went over the wire between the guard and a mail server, read the one strict way.

Contract: `understand` takes a recording and returns the commands, the replies and the messages in it,
or raises AssertionError where the guard has sent what two readers may understand in two ways: octets
that are no line, a line behind a command that is not answered yet, a message without its end that
the server nevertheless answers.  It knows no server; what a server says to have read is compared
with it by others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from tests.rig.recorder import Recording

REPLY: Final = re.compile(rb"(?:([2-5][0-9][0-9])-[^\r\n]*\r\n)*([2-5][0-9][0-9])(?: [^\r\n]*)?\r\n")
_LINE: Final = re.compile(rb"([^\r\n\0]*)\r\n")
_BARE: Final = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n")
_END: Final = b"\r\n.\r\n"
_CHUNK: Final = re.compile(rb"BDAT ([0-9]{1,9})( LAST)?", re.IGNORECASE)
_GOODBYE: Final = b"421"


@dataclass
class Hop:
    """One session."""

    commands: list[bytes] = field(default_factory=list)
    """Without line ends."""
    replies: list[bytes] = field(default_factory=list)
    """To the commands, one to each, but that the last may have none."""
    accepted: list[bytes] = field(default_factory=list)
    """The contents that the server took, without what is of the wire: the dots, or the BDAT."""


def content(message: bytes) -> bytes:
    """Return what this message of the wire, from the 354 to its last line end, is meant to be."""
    return re.sub(rb"(?:^|(?<=\r\n))\.", b"", message)


def replies(octets: bytes) -> list[bytes]:
    """Return the replies that `octets` consist of, each with its last line end."""
    found = []
    at = 0
    while at < len(octets):
        match = REPLY.match(octets, at)
        assert match is not None, f"no reply: {octets[at : at + 200]!r}"
        codes = {line[:3] for line in match[0].splitlines()}
        assert len(codes) == 1, f"two codes in one reply: {match[0]!r}"
        found.append(match[0])
        at = match.end()
    return found


def understand(recording: Recording) -> Hop:
    """Read a session that has ended."""
    hop = Hop()
    said, heard = recording.client_bytes, replies(recording.server_bytes)
    assert heard or not said, "a command before the banner"
    heard = heard[1:]
    chunks = b""
    while said:
        match = _LINE.match(said)
        assert match is not None, f"no command line: {said[:200]!r}"
        line = match[1]
        hop.commands.append(line)
        said = said[match.end() :]
        if line.upper().startswith(b"BDAT"):
            chunk = _CHUNK.fullmatch(line)
            assert chunk is not None, line
            chunks += said[: int(chunk[1])]
            broken_off = len(said) < int(chunk[1])
            said = said[int(chunk[1]) :]
            if heard and heard[0].startswith(b"250"):
                assert not broken_off, f"part of a chunk was taken: {chunks!r}"
                hop.accepted += [chunks] if chunk[2] else []
            if chunk[2]:
                chunks = b""
        if not heard:
            assert not said, f"more behind a command that was not answered: {hop.commands}, {said[:200]!r}"
            break
        hop.replies.append(heard.pop(0))
        if hop.replies[-1].startswith(b"354"):
            assert line.upper() == b"DATA", line
            said = _message(hop, said, heard)
        if line[:4].upper() in (b"RSET", b"EHLO", b"HELO", b"MAIL"):
            chunks = b""
    assert len(heard) <= 1, f"surplus replies: {heard}"
    assert all(reply.startswith(_GOODBYE) for reply in heard), f"surplus replies: {heard}"
    return hop


def _message(hop: Hop, said: bytes, heard: list[bytes]) -> bytes:
    """Take a message from `said`, and its reply from `heard`; return what is behind it."""
    message, end, behind = (b"\r\n" + said).partition(_END)
    fault = _BARE.search(message)
    assert fault is None, f"bare octets in a message: {said[:200]!r}"
    if not end:
        # Broken off; the server may say that it noticed, but not that it took the part.
        assert all(reply[:1] in b"45" for reply in heard), f"part of a message answered: {heard}"
        heard.clear()
        return b""
    if not heard:
        assert not behind, f"more behind a message that was not answered: {behind[:200]!r}"
    elif heard.pop(0).startswith(b"250"):
        hop.accepted.append(content((message + b"\r\n").removeprefix(b"\r\n")))
    return behind
