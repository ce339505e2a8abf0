"""What a client of a recording said, cut into commands and messages, each with what the server answered.

Theory: a server gives one reply to each command, message, response and chunk, in order, so the replies of the whole
recording can be laid beside what the client said.  What the next octets are is known by the reply: behind DATA's 354
is a message, behind a 334 a response.

Contract: pure; never raises; everything that the client said is in exactly one exchange, in order, but for what is
encrypted or too much, which is told.  Commands end at LF, as most servers read them; what the guard makes of it is the
guard's matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from attrs import frozen

from ..smtp.verbs import KNOWN_VERBS
from .recorded import Recorded

EXCHANGES: Final = 200_000
"""Of one session: a day's mail of one connection; an empty line for each octet would fill memory."""
TOO_MANY: Final = "too many lines to be replayed (200,000); it ends there"
ENCRYPTED: Final = "encrypted behind STARTTLS: uninspected"
ENCRYPTED_AT_ONCE: Final = "encrypted from the first octet: uninspected"
_REPLY_LINE: Final = re.compile(rb"([2-5][0-9][0-9])(?:([ -])[^\n]*)?\r?\n")
_VERB: Final = re.compile(rb"[ \t]*([A-Za-z]+)")
_BDAT: Final = re.compile(rb"[ \t]*BDAT[ \t]+([0-9]{1,18})(?![0-9])", re.IGNORECASE)
_TLS_RECORD: Final = b"\x16\x03"
"""How a TLS handshake begins (RFC 8446 5.1)."""


class What(Enum):
    """What the octets of an exchange are."""

    COMMAND = "command"
    CONTENT = "content"
    RESPONSE = "response"
    """Of a SASL exchange (RFC 4954)."""
    CHUNK = "chunk"
    """A BDAT with its octets."""


@frozen
class Exchange:
    """One."""

    what: What
    octets: bytes
    """All of it, with its line end."""
    verb: bytes
    """Upper case; empty where there is none."""
    reply: bytes | None
    """None where the recording has none."""
    run: int
    """Which of the recording's runs it began in: those of one run came without waiting for an answer."""
    private: bool = False
    """It may be a password, said to a server that did not ask for it."""

    @property
    def line(self) -> bytes:
        """The command; of others nothing."""
        if self.what is What.CHUNK:
            return self.octets.partition(b"\n")[0].rstrip(b"\r\n")  # the recording may end within the line
        return self.octets.rstrip(b"\r\n") if self.what is What.COMMAND else b""

    @property
    def code(self) -> int:
        return int(self.reply[:3]) if self.reply else 0


@frozen
class Dialogue:
    """A recorded session, read."""

    banner: bytes | None
    early: int
    """How many exchanges began before the banner."""
    exchanges: tuple[Exchange, ...]


def read(recorded: Recorded) -> Dialogue:
    """Read a session; what is missing of it is told to `recorded`."""
    said = b"".join(run.octets for run in recorded.runs if run.from_client)
    if said.startswith(_TLS_RECORD):
        recorded.tell(ENCRYPTED_AT_ONCE)
        return Dialogue(None, 0, ())
    replies = _replies(b"".join(run.octets for run in recorded.runs if not run.from_client))
    banner = next(replies, None)
    exchanges = tuple(_exchanges(recorded, said, replies))
    first = recorded.runs[0] if recorded.runs else None
    early = sum(one.run == 0 for one in exchanges) if first is not None and first.from_client else 0
    return Dialogue(banner, early, exchanges)


def _replies(octets: bytes) -> Iterator[bytes]:
    """Yield the replies of a server; lines that are none are passed over, as sendmail's 050 ones."""
    begin, code, at = 0, b"", 0
    while end := octets.find(b"\n", at) + 1:
        match = _REPLY_LINE.fullmatch(octets, at, end)
        if match is None or match[1] != code:
            begin = at
        code = match[1] if match is not None and match[2] == b"-" else b""
        at = end
        if match is not None and not code:
            yield octets[begin:end]


def _exchanges(recorded: Recorded, said: bytes, replies: Iterator[bytes]) -> Iterator[Exchange]:
    ends = _ends(recorded)
    at, run, last = 0, 0, b""
    expected = What.COMMAND
    count = 0
    while at < len(said):
        if count == EXCHANGES:
            recorded.tell(TOO_MANY)
            return
        count += 1
        while run < len(ends) - 1 and ends[run] <= at:
            run += 1
        verb = b""
        end = _end_of_content(said, at) if expected is What.CONTENT else said.find(b"\n", at) + 1 or len(said)
        if expected is What.COMMAND:
            if said.startswith(_TLS_RECORD, at) and last == b"STARTTLS":
                recorded.tell(ENCRYPTED)
                return
            found = _VERB.match(said, at, end)
            verb = found[1].upper() if found else b""
            chunk = _BDAT.match(said, at, end)
            if chunk is not None:
                expected = What.CHUNK
                end = min(end + int(chunk[1]), len(said))
            if verb in KNOWN_VERBS or last != b"AUTH":
                last = verb
        reply = next(replies, None)
        password_may_come = last == b"AUTH" and verb not in KNOWN_VERBS
        yield Exchange(expected, said[at:end], verb, reply, run, password_may_come)
        at = end
        code = int(reply[:3]) if reply else 0
        if code == 354 and last == b"DATA" and expected is What.COMMAND:
            expected = What.CONTENT
        elif code == 334 and last == b"AUTH":
            expected = What.RESPONSE
        else:
            expected = What.COMMAND
        if code == 220 and verb == b"STARTTLS" and not recorded.readable_in_tls:
            recorded.tell(ENCRYPTED)
            return


def _ends(recorded: Recorded) -> list[int]:
    """Return for each run how much the client had said at its end."""
    ends, said = [], 0
    for run in recorded.runs:
        said += len(run.octets) if run.from_client else 0
        ends.append(said)
    return ends


def _end_of_content(said: bytes, at: int) -> int:
    if said.startswith(b".\r\n", at):
        return at + 3
    end = said.find(b"\r\n.\r\n", at)
    return len(said) if end < 0 else end + 5
