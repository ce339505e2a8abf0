"""Where the admin endpoint listens: a unix socket, or a port of the loopback interface.

Contract: `parse_admin` accepts the endpoint strings that nobody outside this host can connect to, and raises
ValueError with the right form for anything else.  It opens nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Annotated, Final

from attrs import frozen
from pydantic import AfterValidator

from .endpoints import Endpoint, parse_server

ADMIN_FORMS: Final = "unix:/run/smtpguard/admin.sock or tcp:8025:interface=127.0.0.1"
LONGEST_SOCKET_PATH: Final = 107
"""Octets (unix(7), sun_path less its NUL)."""
OWNER_ONLY: Final = 0o600
"""Rights of a unix socket where the endpoint does not say `mode`: its owner, and root."""


@frozen
class AdminPlace:
    """A checked endpoint string."""

    text: str
    """As written."""
    path: str
    """Of a unix socket; empty for TCP."""
    mode: int
    host: str
    """A loopback address; empty for a unix socket."""
    port: int


def parse_admin(text: str) -> AdminPlace:
    """Read where the admin endpoint is; raises ValueError."""
    endpoint = parse_server(text)
    if endpoint.kind == "unix":
        return _on_a_path(endpoint)
    if endpoint.kind == "systemd":
        raise ValueError(f"{text!r}: the admin endpoint is opened by the guard itself: write {ADMIN_FORMS}")
    interface = endpoint.option("interface") or ""
    if not interface or not ip_address(interface.partition("%")[0]).is_loopback:
        where = f"{interface} is reached from other hosts" if interface else "without interface= it is on all of them"
        raise ValueError(
            f"{text!r}: {where}, and who reaches the admin endpoint reads all that it knows: write {ADMIN_FORMS}"
        )
    return AdminPlace(text, "", 0, interface, int(endpoint.option("port", 0) or 0))


def _on_a_path(endpoint: Endpoint) -> AdminPlace:
    text, path = endpoint.text, endpoint.option("address", 0) or ""
    if not path.startswith("/"):
        raise ValueError(f"{text!r}: the path must begin with a slash, as in unix:/run/smtpguard/admin.sock")
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise ValueError(f"{text!r}: the path of a socket has at most {LONGEST_SOCKET_PATH} octets")
    if "lockfile" in endpoint.options:
        raise ValueError(f"{text!r}: there is no lock file here: what nobody answers at is replaced")
    mode = int(endpoint.options.get("mode", f"{OWNER_ONLY:o}"), 8)
    if mode & 0o7 or mode & ~0o777:
        raise ValueError(f"{text!r}: who may connect may lift bans, so not everybody may: mode=600 or mode=660")
    return AdminPlace(text, path, mode, "", 0)


def trouble_with(admin: Sequence[str], listeners: Sequence[str]) -> str | None:
    """Return why the admin endpoints cannot be where they are told to be beside the listeners, or None."""
    seen: set[tuple[str, str, int]] = set()
    for place in map(parse_admin, admin):
        if (place.port or place.path) and (place.path, place.host, place.port) in seen:
            return f"admin: {place.text} is there twice"
        seen.add((place.path, place.host, place.port))
        for listener in map(parse_server, listeners):
            if _meets(place, listener):
                return f"admin: {place.text} is where clients come in ({listener.text}): name another"
    return None


def _meets(place: AdminPlace, listener: Endpoint) -> bool:
    if place.path:
        return listener.kind == "unix" and listener.option("address", 0) == place.path
    if listener.kind not in ("tcp", "tcp6") or not place.port:
        return False
    interface = listener.option("interface") or ""
    return listener.option("port", 0) == str(place.port) and interface in ("", "0.0.0.0", "::", place.host)


def _checked(text: str) -> str:
    parse_admin(text)
    return text


AdminEndpoint = Annotated[str, AfterValidator(_checked)]
