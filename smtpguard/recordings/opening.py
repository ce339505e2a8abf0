"""A recording, whichever its form: opened, known by its content, read session by session.

Contract: the file is read once, forwards; `position` and `size` tell how far.  `Unreadable` and OSError come from
`Recording(...)` or from the first session.  What was left out stands in `told` when all sessions have been read.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ..identity.proxy_protocol import HeaderFault, HeaderReader
from ..policy.networks import Peer
from . import segments, transcripts
from .capture_file import captured, is_capture
from .connections import Connections
from .recorded import Recorded, Run, Unreadable

PORTS: Final = frozenset({25, 587})
"""Where SMTP is spoken in clear at the beginning."""
BUFFER_OCTETS: Final = 1024 * 1024
"""Read from the file at once."""
FRAMES_BETWEEN: Final = 2000
"""After so many `heard` is told again: some milliseconds."""
NO_HEADER: Final = "no PROXY header in front of it"
_GZIP: Final = b"\x1f\x8b"


class Recording:
    """A file with sessions."""

    def __init__(self, path: Path, ports: Set[int] = PORTS, client: Peer | None = None, proxied: bool = False) -> None:
        """`client` is whose sessions a transcript has; with `proxied` a PROXY header says it, in captures."""
        self.heard: Callable[[int], None] = lambda _octets: None
        """Told now and then how far the file is read."""
        self.told: Counter[str] = Counter()
        """What was left out of the file as a whole, by what it was."""
        self._ports = ports
        self._client = client
        self._proxied = proxied
        self._file = path.open("rb", BUFFER_OCTETS)
        try:
            status = os.fstat(self._file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable("no file that can be read from its beginning: write the capture to a file first")
            self.size = status.st_size
            beginning = self._file.read(transcripts.LOOKED_AT)
            self._file.seek(0)
            self.is_capture = is_capture(beginning)
            if not self.is_capture and not transcripts.is_transcript(beginning):
                raise Unreadable(_what_it_is(beginning))
        except BaseException:
            self._file.close()
            raise

    @property
    def position(self) -> int:
        """Octets read."""
        return self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def sessions(self) -> Iterator[tuple[int, Recorded]]:
        """Yield sessions in the order in which they ended, each with the number of the oldest one that has not."""
        if self.is_capture:
            yield from self._captured()
        else:
            for one in transcripts.transcribed(self._file, self._client):
                self.heard(self.position)
                yield one.number + 1, one

    def _captured(self) -> Iterator[tuple[int, Recorded]]:
        connections = Connections(self._ports)
        for number, frame in enumerate(captured(self._file, lambda what: self.told.update({what: 1}))):
            if not number % FRAMES_BETWEEN:
                self.heard(self.position)
            segment = segments.segment_in(frame)
            if isinstance(segment, segments.Segment):
                for one in connections.take(segment):
                    yield connections.oldest, self._whose(one)
            elif segment is not None:
                self.told[segment] += 1
        for one in connections.finish():
            yield connections.oldest, self._whose(one)
        self.told.update(connections.told)

    def _whose(self, one: Recorded) -> Recorded:
        """Take a PROXY header from the front of a session, where there is to be one."""
        at = next((place for place, run in enumerate(one.runs) if run.from_client), None)
        if not self._proxied or at is None:
            return one
        reader = HeaderReader()
        try:
            header = reader.feed(bytes(one.runs[at].octets))
        except HeaderFault:
            header = None
        if header is None:
            one.tell(NO_HEADER)
            return one
        if header.origin is not None:
            one.client, one.client_port = header.origin.peer, header.origin.port
        one.runs[at : at + 1] = [Run(True, bytearray(reader.rest))] if reader.rest else []
        return one


def _what_it_is(beginning: bytes) -> str:
    if not beginning:
        return "an empty file"
    if beginning.startswith(_GZIP):
        return "compressed: unpack it first (gunzip)"
    return f"neither a capture (pcap, pcapng, as tcpdump -w writes) nor a transcript ({transcripts.FORMS})"
