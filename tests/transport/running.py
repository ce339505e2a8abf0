"""A reactor that runs in a thread, and what the tests do in it.

Contract: a `Running` is a reactor of one kind; `do` runs something in its thread and returns the result.
The tests themselves are the other end: plain sockets that block, with a time-out.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any, Final, Self

from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.threads import blockingCallFromThread

from smtpguard.net import endpoints
from smtpguard.transport.reactor import LibuvReactor

from .recorder import Recorder

SECONDS: Final = 20.0
"""For whatever happens at once on a machine that is not busy."""
KINDS: Final = ("stock", "libuv")


class Running:
    """A reactor of one kind in a thread of its own."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.reactor: Any = LibuvReactor() if kind == "libuv" else EPollReactor()
        self._thread = threading.Thread(target=self.reactor.run, kwargs={"installSignalHandlers": False})
        self._ports: list[IListeningPort] = []
        self._made: list[Recorder] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        if self.kind == "libuv":
            self.reactor.libuv.close()

    def do(self, act: Callable[..., Any], *arguments: Any) -> Any:
        """Run `act` in the reactor, and return what it returns, or what its Deferred fires with."""
        return blockingCallFromThread(self.reactor, act, *arguments)

    def begin(self, act: Callable[..., Deferred[Any]], *arguments: Any) -> Deferred[Any]:
        """Run `act` in the reactor, and return the Deferred itself."""
        box: list[Deferred[Any]] = []
        self.do(lambda: box.append(act(*arguments)))
        return box[0]

    def clear(self) -> None:
        """End what a test has left: its ports and connections."""

        def abort() -> None:
            for recorder in self._made:
                if recorder.transport is not None and not recorder.lost:
                    recorder.transport.abortConnection()

        self.do(abort)
        for recorder in self._made:
            if recorder.transport is not None:
                recorder.wait("connectionLost")
        for port in self._ports:
            self.do(port.stopListening)
        self._made, self._ports = [], []

    # -- servers -----------------------------------------------------------------------------------

    def listen(self, text: str, *recorders: Recorder, inherited: socket.socket | None = None) -> Any:
        """Listen at an endpoint; the clients get the recorders one after another, and then none (they are closed)."""
        self._made += recorders
        factory = Given(list(recorders))
        port = self.do(lambda: endpoints.server(self.reactor, text, inherited).listen(factory))
        self._ports.append(port)
        return port

    def accept(self, recorder: Recorder, receive_buffer: int | None = None) -> socket.socket:
        """Return a client whose other end is `recorder`, connected."""
        port = self.listen("tcp:0:interface=127.0.0.1", recorder)
        client = socket.socket()
        client.settimeout(SECONDS)
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(("127.0.0.1", port.getHost().port))
        recorder.wait("connectionMade")
        return client

    # -- clients -----------------------------------------------------------------------------------

    def connect(
        self, recorder: Recorder, text: str, bind: str | None = None, seconds: float = SECONDS
    ) -> Deferred[Any]:
        """Begin to connect `recorder`."""
        self._made.append(recorder)
        return self.begin(lambda: endpoints.client(self.reactor, text, bind, seconds).connect(Given([recorder])))


class Given(Factory):
    """Makes the protocols that it was given."""

    noisy = False

    def __init__(self, protocols: list[Any]) -> None:
        self._protocols = protocols
        self.running = 0

    def startFactory(self) -> None:
        self.running += 1

    def stopFactory(self) -> None:
        self.running -= 1

    def buildProtocol(self, addr: Any) -> Any:
        if not self._protocols:
            return None
        protocol = self._protocols.pop(0)
        protocol.told = addr
        return protocol


def drain(client: socket.socket) -> bytes:
    """Read to the end."""
    got = bytearray()
    while piece := client.recv(1 << 20):
        got += piece
    return bytes(got)
