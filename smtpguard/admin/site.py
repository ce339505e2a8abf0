"""HTTP for the admin endpoint, by twisted.web.

Contract: one request a connection, and an answer in the same turn.  What a connection may hold and how long it may last
is bounded; of too many connections the oldest gives way, so that whoever keeps some open keeps nobody out.  twisted.web
adds no banner, no page of its own and no traceback.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http import HTTPChannel, HTTPFactory
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import provider

from .answers import HEADERS, Answer, Answers, Asked

CONNECTIONS: Final = 32
"""At once.  A scraper, a page and a few commands have one each, for some milliseconds."""
CONNECTION_SECONDS: Final = 15.0
"""From its beginning to its end, whatever is sent."""
HEAD_OCTETS: Final = 8192
"""Of a request line and its headers; a browser sends less than 2,000."""
BODY_OCTETS: Final = 1024
"""Of a request."""


@provider(INonQueuedRequestFactory)
class Request(http.Request):
    """A request, read and then answered."""

    channel: Any
    _body = b""
    _refused = False

    def gotLength(self, length: int | None) -> None:
        """Its headers are there; `length` is that of its body, or None for one that says no length."""
        self._refused = length is None or length > BODY_OCTETS
        if self._refused:
            self.channel.refuse(411 if length is None else 413)

    def handleContentChunk(self, data: bytes) -> None:
        """A part of its body has come."""
        if not self._refused:
            self._body += data

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """It is complete.  Nothing is read out of its query or its body here, as the superclass would."""
        if self._refused:
            return
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        self.process()

    def process(self) -> None:
        """Answer."""
        answers: Answers = self.channel.factory.answers
        self._send(answers.to(self._asked()))

    def _asked(self) -> Asked:
        def header(name: bytes) -> str | None:
            values = self.requestHeaders.getRawHeaders(name)
            return values[0].decode("latin-1") if values else None

        hosts = tuple(host.decode("latin-1") for host in self.requestHeaders.getRawHeaders(b"Host", []))
        if not hosts and self.clientproto != b"HTTP/1.0":
            hosts = ("",)  # which is nobody's name; a browser always sends one
        return Asked(
            self.method.decode("latin-1"),
            self.path.decode("latin-1"),
            hosts,
            header(b"Origin"),
            header(b"Content-Type") or "",
            header(b"Accept") or "",
            self._body,
        )

    def _send(self, answer: Answer) -> None:
        response: Any = self  # twisted.web has no types here
        response.setResponseCode(answer.status)
        for name, value in {**HEADERS, **answer.more, "Content-Type": answer.content_type}.items():
            response.setHeader(name, value)
        response.setHeader("Content-Length", str(len(answer.body)))
        response.write(answer.body)
        response.finish()


class Channel(HTTPChannel):
    """A connection."""

    totalHeadersSize = HEAD_OCTETS
    MAX_LENGTH = HEAD_OCTETS
    requestFactory = Request
    factory: Site
    transport: Any
    _deadline: Any = None

    def connectionMade(self) -> None:
        """It begins."""
        above: Any = super()
        above.connectionMade()
        self._deadline = self.factory.reactor.callLater(CONNECTION_SECONDS, self._overdue)

    def _overdue(self) -> None:
        self._deadline = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has ended."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.factory.gone(self)
        above: Any = super()
        above.connectionLost(reason)

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:
        """A connection has one request."""
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def refuse(self, status: int) -> None:
        """Answer what is too long to be read, and close."""
        reason = http.RESPONSES[status]
        self.transport.write(b"HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % (status, reason))
        self.transport.loseConnection()


class Site(HTTPFactory):
    """Makes connections."""

    protocol: Any = Channel  # and not twisted.web's, which may turn to HTTP/2
    noisy = False

    def __init__(self, reactor: Any, answers: Answers) -> None:
        super().__init__(reactor=reactor)
        self.timeOut = None  # a connection has its own, which nothing that is sent puts off
        self.answers = answers
        self._open: dict[Channel, None] = {}
        """The oldest first."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        channel: Any = super().buildProtocol(addr)
        if len(self._open) >= CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abortConnection()
        self._open[channel] = None
        return channel

    def gone(self, channel: Channel) -> None:
        """A connection is over."""
        self._open.pop(channel, None)

    def close(self) -> None:
        """End all connections."""
        for channel in list(self._open):
            channel.transport.abortConnection()

    # twisted.web's own log of requests: there is none, nor the clock for it that ticks each second.

    def startFactory(self) -> None:
        """Open no log."""

    def stopFactory(self) -> None:
        """Close none."""

    def log(self, request: http.Request) -> None:
        """Log nothing."""
