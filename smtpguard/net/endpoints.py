"""Endpoint strings made real.

Contract: takes what smtpguard.config.endpoints has checked.  A reactor on libuv gets the endpoints of
smtpguard.transport, any other Twisted's own.
"""

from __future__ import annotations

import asyncio
import os
import socket
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    serverFromString,
)
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from ..config.endpoints import Endpoint, parse_client, parse_server
from ..transport.connecting import ClientEndpoint
from ..transport.listening import ServerEndpoint
from ..transport.named import NamedEndpoint
from ..transport.places import GivenPlace, InternetPlace, Place, UnixPlace
from ..transport.reactor import loop_of
from ..transport.ways import TcpWay, UnixWay

BACKLOG: Final = 1024
"""Connections that wait to be accepted; Twisted's 50 drops clients in a burst."""


def server(reactor: Any, text: str, inherited: socket.socket | None = None) -> IStreamServerEndpoint:
    """Return where to listen; `inherited` is a socket that listens there already, and belongs to the result."""
    endpoint = parse_server(text)
    loop = loop_of(reactor)
    if loop is not None:
        return _on_libuv(reactor, loop, endpoint, inherited)
    if inherited is not None:
        return AdoptedStreamServerEndpoint(reactor, inherited.detach(), inherited.family)
    if endpoint.kind != "systemd" and "backlog" not in endpoint.options:
        text = f"{text}:backlog={BACKLOG}"
    result: IStreamServerEndpoint = serverFromString(reactor, text)
    return result


def client(reactor: Any, text: str, bind: str | None, timeout: float) -> IStreamClientEndpoint:
    """Return where to connect to; `bind` wins over the endpoint's own bindAddress."""
    endpoint = parse_client(text)
    seconds = float(endpoint.options.get("timeout", timeout))
    loop = loop_of(reactor)
    if endpoint.kind == "unix":
        path = _given(endpoint.option("path", 0))
        if loop is not None:
            return ClientEndpoint(loop, UnixWay(path), seconds)
        return UNIXClientEndpoint(reactor, path, timeout=seconds)
    host, port = _given(endpoint.option("host", 0)), int(_given(endpoint.option("port", 1)))
    source = bind or endpoint.option("bindAddress")
    family = _family(host)
    if loop is not None:
        if family:
            return ClientEndpoint(loop, TcpWay(host, port, source), seconds)
        return NamedEndpoint(reactor, loop, host, port, seconds, source)
    address = (source, 0) if source else None
    match family:
        case 4:
            return TCP4ClientEndpoint(reactor, host, port, timeout=seconds, bindAddress=address)
        case 6:
            return TCP6ClientEndpoint(reactor, host, port, timeout=seconds, bindAddress=address)
        case _:
            return HostnameEndpoint(reactor, host, port, timeout=seconds, bindAddress=address)


def _on_libuv(
    reactor: Any, loop: asyncio.AbstractEventLoop, endpoint: Endpoint, inherited: socket.socket | None
) -> IStreamServerEndpoint:
    if endpoint.kind == "systemd" and inherited is None:
        inherited = _from_systemd(reactor, endpoint)
    if inherited is not None:
        given = GivenPlace(inherited)
        return ServerEndpoint(loop, lambda: given, once=True)
    return ServerEndpoint(loop, lambda: _place(endpoint))


def _place(endpoint: Endpoint) -> Place:
    backlog = int(endpoint.option("backlog") or BACKLOG)
    if endpoint.kind == "unix":
        mode, lock = int(endpoint.options.get("mode", "666"), 8), endpoint.options.get("lockfile", "1") == "1"
        return UnixPlace(_given(endpoint.option("address", 0)), backlog, mode, lock)
    family = socket.AF_INET6 if endpoint.kind == "tcp6" else socket.AF_INET
    return InternetPlace(endpoint.option("interface") or "", int(_given(endpoint.option("port", 0))), backlog, family)


def _from_systemd(reactor: Any, endpoint: Endpoint) -> socket.socket:
    """Return a socket of systemd's; raises KeyError or IndexError as Twisted does if there is none.

    Twisted has taken what systemd said (sd_listen_fds(3)) out of the environment, so Twisted is asked.
    """
    found: Any = serverFromString(reactor, endpoint.text)
    os.set_inheritable(found.fileno, False)
    return socket.socket(found.addressFamily, socket.SOCK_STREAM, fileno=found.fileno)


def _family(host: str) -> int:
    try:
        return ip_address(host.partition("%")[0]).version
    except ValueError:
        return 0


def _given(value: str | None) -> str:
    assert value is not None  # checked by parse_client
    return value
