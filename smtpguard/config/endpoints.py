"""Endpoint strings, checked before anything is opened.

Contract: `parse_server` and `parse_client` accept Twisted's endpoint syntax for the kinds that make
sense here and raise ValueError with the right form for anything else.  They open nothing and import
no reactor; smtpguard.net.endpoints makes the real thing of the result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final

from attrs import frozen

SERVER_FORMS: Final = (
    "tcp:25:interface=0.0.0.0, tcp6:25:interface=\\:\\:, unix:/run/smtpguard/smtp.sock or systemd:domain=INET:name=smtp"
)
CLIENT_FORMS: Final = "tcp:127.0.0.1:2525 (IPv6: tcp:\\:\\:1:2525) or unix:/run/sendmail/smtp.sock"

_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_PRINTABLE: Final = re.compile(r"[!-~]*")

# What each kind has in its first places, and by name only.
_SERVER_OPTIONS: Final = {
    "tcp": (("port",), ("interface", "backlog")),
    "tcp6": (("port",), ("interface", "backlog")),
    "unix": (("address",), ("mode", "backlog", "lockfile")),
    "systemd": ((), ("domain", "index", "name")),
}
_CLIENT_OPTIONS: Final = {
    "tcp": (("host", "port"), ("timeout", "bindAddress")),
    "unix": (("path",), ("timeout", "lockfile")),
}
Kinds = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]


@frozen
class Endpoint:
    """A checked endpoint string."""

    text: str
    """As written."""
    kind: str
    positional: tuple[str, ...]
    options: dict[str, str]

    def option(self, name: str, place: int | None = None) -> str | None:
        """Return an option by name, or by its place where it stands without one."""
        if name in self.options:
            return self.options[name]
        return self.positional[place] if place is not None and place < len(self.positional) else None


def parse_server(text: str) -> Endpoint:
    """Read where to listen; raises ValueError."""
    endpoint = _parse(text, _SERVER_OPTIONS, SERVER_FORMS)
    match endpoint.kind:
        case "tcp" | "tcp6":
            _port(endpoint, endpoint.option("port", 0), SERVER_FORMS, least=0)
            interface = endpoint.option("interface")
            if interface is not None:
                _address(interface, 4 if endpoint.kind == "tcp" else 6, endpoint)
        case "unix":
            if not endpoint.option("address", 0):
                raise ValueError(f"{text!r} names no socket: write unix:/run/smtpguard/smtp.sock")
        case "systemd":
            if endpoint.options.get("domain") not in ("INET", "INET6", "UNIX"):
                raise ValueError(f"{text!r} needs domain=INET, INET6 or UNIX, as in systemd:domain=INET:name=smtp")
            if bool(endpoint.options.get("name")) == ("index" in endpoint.options):
                raise ValueError(f"{text!r} needs either name= or index=, as in systemd:domain=INET:name=smtp")
            if "index" in endpoint.options and not _NUMBER.fullmatch(endpoint.options["index"]):
                raise ValueError(f"{text!r}: index is a number")
    if not _NUMBER.fullmatch(endpoint.options.get("backlog", "0")):
        raise ValueError(f"{text!r}: backlog is a number")
    if endpoint.options.get("mode") is not None and not re.fullmatch(r"[0-7]{3,4}", endpoint.options["mode"]):
        raise ValueError(f"{text!r}: mode is three octal digits, as in mode=660")
    _lockfile(endpoint)
    return endpoint


def parse_client(text: str) -> Endpoint:
    """Read where the backend is; raises ValueError."""
    endpoint = _parse(text, _CLIENT_OPTIONS, CLIENT_FORMS)
    if endpoint.kind == "tcp":
        host = endpoint.option("host", 0)
        if not host or host.isdigit():
            raise ValueError(f"{text!r} names no host: write tcp:127.0.0.1:2525")
        _port(endpoint, endpoint.option("port", 1), CLIENT_FORMS, least=1)
        bind = endpoint.option("bindAddress")
        if bind is not None:
            _address(bind, None, endpoint)
    elif not endpoint.option("path", 0):
        raise ValueError(f"{text!r} names no socket: write unix:/run/sendmail/smtp.sock")
    timeout = endpoint.options.get("timeout")
    if timeout is not None and not _NUMBER.fullmatch(timeout):
        raise ValueError(f"{text!r}: timeout is a number of seconds")
    _lockfile(endpoint)
    return endpoint


def _parse(text: str, kinds: Kinds, forms: str) -> Endpoint:
    if not _PRINTABLE.fullmatch(text):
        raise ValueError(f"{text!r}: an endpoint string is printable ASCII without blanks: write {forms}")
    (start, kind), *pieces = _split(text)
    if start is not None or kind not in kinds or not pieces:
        raise ValueError(f"{text!r} is no endpoint that can be used here: write {forms}")
    in_place, by_name = kinds[kind]
    positional = tuple(value for name, value in pieces if name is None)
    if kind == "systemd" and positional:
        raise ValueError(f"{text!r}: write systemd:domain=INET:name=smtp")
    if len(positional) > len(in_place):
        raise ValueError(f"{text!r} has a part too many; colons of an IPv6 address are written \\: - forms: {forms}")
    options: dict[str, str] = {}
    for name, value in pieces:
        if name is None:
            continue
        if name not in in_place + by_name:
            known = ", ".join(sorted(in_place + by_name))
            raise ValueError(f"{text!r}: {kind} has no option {name!r} (it has {known})")
        if name in options or name in in_place[: len(positional)]:
            raise ValueError(f"{text!r}: {name} is set twice")
        options[name] = value
    return Endpoint(text, kind, positional, options)


def _split(text: str) -> list[tuple[str | None, str]]:
    """Split into (name or None, value) as Twisted does: a backslash takes the meaning from what follows it."""
    pieces: list[tuple[str | None, str]] = []
    name, current, escaped = None, "", False
    for character in text:
        if escaped:
            current, escaped = current + character, False
        elif character == "\\":
            escaped = True
        elif character == ":":
            pieces.append((name, current))
            name, current = None, ""
        elif character == "=" and name is None:
            name, current = current, ""
        else:
            current += character
    if escaped:
        raise ValueError(f"{text!r} ends in a backslash")
    return [*pieces, (name, current)]


def _lockfile(endpoint: Endpoint) -> None:
    if endpoint.options.get("lockfile", "0") not in ("0", "1"):
        raise ValueError(f"{endpoint.text!r}: lockfile is 0 or 1")


def _port(endpoint: Endpoint, port: str | None, forms: str, least: int) -> None:
    if port is None or not re.fullmatch(r"[0-9]{1,5}", port) or not least <= int(port) <= 65535:
        raise ValueError(f"{endpoint.text!r} has no port from {least} to 65535: write {forms}")


def _address(text: str, family: int | None, endpoint: Endpoint) -> None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        raise ValueError(f"{endpoint.text!r}: {text!r} is not an address") from None
    if family is not None and address.version != family:
        other = "tcp6" if isinstance(address, IPv6Address) else "tcp"
        raise ValueError(f"{endpoint.text!r}: {text} is an IPv{address.version} address: write {other}:")
