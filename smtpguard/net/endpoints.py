"""Endpoint strings made real.

Contract: takes what smtpguard.config.endpoints has checked.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    serverFromString,
)
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from ..config.endpoints import parse_client, parse_server

BACKLOG: Final = 1024
"""Connections that wait to be accepted; Twisted's 50 drops clients in a burst."""


def server(reactor: Any, text: str) -> IStreamServerEndpoint:
    """Return where to listen."""
    endpoint = parse_server(text)
    if endpoint.kind != "systemd" and "backlog" not in endpoint.options:
        text = f"{text}:backlog={BACKLOG}"
    result: IStreamServerEndpoint = serverFromString(reactor, text)
    return result


def client(reactor: Any, text: str, bind: str | None, timeout: float) -> IStreamClientEndpoint:
    """Return where to connect to; `bind` wins over the endpoint's own bindAddress."""
    endpoint = parse_client(text)
    seconds = float(endpoint.options.get("timeout", timeout))
    if endpoint.kind == "unix":
        return UNIXClientEndpoint(reactor, _given(endpoint.option("path", 0)), timeout=seconds)
    host, port = _given(endpoint.option("host", 0)), int(_given(endpoint.option("port", 1)))
    source = bind or endpoint.option("bindAddress")
    address = (source, 0) if source else None
    match _family(host):
        case 4:
            return TCP4ClientEndpoint(reactor, host, port, timeout=seconds, bindAddress=address)
        case 6:
            return TCP6ClientEndpoint(reactor, host, port, timeout=seconds, bindAddress=address)
        case _:
            return HostnameEndpoint(reactor, host, port, timeout=seconds, bindAddress=address)


def _family(host: str) -> int:
    try:
        return ip_address(host.partition("%")[0]).version
    except ValueError:
        return 0


def _given(value: str | None) -> str:
    assert value is not None  # checked by parse_client
    return value
