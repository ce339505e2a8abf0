"""The benchmark's own load, a process: `python -m tests.bench.driver sessions|vrfy ...`; it prints what it did as JSON.

Contract: one epoll loop over plain sockets.  `sessions` is what smtp-source does, but greets with EHLO and comes
from as many addresses of 127.0.0.0/8 as it is told, so that nothing that is remembered of one client helps the
next.  `vrfy` is a flood: VRFY on some connections, `batch` of them in one write, for some seconds.  A reply that is
not the one expected ends it with status 1 and a line on stderr.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter, sleep
from typing import Final

from .talk import prepared

_SECONDS: Final = 60.0
"""For anything at all to happen."""
_QUIET: Final = 0.02
"""How long the flood waits for readiness before it looks at the clock."""

Exchange = tuple[bytes, bytes]
"""What is sent, and the code of the reply."""


def dialogue(octets: int) -> list[Exchange]:
    """Return a session with one message, whose body has at least so many octets; the first exchange is the banner."""
    line = b"X" * 78 + b"\r\n"
    body = b"Subject: bench\r\n\r\n" + line * (octets // len(line) + 1) + b".\r\n"
    return [
        (b"", b"220"),
        (b"EHLO client.test\r\n", b"250"),
        (b"MAIL FROM:<from@bench.test>\r\n", b"250"),
        (b"RCPT TO:<to@bench.test>\r\n", b"250"),
        (b"DATA\r\n", b"354"),
        (body, b"250"),
        (b"QUIT\r\n", b"221"),
    ]


def source(number: int, sources: int) -> str:
    """Return an address of 127.0.0.0/8, the same for every `sources`-th number; 127.0.0.1 if there is to be one."""
    at = number % sources + 1
    return f"127.{at >> 16}.{at >> 8 & 255}.{at & 255}"


def connected(port: int, source: str) -> socket.socket:
    """Connect without waiting."""
    made = prepared(source)
    made.setblocking(False)
    made.connect_ex(("127.0.0.1", port))
    return made


class Unexpected(Exception):
    """A reply that should not have come."""


class Session:
    """A connection and how far its dialogue is."""

    __slots__ = ("_at", "_got", "_script", "_wire")

    def __init__(self, wire: socket.socket, script: Sequence[Exchange]) -> None:
        self._wire = wire
        self._script = script
        self._at = 0
        self._got = b""

    def readable(self) -> bool:
        """Go on; return whether it is over."""
        got = self._wire.recv(65536)
        if not got:
            raise Unexpected(f"the connection ended behind {self._script[self._at][0]!r}")
        reply = self._got + got
        last = reply[:-2].rpartition(b"\r\n")[2]
        if not reply.endswith(b"\r\n") or last[3:4] not in (b" ", b""):
            self._got = reply
            return False
        if not reply.startswith(self._script[self._at][1]):
            raise Unexpected(f"{reply!r} to {self._script[self._at][0]!r}")
        self._got = b""
        self._at += 1
        if self._at == len(self._script):
            self._wire.close()
            return True
        # Blocking for what does not fit: a body is larger than a socket's buffer.
        self._wire.setblocking(True)
        self._wire.sendall(self._script[self._at][0])
        self._wire.setblocking(False)
        return False


def sessions(port: int, count: int, at_once: int, octets: int, sources: int) -> dict[str, float]:
    """Run so many sessions, so many at once."""
    script = dialogue(octets)
    poll = select.epoll()
    open_: dict[int, Session] = {}
    began = perf_counter()
    started = done = 0
    while done < count:
        while len(open_) < at_once and started < count:
            wire = connected(port, source(started, sources))
            open_[wire.fileno()] = Session(wire, script)
            poll.register(wire.fileno(), select.EPOLLIN)
            started += 1
        ready = poll.poll(_SECONDS)
        if not ready:
            raise Unexpected("nothing happens")
        for descriptor, _ in ready:
            if open_[descriptor].readable():
                del open_[descriptor]
                done += 1
    return {"sessions": done, "seconds": perf_counter() - began}


def flooders(port: int, count: int, source: str) -> Iterator[socket.socket]:
    """Open connections that have said EHLO."""
    for _ in range(count):
        wire = prepared(source)
        wire.settimeout(_SECONDS)
        wire.connect(("127.0.0.1", port))
        for sent, code in dialogue(0)[:2]:
            wire.sendall(sent)
            if not wire.recv(65536).startswith(code):
                raise Unexpected(f"no {code!r} to {sent!r}")
        yield wire


def vrfy(port: int, connections: int, batch: int, seconds: float, source: str, rate: float) -> dict[str, float]:
    """Ask on every connection as soon as it has its answers; with `rate` no more than so many a second in all."""
    question = b"VRFY george\r\n" * batch
    poll = select.epoll()
    wires = {wire.fileno(): wire for wire in flooders(port, connections, source)}
    missing = dict.fromkeys(wires, 0)
    for descriptor in wires:
        poll.register(descriptor, select.EPOLLIN)
    answered = asked = 0
    waiting = list(wires)
    tell("flooding")
    began = now = perf_counter()
    while now - began < seconds:
        if rate:
            # One after another, evenly: what comes in bursts would be a flood of another kind.
            sleep(max(began + (asked + batch) / rate - now, 0))
        while waiting:
            descriptor = waiting.pop()
            wires[descriptor].send(question)
            missing[descriptor] = batch
            asked += batch
            if rate:
                break
        # It never spins: it may be scheduled before everything else.
        for descriptor, _ in poll.poll(0 if rate and waiting else _QUIET):
            replies = wires[descriptor].recv(1 << 20)
            count = replies.count(b"252 ")
            if count != replies.count(b"\n"):
                raise Unexpected(f"not 252: {replies[:200]!r}")
            answered += count
            missing[descriptor] -= count
            if not missing[descriptor]:
                waiting.append(descriptor)
        now = perf_counter()
    return {"answered": answered, "seconds": now - began}


def tell(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run one load; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.driver", description=__doc__)
    kinds = parser.add_subparsers(required=True)
    load = kinds.add_parser("sessions")
    load.set_defaults(run=sessions)
    flood = kinds.add_parser("vrfy")
    flood.set_defaults(run=vrfy)
    for one in (load, flood):
        one.add_argument("port", type=int)
    for name in ("count", "at_once", "octets", "sources"):
        load.add_argument(name, type=int)
    flood.add_argument("connections", type=int)
    flood.add_argument("batch", type=int)
    flood.add_argument("seconds", type=float)
    flood.add_argument("source")
    flood.add_argument("rate", type=float)
    options = vars(parser.parse_args())
    run: Callable[..., dict[str, float]] = options.pop("run")
    try:
        tell(json.dumps(run(**options)))
    except (Unexpected, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
