"""Endpoint strings, checked before anything is opened.

Contract: `parse_server` and `parse_client` accept Twisted's endpoint syntax for the kinds that make
sense here and raise ValueError with the right form for anything else.  They open nothing and import
no reactor; smtpguard.net.endpoints makes the real thing of the result.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import Final

from attrs import frozen

SERVER_FORMS: Final = (
    "tcp:25:interface=0.0.0.0, tcp6:25:interface=\\:\\:, unix:/run/smtpguard/smtp.sock or systemd:domain=INET:name=smtp"
)
CLIENT_FORMS: Final = "tcp:127.0.0.1:2525 (IPv6: tcp:\\:\\:1:2525) or unix:/run/sendmail/smtp.sock"

_SERVER_OPTIONS: Final = {
    "tcp": {"port", "interface", "backlog"},
    "tcp6": {"port", "interface", "backlog"},
    "unix": {"address", "mode", "backlog", "lockfile"},
    "systemd": {"domain", "index", "name"},
}
_CLIENT_OPTIONS: Final = {
    "tcp": {"host", "port", "timeout", "bindAddress"},
    "unix": {"path", "timeout", "lockfile"},
}


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
            if ("name" in endpoint.options) == ("index" in endpoint.options):
                raise ValueError(f"{text!r} needs either name= or index=, as in systemd:domain=INET:name=smtp")
            if "index" in endpoint.options and not endpoint.options["index"].isdigit():
                raise ValueError(f"{text!r}: index is a number")
    if endpoint.options.get("backlog") is not None and not endpoint.options["backlog"].isdigit():
        raise ValueError(f"{text!r}: backlog is a number")
    if endpoint.options.get("mode") is not None and not re.fullmatch(r"[0-7]{3,4}", endpoint.options["mode"]):
        raise ValueError(f"{text!r}: mode is three octal digits, as in mode=660")
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
    if timeout is not None and not re.fullmatch(r"[0-9]+", timeout):
        raise ValueError(f"{text!r}: timeout is a number of seconds")
    return endpoint


def _parse(text: str, kinds: dict[str, set[str]], forms: str) -> Endpoint:
    pieces = _split(text)
    kind = pieces[0]
    if kind not in kinds or len(pieces) < 2:
        raise ValueError(f"{text!r} is no endpoint that can be used here: write {forms}")
    positional: list[str] = []
    options: dict[str, str] = {}
    for piece in pieces[1:]:
        name, equals, value = piece.partition("=")
        if not equals:
            positional.append(piece)
        elif name not in kinds[kind]:
            raise ValueError(f"{text!r}: {kind} has no option {name!r} (it has {', '.join(sorted(kinds[kind]))})")
        elif name in options:
            raise ValueError(f"{text!r}: {name} is set twice")
        else:
            options[name] = value
    if kind == "systemd" and positional:
        raise ValueError(f"{text!r}: write systemd:domain=INET:name=smtp")
    if len(positional) > (2 if kind == "tcp" and "host" in kinds[kind] else 1):
        raise ValueError(f"{text!r} has a part too many; colons of an IPv6 address are written \\: - forms: {forms}")
    return Endpoint(text, kind, tuple(positional), options)


def _split(text: str) -> list[str]:
    """Split at colons, as Twisted does: a backslash takes the meaning from what follows it."""
    pieces, current, escaped = [], "", False
    for character in text:
        if escaped:
            current, escaped = current + character, False
        elif character == "\\":
            escaped = True
        elif character == ":":
            pieces.append(current)
            current = ""
        else:
            current += character
    return [*pieces, current]


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
