"""A mail server that counts: `python -m tests.bench.counting PORT QUEUE`.

Contract: it accepts every command, reads no content, and answers `COUNT VERB` with how many lines have begun with
that verb, so that a test can ask what has reached it.
"""

from __future__ import annotations

import select
import socket
import sys
from collections import Counter
from typing import Final

from tests.rig.sendmail import free_port

from .bench import tell
from .places import QUEUE, ROOT
from .running import Running
from .talk import Talk

_REPLIES: Final = {b"QUIT": b"221 2.0.0 Bye\r\n", b"VRFY": b"252 2.0.0 perhaps\r\n"}


def counting(core: int | None = None) -> Running:
    """Make one."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.counting", str(port), str(QUEUE)]
    return Running("counting", command, port, folder=ROOT, core=core)


def count_of(server: Running, verb: str) -> int:
    """Return how many lines with this verb have reached it."""
    with Talk(server.port) as talk:
        talk.expect(b"220")
        return int(talk.command(f"COUNT {verb}".encode(), b"250").split()[1])


def main(port: int, queue: int) -> None:
    """Serve until killed."""
    counts: Counter[bytes] = Counter()
    poll = select.epoll()
    wires: dict[int, socket.socket] = {}
    rests: dict[int, bytes] = {}
    with socket.create_server(("127.0.0.1", port), backlog=queue) as listener:
        poll.register(listener.fileno(), select.EPOLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == listener.fileno():
                    wire, _address = listener.accept()
                    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    wire.send(b"220 counting.test ESMTP\r\n")
                    wires[wire.fileno()], rests[wire.fileno()] = wire, b""
                    poll.register(wire.fileno(), select.EPOLLIN)
                    continue
                wire = wires[descriptor]
                try:
                    got = wire.recv(65536)
                except ConnectionResetError:
                    got = b""
                if not got:
                    del wires[descriptor], rests[descriptor]
                    wire.close()
                    continue
                *lines, rests[descriptor] = (rests[descriptor] + got).split(b"\r\n")
                wire.send(b"".join(_answer(line, counts) for line in lines))


def _answer(line: bytes, counts: Counter[bytes]) -> bytes:
    verb, _, argument = line.upper().partition(b" ")
    if verb == b"COUNT":
        return b"250 %d\r\n" % counts[argument]
    counts[verb] += 1
    return _REPLIES.get(verb, b"250 2.0.0 Ok\r\n")


if __name__ == "__main__":
    tell("counting")
    main(*map(int, sys.argv[1:]))
