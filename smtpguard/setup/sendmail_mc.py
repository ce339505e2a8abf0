"""Where a sendmail listens by its sendmail.mc, and the same file with port 25 moved away.

Contract: sans-IO, and no reader of m4.  What is understood are lines of their own, as Debian writes them,

    DAEMON_OPTIONS(`Family=inet, Name=MTA-v4, Port=smtp, Addr=127.0.0.1')dnl

and nothing else: a DAEMON_OPTIONS of another shape raises Refused with its line.  What `moved` changes is the port and
the address in such lines, and a comment above them; every other octet stays.  That there are no more listeners, in
files that are included, shows only in what m4 makes of it: `ports_in` reads that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from attrs import frozen

from .refusals import Refused

SMTP_PORTS: Final = frozenset({"smtp", "25"})
COMMENT: Final = "dnl # smtpguard listens in the place of this, which was: {was} (smtpguard setup sendmail --undo)"

_LINE: Final = re.compile(r"(?P<before>\s*DAEMON_OPTIONS\(`)(?P<options>[^`'\r\n]*)(?P<behind>'\)\s*(?:dnl.*)?)")
_COMMENT: Final = re.compile(r"\s*dnl\b")
_CF: Final = re.compile(rb"(?m)^O[ \t]+DaemonPortOptions[ \t]*=[ \t]*(.*)$")


@frozen
class Door:
    """One place where sendmail listens for mail from others."""

    line: int
    """1-based."""
    family: int
    """4 or 6."""
    address: str
    """0.0.0.0 or :: for all."""
    options: str

    @property
    def behind(self) -> str:
        """The loopback address of its family, where it listens behind the guard."""
        return "127.0.0.1" if self.family == 4 else "::1"


def doors(text: str, file: str) -> list[Door]:
    """Return the doors at port 25; raises Refused for what is of no known shape."""
    found: list[Door] = []
    for number, line in enumerate(text.split("\n"), 1):
        # Behind m4's dnl nothing counts; `#` is no comment to m4 in this file.
        if "DAEMON_OPTIONS" not in line or _COMMENT.match(line):
            continue
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match is None:
            raise Refused(f"{file}:{number}: a DAEMON_OPTIONS that setup does not understand: {line.strip()[:100]}")
        keys = _keys(match["options"])
        if keys.get("P", "smtp").lower() not in SMTP_PORTS:
            continue
        found.append(_door(number, keys, match["options"], file))
    families = [door.family for door in found]
    if len(set(families)) < len(families):
        lines = " and ".join(str(door.line) for door in found)
        raise Refused(f"{file}: several DAEMON_OPTIONS for port 25 and one family, in lines {lines}.")
    return found


def _door(number: int, keys: dict[str, str], options: str, file: str) -> Door:
    family = {"inet": 4, "inet6": 6}.get(keys.get("F", "inet").lower())
    if family is None:
        raise Refused(f"{file}:{number}: Family={keys['F']} is neither inet nor inet6.")
    address = keys.get("A", "0.0.0.0" if family == 4 else "::").lower().removeprefix("ipv6:")
    try:
        matches = ip_address(address).version == family
    except ValueError:
        raise Refused(f"{file}:{number}: Addr={address} is no address; write the number instead of a name.") from None
    if not matches:
        raise Refused(f"{file}:{number}: Addr={address} is not of Family={keys.get('F', 'inet')}.")
    return Door(number, family, address, options)


def moved(text: str, found: Iterable[Door], port: int) -> str:
    """Return the text with these doors at the loopback address and that port."""
    lines = text.split("\n")
    for door in sorted(found, key=lambda one: one.line, reverse=True):
        line = lines[door.line - 1]
        options = _put(_put(door.options, "P", "Port", str(port)), "A", "Addr", door.behind)
        lines[door.line - 1] = line.replace(f"`{door.options}'", f"`{options}'", 1)
        ending = "\r" if line.endswith("\r") else ""
        lines.insert(door.line - 1, COMMENT.format(was=door.options) + ending)
    return "\n".join(lines)


def ports_in(cf: bytes) -> list[str]:
    """Return the port of every DaemonPortOptions of a sendmail.cf."""
    found = [_keys(match.decode("utf-8", "replace")) for match in _CF.findall(cf)]
    return [keys.get("P", "smtp").lower() for keys in found]


def _keys(options: str) -> dict[str, str]:
    """Return the options by the first letter of their keys, which is all that sendmail looks at."""
    pairs = (one.partition("=") for one in options.split(","))
    return {key.strip()[:1].upper(): value.strip() for key, _, value in pairs if key.strip()}


def _put(options: str, letter: str, key: str, value: str) -> str:
    parts = options.split(",")
    for place, part in enumerate(parts):
        name, equals, old = part.partition("=")
        if equals and name.strip()[:1].upper() == letter:
            parts[place] = f"{name}={old[: len(old) - len(old.lstrip())]}{value}"
            return ",".join(parts)
    return f"{options.rstrip()}, {key}={value}" if options.strip() else f"{key}={value}"
