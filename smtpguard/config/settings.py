"""The settings file, and the flags that win over it.

Contract: `load` returns `Settings` or raises `Faulty` with every fault of the file.  Each field says
its unit and its flag; docs/settings.md is made of them (smtpguard.config.reference,
tests/packaging/test_docs.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from attrs import frozen
from pydantic import BeforeValidator, Field, model_validator

from ..policy.rules import Policy
from ..smtp.bounds import Bounds
from ..smtp.phases import Awaited
from ..smtp.profiles import PROFILES
from ..smtp.terms import Terms
from .admin import AdminEndpoint, trouble_with
from .backend import Backend, is_loopback
from .endpoints import Endpoint, parse_client, parse_server
from .faults import Fault, Faulty, Known
from .fields import Address, FilePath, Listed, Octets, Seconds, Workers, flag, listed, unit, wrapped
from .incidents import IncidentSettings
from .listener import Listener
from .log import Log
from .models import Section, validate
from .state import State, beside, unfolded
from .yaml_reader import Document, Places, is_file, read_file


class Limits(Section):
    """Bounds on what clients and backend can make the guard hold."""

    sessions: int = Field(
        2000, gt=0, description="sessions at once; each takes two descriptors", json_schema_extra=unit("sessions")
    )
    sessions_per_address: int = Field(
        100,
        gt=0,
        description="sessions at once from one address; the network named `internal` is exempt",
        json_schema_extra=unit("sessions"),
    )
    queue: Octets = Field(
        65536, ge=16384, description="octets of input that wait for their turn; the longest line must fit"
    )
    reply_line: Octets = Field(16384, ge=512, description="octets of one line of a backend's reply")
    reply: Octets = Field(1048576, ge=16384, description="octets of a backend's reply")
    data_rate: float = Field(
        10.0,
        ge=0,
        le=1_000_000,
        description="octets of a message that must come in a second, on an average over `data_rate_seconds`; 0 is no "
        "such limit. A modem of 300 baud sends 30",
        json_schema_extra=unit("octets/s"),
    )
    data_rate_seconds: Seconds = Field(
        300.0, description="of a period; what of it the client was not read in, since the backend was full, is added"
    )


class Timeouts(Section):
    """How long to wait (RFC 5321 4.5.3.2)."""

    connect: Seconds = Field(30.0, description="for a connection to the backend")
    proxy_header: Seconds = Field(5.0, description="for the PROXY header, from the beginning of a connection")
    handshake: Seconds = Field(60.0, description="for a TLS handshake, with a client or the backend")
    banner: Seconds = Field(300.0, description="for the backend's banner")
    command: Seconds = Field(300.0, description="for the client's next complete command")
    reply: Seconds = Field(300.0, description="for the backend's reply")
    data_reply: Seconds = Field(120.0, description="for the backend's reply to DATA")
    data_block: Seconds = Field(180.0, description="for the client's next octets of a message")
    data_end: Seconds = Field(600.0, description="for the backend's reply to the end of data")
    message: Seconds = Field(600.0, description="for the octets of a refused BDAT, all together")
    linger: Seconds = Field(2.0, description="for a client to read the last reply before its connection is reset")
    shutdown: Seconds = Field(30.0, description="for transactions in progress when the service stops")

    @property
    def by_what_is_awaited(self) -> dict[Awaited, float]:
        """Return how long a session waits for what; what is not in it, it waits for without end."""
        return {
            Awaited.BANNER: self.banner,
            Awaited.COMMAND: self.command,
            Awaited.REPLY: self.reply,
            Awaited.DATA_REPLY: self.data_reply,
            Awaited.DATA_BLOCK: self.data_block,
            Awaited.DATA_END: self.data_end,
            Awaited.CHUNK: self.message,
            Awaited.TLS: self.handshake,
            Awaited.TUNNEL: self.command,
        }

    @property
    def shortest(self) -> float:
        """Return the least of what a session waits for."""
        return min(*self.by_what_is_awaited.values(), self.linger)


class Dns(Section):
    """Host names for the log; they decide nothing."""

    names: bool = Field(True, description="look up the names of clients")
    servers: list[Address] = Field([], description="addresses of name servers; those of /etc/resolv.conf if empty")
    timeout: Seconds = Field(2.0, description="for a name; a log line waits no longer than this for it")
    cache: int = Field(10000, gt=0, description="names kept", json_schema_extra=unit("names"))
    cache_for: Seconds = Field(600.0, description="for which a name is kept")


class Settings(Section):
    """Everything that `smtpguard run` can be told."""

    elsewhere = (
        "the policy, which is a file of its own: name it with `policy: FILE`, or with --policy FILE",
        frozenset(
            {"networks", "rulesets", "privacy_options", "banner", "budgets", "relay_domains", "tests", "replies"}
        ),
    )

    listen: Annotated[list[Annotated[Listener, BeforeValidator(wrapped)]], Field(min_length=1), Listed] = Field(
        description="where to listen: endpoint strings, or mappings with the keys below",
        json_schema_extra=flag("--listen"),
    )
    backend: Annotated[Backend, BeforeValidator(wrapped)] = Field(
        description="the mail server: an endpoint string, or a mapping with the keys below",
        json_schema_extra=flag("--backend"),
    )
    policy: FilePath = Field(
        "internal-vrfy",
        description="a policy file (looked for beside the settings file first), or the name of a shipped policy",
        json_schema_extra=flag("--policy"),
    )
    relay_check: Literal["enforce", "warn", "off"] = Field(
        "enforce",
        description="what to do if the backend would relay for outsiders: not start, log it, or not ask",
        json_schema_extra=flag("--relay-check"),
    )
    relay_check_recipient: str = Field(
        "smtpguard-check@example.com",
        pattern=r"^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+$",
        description="an address that the backend is no mail server for",
    )
    relay_check_source: Annotated[list[Address], Listed] = Field(
        [],
        description="the client's address that the backend is shown when it is asked, where `identity` shows it one; "
        "one of the documentation networks (RFC 5737, RFC 3849) if not set",
    )
    relay_check_interval: Seconds = Field(
        3600.0, description="after which it is asked again; besides, after every outage of the backend and at SIGHUP"
    )
    workers: Workers = Field(
        1,
        description="processes that serve side by side, 256 at most; `auto` is one for each processor; `limits` hold "
        "for all of them together",
        json_schema_extra=flag("--workers"),
    )
    state: Annotated[State, BeforeValidator(unfolded)] = Field(
        State(), description="a path, or the URL of a Redis, or a mapping with both: see its own table"
    )
    incidents: IncidentSettings = Field(IncidentSettings(), description="see its own table")
    admin: Annotated[list[AdminEndpoint], Listed] = Field(
        [],
        description="where status, metrics and health are asked for ([monitoring.md](monitoring.md)): "
        "`unix:PATH`, or a port of the loopback interface, `tcp:8025:interface=127.0.0.1`; nowhere if not set",
    )
    log: Log = Field(Log(), description="see its own table")
    limits: Limits = Field(Limits(), description="see its own table")
    timeouts: Timeouts = Field(Timeouts(), description="see its own table")
    dns: Dns = Field(Dns(), description="see its own table")

    @model_validator(mode="after")
    def _reachable(self) -> Settings:
        """Every client must be one that the backend can be shown."""
        if self.backend.identity not in ("transparent", "proxy-v1", "proxy-v2"):
            return self
        for listener in self.listen:
            if not listener.family and listener.proxy_protocol == "none":
                identity = self.backend.identity
                raise ValueError(f"listen: under `identity: {identity}` clients of {listener.endpoint} have no address")
            if self.backend.identity != "transparent":
                continue
            if listener.family and listener.family not in self.backend.families:
                version, other = listener.family, "endpoint_ipv6" if listener.family == 6 else "endpoint"
                raise ValueError(
                    f"backend: under `identity: transparent` clients of IPv{version} ({listener.endpoint}) cannot come "
                    f"to {self.backend.endpoint}: set backend.{other} to an IPv{version} address of the mail server"
                )
        return self

    @model_validator(mode="after")
    def _inspectable(self) -> Settings:
        if self.passes_starttls and self.backend.starttls != "none":
            raise ValueError("passthrough: the backend's STARTTLS is used by `backend.starttls` already: choose one")
        return self

    @model_validator(mode="after")
    def _not_itself(self) -> Settings:
        for text in self.backend.addresses:
            backend = parse_client(text)
            if any(_is_reached_by(backend, parse_server(own)) for own in self._endpoints):
                raise ValueError(f"backend: {text} is a listener of this guard: name the mail server")
        return self

    @model_validator(mode="after")
    def _apart(self) -> Settings:
        trouble = trouble_with(self.admin, self._endpoints)
        if trouble is not None:
            raise ValueError(trouble)
        return self

    @property
    def terms(self) -> Terms:
        """What every client may expect; the policy adds what it grants to each."""
        profile = PROFILES[self.backend.profile]
        return Terms(
            Bounds(self.limits.queue, self.limits.reply_line, self.limits.reply),
            replace(profile, seven_bit=profile.seven_bit or self.backend.seven_bit),
            chunking=self.backend.chunking == "forward",
        )

    @property
    def greeting_seconds(self) -> float:
        """How long one of several backends may take to greet: a client is served no later than by either of both."""
        return min(self.backend.health.timeout, self.timeouts.banner)

    def listener(self, name: str) -> Listener | None:
        """Return the listener of that name, the first one for an empty name, or None."""
        return next((one for one in self.listen if name in ("", one.label)), None)

    @property
    def passes_starttls(self) -> bool:
        """True if the STARTTLS of some clients goes to the backend, so that no rule holds behind it."""
        return any(listener.starttls and listener.starttls.passthrough for listener in self.listen)

    @property
    def _endpoints(self) -> list[str]:
        return [listener.endpoint for listener in self.listen]


def _is_reached_by(backend: Endpoint, listener: Endpoint) -> bool:
    """True if who connects to `backend` comes to `listener`."""
    if backend.kind == "unix" or listener.kind == "unix":
        path = backend.option("path", 0)
        return backend.kind == listener.kind and path == listener.option("address", 0)
    host, interface = backend.option("host", 0) or "", listener.option("interface") or ""
    everywhere = interface in ("", "0.0.0.0", "::") and (host == "localhost" or is_loopback(host))
    same_port = backend.option("port", 1) == listener.option("port", 0)
    return listener.kind in ("tcp", "tcp6") and same_port and (everywhere or host == interface)


@frozen
class Loaded:
    """Settings, and where they stand."""

    settings: Settings
    places: Places

    def faults_with(self, policy: Policy) -> list[Fault]:
        """Return what is wrong with the settings under this policy."""
        names = {*policy.networks.names, "default"}
        known = Known(names)
        faults = [
            self.places.fault(("backend", "bind", name), f"bind: unknown network {name!r}{known.hint(name)}", key=True)
            for name in self.settings.backend.bind
            if name not in names
        ]
        for number, listener in enumerate(self.settings.listen):
            for place, name in enumerate(listener.starttls.passthrough if listener.starttls else ()):
                if name not in names - {"default"}:
                    path = ("listen", number, "starttls", "passthrough", place)
                    faults.append(self.places.fault(path, f"passthrough: unknown network {name!r}{known.hint(name)}"))
        if no_file := self.settings.log.file_fault():
            faults.append(self.places.fault(("log", "file"), no_file))
        recipient = self.settings.relay_check_recipient
        if policy.refuses_relaying and policy.relays_to(recipient):
            text = f"relay_check_recipient: {recipient} is in `relay_domains` of the policy: name an address elsewhere"
            faults.append(self.places.fault(("relay_check_recipient",), text))
        return faults

    def warnings_with(self, policy: Policy) -> list[Fault]:
        """Return what an administrator should know of the settings under this policy."""
        text = "passthrough: no rule holds behind it, `relay_domains` included, so the relay check counts"
        return [
            self.places.fault(("listen", number, "starttls", "passthrough"), text, key=True, warning=True)
            for number, listener in enumerate(self.settings.listen)
            if policy.refuses_relaying and listener.starttls and listener.starttls.passthrough
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


def admin_named_in(path: str | Path) -> list[str]:
    """Return the admin endpoints that a settings file names, whatever else is wrong with the file."""
    try:
        data = read_file(path).data
    except Faulty:
        return []
    named = listed(data.get("admin", [])) if isinstance(data, dict) else []
    return [text for text in named if isinstance(text, str)] if isinstance(named, list) else []


def _apply(flags: Mapping[str, Any], data: dict[str, Any], folder: Path) -> None:
    policy = data.get("policy")
    if isinstance(policy, str) and is_file(folder / policy):
        data["policy"] = str(folder / policy)
    _beside(data.get("backend"), "ca", folder)
    _beside(data.get("log"), "file", folder)
    if "state" in data:
        data["state"] = beside(data["state"], folder)
    listeners = data.get("listen")
    for listener in listeners if isinstance(listeners, list) else [listeners]:
        starttls = listener.get("starttls") if isinstance(listener, dict) else None
        for key in ("certificates", "passphrase_file", "client_ca"):
            _beside(starttls, key, folder)
    for key, value in flags.items():
        if not value:
            continue
        backend = data.get("backend")
        if key == "backend" and isinstance(backend, dict):
            data["backend"] = {**backend, "endpoint": value}  # its `bind` still holds
        else:
            data[key] = value


def _beside(section: object, key: str, folder: Path) -> None:
    """Make the paths of a section that are relative begin at the folder of the file that they stand in."""

    def placed(value: object) -> object:
        if isinstance(value, str):
            return str(folder / value)
        if isinstance(value, list):
            return [placed(item) for item in value]
        if isinstance(value, dict):
            return {name: placed(item) for name, item in value.items()}
        return value

    if isinstance(section, dict) and key in section:
        section[key] = placed(section[key])
