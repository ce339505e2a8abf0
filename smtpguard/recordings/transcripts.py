"""Transcripts: what programs write of a dialogue, in four forms.

Contract: a form is known by its lines, not by the file's name.  Lines that are in none of its marks are left out: they
are remarks.  Line ends are CRLF in what is read, since a transcript has none of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from attrs import frozen

from ..policy.networks import Peer
from .recorded import OPEN_OCTETS, Recorded, Unreadable

LINE_OCTETS: Final = 1024 * 1024
"""Of one line; more than any server takes, and what is kept of the file at once."""
PROCESSES: Final = 4096
"""Sessions that are open at once in a file that has several, mixed; the one that began first ends early."""
LOOKED_AT: Final = 65536
"""Octets at the beginning, by which the form is known."""
FORMS: Final = (
    "`C: ` and `S: ` in front of each line; what swaks prints (` -> `, `<-  `); "
    "sendmail -X (`00123 <<< `, `00123 >>> `); sendmail -v (`>>> `)"
)
_TOO_MANY: Final = "too many at once; it ends here"
_TOO_LONG: Final = "too long to be kept (64 MiB); it ends there"


@frozen
class Said:
    """One line of a transcript."""

    session: bytes
    """Tells sessions that are mixed in one file from each other."""
    from_client: bool
    octets: bytes
    """Without a line end."""
    ends: bool = False
    """The session ends here."""


_MARKED: Final = re.compile(rb"([CS]):(?: (.*)|)", re.DOTALL)
_SWAKS: Final = re.compile(rb"(?:( (?:->|~>) )|(<(?:-  |\*\* |~  |~\* )))(.*)|(=== Connected to .*)", re.DOTALL)
_TRAFFIC: Final = re.compile(rb"([0-9]{3,10}) (<<<|>>>|===) ?(.*)", re.DOTALL)
_VERBOSE: Final = re.compile(rb">>> (.*)|([2-5][0-9]{2}(?:[ -].*|))", re.DOTALL)
_REPLY: Final = re.compile(rb"[2-5][0-9]{2}(?:[ -]|\Z)")


def _marked(lines: Iterator[bytes]) -> Iterator[Said]:
    for line in lines:
        if match := _MARKED.fullmatch(line):
            yield Said(b"", match[1] == b"C", match[2] or b"")
        elif not line.strip():
            yield Said(b"", False, b"", True)  # an empty line stands between sessions


def _swaks(lines: Iterator[bytes]) -> Iterator[Said]:
    for line in lines:
        match = _SWAKS.fullmatch(line)
        if match is None:
            continue
        if match[4]:
            yield Said(b"", False, b"", True)
        else:
            yield Said(b"", bool(match[1]), match[3])


def _traffic(lines: Iterator[bytes]) -> Iterator[Said]:
    """`sendmail -X`; a process is a server if what it wrote first is a reply, else a client."""
    serving: dict[bytes, bool] = {}
    for line in lines:
        match = _TRAFFIC.fullmatch(line)
        if match is None or match[2] == b"===":
            continue
        process, mark, text = match.groups()
        written = mark == b">>>"
        if process not in serving:
            if len(serving) >= PROCESSES:
                del serving[next(iter(serving))]
            serving[process] = written is bool(_REPLY.match(text))
        if text == b"[EOF]":
            yield Said(process, False, b"", True)
        else:
            yield Said(process, written is not serving[process], text)


def _verbose(lines: Iterator[bytes]) -> Iterator[Said]:
    for line in lines:
        if match := _VERBOSE.fullmatch(line):
            yield Said(b"", match[1] is not None, match[2] if match[1] is None else match[1])
        elif b"... Connecting to " in line:
            yield Said(b"", False, b"", True)


_FORMS: Final[tuple[tuple[re.Pattern[bytes], Callable[[Iterator[bytes]], Iterator[Said]]], ...]] = (
    (re.compile(rb"(?m)^[0-9]{3,10} (?:<<<|>>>) "), _traffic),
    (re.compile(rb"(?m)^(?: (?:->|~>) |<(?:-  |\*\* |~  |~\* ))"), _swaks),
    (re.compile(rb"(?m)^[CS]: "), _marked),
    (re.compile(rb"(?m)^>>> "), _verbose),
)


def is_transcript(beginning: bytes) -> bool:
    """Say whether a file that begins so is in one of the forms."""
    return any(mark.search(beginning) for mark, _ in _FORMS)


def transcribed(file: BinaryIO, client: Peer | None) -> Iterator[Recorded]:
    """Yield the sessions of a transcript, all of them `client`'s; the file is at its beginning."""
    beginning = file.read(LOOKED_AT)
    file.seek(0)
    read = next((read for mark, read in _FORMS if mark.search(beginning)), None)
    if read is None:
        raise Unreadable(f"no transcript; those that are read: {FORMS}")
    open_: dict[bytes, Recorded] = {}
    number = held = 0
    for said in read(_lines(file)):
        if said.ends:
            if ended := open_.pop(said.session, None):
                held -= ended.octets
                yield ended
            continue
        recorded = open_.get(said.session)
        if recorded is None:
            if len(open_) >= PROCESSES or (open_ and held > OPEN_OCTETS):
                early = open_.pop(next(iter(open_)))
                held -= early.octets
                early.tell(_TOO_MANY)
                yield early
            number += 1
            recorded = open_[said.session] = Recorded(number, client, readable_in_tls=True)
        before = recorded.octets
        if not recorded.said(said.from_client, said.octets + b"\r\n"):
            recorded.tell(_TOO_LONG)
        held += recorded.octets - before
    yield from open_.values()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(LINE_OCTETS):
        yield line.removesuffix(b"\n").removesuffix(b"\r")
