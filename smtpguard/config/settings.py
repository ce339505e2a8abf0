"""The settings file, and the flags that win over it.

Contract: `load` returns `Settings` or raises `Faulty` with every fault of the file.  Each field says
its unit and its flag; docs/settings.md is made of them (smtpguard.config.reference,
tests/packaging/test_docs.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from attrs import evolve, frozen
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic.config import JsonDict

from ..smtp.bounds import Bounds
from ..smtp.profiles import PROFILES
from ..smtp.terms import Terms
from .endpoints import parse_client, parse_server
from .faults import Fault, Faulty, Known
from .models import Section, validate
from .yaml_reader import Document, Places, is_file, read_file


def _server(text: str) -> str:
    parse_server(text)
    return text


def _client(text: str) -> str:
    parse_client(text)
    return text


def _address(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address: write it as 192.0.2.25 or 2001:db8::25") from None
    return text


def _file_name(text: str) -> str:
    longest = max(map(len, os.fsencode(text).split(b"/")))
    if longest > LONGEST_NAME or len(os.fsencode(text)) > LONGEST_PATH:
        raise ValueError("no file has so long a name")
    return text


def _wrapped(value: object) -> object:
    return {"endpoint": value} if isinstance(value, str) else value


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _bind_by_network(value: object) -> object:
    return {"default": value} if isinstance(value, str) else value


LONGEST_NAME: Final = 255
LONGEST_PATH: Final = 4095
"""Octets (limits.h, NAME_MAX and PATH_MAX less its NUL)."""
LONGEST_WAIT: Final = 86400
"""Seconds; longer is a slip of the pen."""


def _unit(name: str) -> JsonDict:
    return {"unit": name}


def _flag(name: str) -> JsonDict:
    return {"flag": name}


Seconds = Annotated[float, Field(gt=0, le=LONGEST_WAIT, json_schema_extra=_unit("seconds"))]
Octets = Annotated[int, Field(gt=0, json_schema_extra=_unit("octets"))]


class Listener(Section):
    """One place to listen at."""

    endpoint: Annotated[str, AfterValidator(_server)] = Field(
        description="where to listen, as a Twisted endpoint string",
        json_schema_extra=_flag("--listen"),
    )
    name: str = Field("", description="what the rule condition `listener` calls it; the endpoint string if not set")

    @property
    def label(self) -> str:
        return self.name or self.endpoint


def _family(address: str) -> int:
    """Return 4 or 6, or 0 for a name."""
    try:
        return ip_address(address.partition("%")[0]).version
    except ValueError:
        return 0


def _is_loopback(address: str) -> bool:
    return bool(_family(address)) and ip_address(address.partition("%")[0]).is_loopback


class Backend(Section):
    """The mail server behind the guard."""

    endpoint: Annotated[str, AfterValidator(_client)] = Field(
        description="where the mail server is, as a Twisted endpoint string", json_schema_extra=_flag("--backend")
    )
    bind: Annotated[dict[str, Annotated[str, AfterValidator(_address)]], BeforeValidator(_bind_by_network)] = Field(
        {},
        description="source address towards the backend: one for all, or by network of the policy, and `default`",
    )
    profile: Literal["default", "sendmail-legacy", "sendmail", "postfix", "exim", "qmail", "opensmtpd", "exchange"] = (
        Field("default", description="what kind of server it is, see below")
    )
    chunking: Literal["hide", "forward"] = Field(
        "hide", description="whether BDAT (RFC 3030) is refused and kept out of the EHLO reply, or forwarded"
    )
    seven_bit: bool = Field(
        False,
        description="the server drops the eighth bit of every message (SevenBitInput of sendmail): none may be set",
    )

    @model_validator(mode="after")
    def _chunkable(self) -> Backend:
        profile = PROFILES[self.profile]
        if self.chunking == "forward" and not profile.knows(b"BDAT"):
            raise ValueError(f"chunking: {profile.name} knows no BDAT: remove `chunking: forward`")
        return self

    @model_validator(mode="after")
    def _bindable(self) -> Backend:
        endpoint = parse_client(self.endpoint)
        if endpoint.kind == "unix" and self.bind:
            raise ValueError("bind: a unix socket has no source address: remove it, or connect by tcp:")
        if self.bind and "bindAddress" in endpoint.options:
            raise ValueError("bind: the endpoint has a bindAddress already: remove one of them")
        host = endpoint.option("host", 0)
        family = _family(host or "")
        for name, address in self.bind.items():
            if family and _family(address) != family:
                raise ValueError(f"bind: {name}: nothing gets from {address} to {host}: the families differ")
        return self


class Log(Section):
    """What is logged, how and where."""

    to: Literal["stderr", "syslog", "both"] = Field("stderr", description="syslog is facility mail")
    style: Literal["sendmail", "classic"] = Field(
        "sendmail",
        description="form of the lines: sendmail 8.17's, or a 1990s one, which does not tell refused from forwarded",
    )
    format: Literal["text", "json"] = Field("text", description="lines, or one JSON object an event")
    level: int = Field(
        9,
        ge=0,
        le=99,
        description="sendmail's LogLevel: 1 attacks, 6 VRFY and EXPN, 9 a summary a session, 11 connections",
    )
    ident: str = Field("smtpguard", pattern=r"^[A-Za-z0-9_.-]{1,32}$", description="program name in syslog")


class Limits(Section):
    """Bounds on what clients and backend can make the guard hold."""

    sessions: int = Field(
        2000, gt=0, description="sessions at once; each takes two descriptors", json_schema_extra=_unit("sessions")
    )
    sessions_per_address: int = Field(
        100,
        gt=0,
        description="sessions at once from one address; the network named `internal` is exempt",
        json_schema_extra=_unit("sessions"),
    )
    queue: Octets = Field(
        65536, ge=16384, description="octets of input that wait for their turn; the longest line must fit"
    )
    reply_line: Octets = Field(16384, ge=512, description="octets of one line of a backend's reply")
    reply: Octets = Field(1048576, ge=16384, description="octets of a backend's reply")


class Timeouts(Section):
    """How long to wait (RFC 5321 4.5.3.2)."""

    connect: Seconds = Field(30.0, description="for a connection to the backend")
    banner: Seconds = Field(300.0, description="for the backend's banner")
    command: Seconds = Field(300.0, description="for the client's next complete command")
    reply: Seconds = Field(300.0, description="for the backend's reply")
    data_reply: Seconds = Field(120.0, description="for the backend's reply to DATA")
    data_block: Seconds = Field(180.0, description="for the client's next octets of a message")
    data_end: Seconds = Field(600.0, description="for the backend's reply to the end of data")
    message: Seconds = Field(600.0, description="for the octets of a refused BDAT, all together")
    linger: Seconds = Field(2.0, description="for a client to read the last reply before its connection is reset")
    shutdown: Seconds = Field(30.0, description="for transactions in progress when the service stops")


class Dns(Section):
    """Host names for the log; they decide nothing."""

    names: bool = Field(True, description="look up the names of clients")
    servers: list[Annotated[str, AfterValidator(_address)]] = Field(
        [], description="addresses of name servers; those of /etc/resolv.conf if empty"
    )
    timeout: Seconds = Field(2.0, description="for a name; a log line waits no longer than this for it")
    cache: int = Field(10000, gt=0, description="names kept", json_schema_extra=_unit("names"))
    cache_for: Seconds = Field(600.0, description="for which a name is kept")


class Settings(Section):
    """Everything that `smtpguard run` can be told."""

    listen: Annotated[
        list[Annotated[Listener, BeforeValidator(_wrapped)]], Field(min_length=1), BeforeValidator(_listed)
    ] = Field(
        description="where to listen: endpoint strings, or mappings with the keys below",
        json_schema_extra=_flag("--listen"),
    )
    backend: Annotated[Backend, BeforeValidator(_wrapped)] = Field(
        description="the mail server: an endpoint string, or a mapping with the keys below",
        json_schema_extra=_flag("--backend"),
    )
    policy: Annotated[str, AfterValidator(_file_name)] = Field(
        "internal-vrfy",
        description="a policy file (looked for beside the settings file first), or the name of a shipped policy",
        json_schema_extra=_flag("--policy"),
    )
    relay_check: Literal["enforce", "warn", "off"] = Field(
        "enforce",
        description="what to do if the backend would relay for outsiders: not start, log it, or not ask",
        json_schema_extra=_flag("--relay-check"),
    )
    relay_check_recipient: str = Field(
        "smtpguard-check@example.com",
        pattern=r"^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+$",
        description="an address that the backend is no mail server for",
    )
    log: Log = Field(Log(), description="see its own table")
    limits: Limits = Field(Limits(), description="see its own table")
    timeouts: Timeouts = Field(Timeouts(), description="see its own table")
    dns: Dns = Field(Dns(), description="see its own table")

    @model_validator(mode="after")
    def _not_itself(self) -> Settings:
        backend = parse_client(self.backend.endpoint)
        if backend.kind == "unix":
            own = [e for e in map(parse_server, self._endpoints) if e.kind == "unix"]
            if any(e.option("address", 0) == backend.option("path", 0) for e in own):
                raise ValueError("backend: it is a listener of this guard: name the mail server")
            return self
        host, port = backend.option("host", 0) or "", backend.option("port", 1)
        for endpoint in map(parse_server, self._endpoints):
            interface = endpoint.option("interface") or ""
            everywhere = interface in ("", "0.0.0.0", "::") and (host == "localhost" or _is_loopback(host))
            if (
                endpoint.kind in ("tcp", "tcp6")
                and port == endpoint.option("port", 0)
                and (everywhere or host == interface)
            ):
                raise ValueError(f"backend: {self.backend.endpoint} is a listener of this guard: name the mail server")
        return self

    @property
    def terms(self) -> Terms:
        """What every client may expect; the policy adds what it grants to each."""
        profile = PROFILES[self.backend.profile]
        return Terms(
            Bounds(self.limits.queue, self.limits.reply_line, self.limits.reply),
            evolve(profile, seven_bit=profile.seven_bit or self.backend.seven_bit),
            chunking=self.backend.chunking == "forward",
        )

    @property
    def _endpoints(self) -> list[str]:
        return [listener.endpoint for listener in self.listen]


@frozen
class Loaded:
    """Settings, and where they stand."""

    settings: Settings
    places: Places

    def faults_with(self, networks: Iterable[str]) -> list[Fault]:
        """Return what is wrong with the settings under a policy with these named networks."""
        names = {*networks, "default"}
        known = Known(names)
        return [
            self.places.fault(("backend", "bind", name), f"bind: unknown network {name!r}{known.hint(name)}", key=True)
            for name in self.settings.backend.bind
            if name not in names
        ]


def load(path: str | Path | None, flags: Mapping[str, Any]) -> Loaded:
    """Read the settings; `flags` maps keys to values that win over those of the file.

    A policy named in the file is looked for beside the file.  Raises Faulty, or OSError for a file
    that cannot be read.
    """
    document = Document.empty("command line") if path is None else read_file(path)
    if document.data is None:
        document.data = {}
    if isinstance(document.data, dict):
        _apply(flags, document.data, Path(path).parent if path is not None else Path())
    settings, faults = validate(Settings, document)
    faults = sorted({*document.faults, *faults})
    if faults or settings is None:
        raise Faulty(faults)
    return Loaded(settings, document.places)


def policy_named_in(path: str | Path) -> str | None:
    """Return the policy that a settings file names, whatever else is wrong with the file."""
    try:
        data = read_file(path).data
    except Faulty:
        return None
    if not isinstance(data, dict):
        return None
    _apply({}, data, Path(path).parent)
    policy = data.get("policy")
    return policy if isinstance(policy, str) else None


def _apply(flags: Mapping[str, Any], data: dict[str, Any], folder: Path) -> None:
    policy = data.get("policy")
    if isinstance(policy, str) and is_file(folder / policy):
        data["policy"] = str(folder / policy)
    for key, value in flags.items():
        if not value:
            continue
        backend = data.get("backend")
        if key == "backend" and isinstance(backend, dict):
            data["backend"] = {**backend, "endpoint": value}  # its `bind` still holds
        else:
            data[key] = value
