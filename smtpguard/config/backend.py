"""The mail server behind the guard, or several that do the same: where, what they are shown, and what kind they are.

Contract: a pydantic model; nothing is connected to.  `endpoints` are all of them, `endpoint` the first; whatever else
is set holds for each.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..smtp.profiles import PROFILES
from .endpoints import parse_client
from .fields import Address, ClientEndpoint, FilePath, Listed, Seconds, flag, unit
from .models import Section

MOST_BACKENDS: Final = 16
"""Mail servers behind one guard.  Each is asked by itself, and a client that finds them all dead is tried at each."""
MOST_IN_A_ROW: Final = 100
"""Of checks that must agree; more than that is no check any more."""
_HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)


def _bind_by_network(value: object) -> object:
    return {"default": value} if isinstance(value, str) else value


def family_of(address: str) -> int:
    """Return 4 or 6, or 0 for a name."""
    try:
        return ip_address(address.partition("%")[0]).version
    except ValueError:
        return 0


def _reached_over(endpoint: str) -> int:
    parsed = parse_client(endpoint)
    return family_of(parsed.option("host", 0) or "") if parsed.kind == "tcp" else 0


def is_loopback(address: str) -> bool:
    return bool(family_of(address)) and ip_address(address.partition("%")[0]).is_loopback


class Health(Section):
    """When one of several backends is up."""

    interval: Seconds = Field(
        30.0, description="after which a backend is checked that no client's session has found up meanwhile"
    )
    timeout: Seconds = Field(
        30.0,
        description="for the connection and the banner, in a check, and in a client's session as long as another "
        "backend is left to be tried, or `timeouts.banner` if that is shorter; a server that looks names up before it "
        "greets must get so much",
    )
    rise: int = Field(
        1,
        ge=1,
        le=MOST_IN_A_ROW,
        description="checks passed in a row that bring a backend back",
        json_schema_extra=unit("checks"),
    )
    fall: int = Field(
        3,
        ge=1,
        le=MOST_IN_A_ROW,
        description="failures in a row, of checks and of clients' sessions, that take it out; one that nothing can "
        "connect to is out at once",
        json_schema_extra=unit("failures"),
    )


class Backend(Section):
    """The mail servers behind the guard."""

    endpoints: Annotated[list[ClientEndpoint], Field(min_length=1, max_length=MOST_BACKENDS), Listed] = Field(
        alias="endpoint",
        description="where the mail server is, as a Twisted endpoint string; or a list of at most "
        f"{MOST_BACKENDS}, of servers that do the same, see [backends.md](backends.md)",
        json_schema_extra=flag("--backend"),
    )
    balance: Literal["order", "round-robin"] = Field(
        "order",
        description="of several, which one a client gets: the first in the list that is up, or the next one in turn",
    )
    health: Health = Field(Health(), description="of several, when one is up: see its own table")
    bind: Annotated[dict[str, Address], BeforeValidator(_bind_by_network)] = Field(
        {},
        description="source address towards the backend: one for all, or by network of the policy, and `default`",
    )
    identity: Literal["none", "transparent", "proxy-v1", "proxy-v2", "xclient"] = Field(
        "none",
        description="how the backend learns who the client is: not at all, from the source address of the connection, "
        "by a PROXY header, or by XCLIENT; see [identity.md](identity.md)",
    )
    endpoint_ipv6: ClientEndpoint | None = Field(
        None,
        description="under `identity: transparent`, where clients of IPv6 are connected to if `endpoint` is of IPv4",
    )
    starttls: Literal["none", "opportunistic", "required"] = Field(
        "none",
        description="TLS towards the backend: if it offers STARTTLS, and nobody is verified; or always, with a "
        "certificate that is",
    )
    server_name: str = Field(
        "",
        pattern=r"^[A-Za-z0-9.:-]*$",
        description="the name that the backend's certificate must have; the host in `endpoint` if not set",
    )
    ca: FilePath | None = Field(
        None, description="a PEM file: who may have signed the backend's certificate; the system's own if not set"
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

    @property
    def endpoint(self) -> str:
        """The first, or the only one."""
        return self.endpoints[0]

    @property
    def addresses(self) -> list[str]:
        """All that is connected to."""
        return [*self.endpoints, *([self.endpoint_ipv6] if self.endpoint_ipv6 is not None else [])]

    @model_validator(mode="after")
    def _told_apart(self) -> Backend:
        for place, text in enumerate(self.endpoints):
            if text in self.endpoints[:place]:
                raise ValueError(f"endpoint: {text} is in the list twice: remove one of them")
        return self

    def certified_name(self, endpoint: str) -> str:
        """Return the name that the certificate of the server at one of the endpoints must have."""
        parsed = parse_client(endpoint)
        return self.server_name or (parsed.option("host", 0) if parsed.kind == "tcp" else None) or ""

    @model_validator(mode="after")
    def _verifiable(self) -> Backend:
        if self.starttls != "required" and (self.server_name or self.ca):
            raise ValueError("server_name and ca: only `starttls: required` verifies: set it, or remove them")
        for name in map(self.certified_name, self.endpoints):
            if self.starttls == "required" and not name:
                raise ValueError("starttls: a unix socket has no name that could be verified: set `server_name`")
            if self.starttls != "none" and name and not family_of(name) and not _HOST_NAME.fullmatch(name):
                raise ValueError(f"server_name: no certificate can have the name {name!r}: write it as mx.example.org")
        return self

    @model_validator(mode="after")
    def _transparent(self) -> Backend:
        if self.identity != "transparent":
            if self.endpoint_ipv6 is not None:
                raise ValueError("endpoint_ipv6 belongs to `identity: transparent`: remove it")
            return self
        if self.bind or any("bindAddress" in parse_client(text).options for text in self.endpoints):
            raise ValueError("bind: under `identity: transparent` the source address is the client's: remove it")
        if not all(map(_reached_over, self.endpoints)):
            raise ValueError(
                "identity: transparent needs the backend's address, as in endpoint: tcp:127.0.0.1:2525, no name and no "
                "unix socket"
            )
        if len(self.endpoints) > 1 and self.endpoint_ipv6 is not None:
            raise ValueError("endpoint_ipv6: it is for one `endpoint`, not for a list: remove it")
        if len(set(map(_reached_over, self.endpoints))) > 1:
            raise ValueError(
                "endpoint: under `identity: transparent` every client must come to all of them: list addresses of one "
                "family, all IPv4 or all IPv6"
            )
        if self.endpoint_ipv6 is not None and (len(self.families) != 2 or _reached_over(self.endpoint_ipv6) != 6):
            raise ValueError("endpoint_ipv6: it is for an `endpoint` of IPv4, and has an IPv6 address itself")
        return self

    @property
    def families(self) -> frozenset[int]:
        """Of the addresses that it is reached at; none where they are not known."""
        return frozenset(map(_reached_over, self.addresses)) - {0}

    @model_validator(mode="after")
    def _bindable(self) -> Backend:
        for endpoint in map(parse_client, self.endpoints):
            if endpoint.kind == "unix" and self.bind:
                raise ValueError("bind: a unix socket has no source address: remove it, or connect by tcp:")
            if self.bind and "bindAddress" in endpoint.options:
                raise ValueError("bind: the endpoint has a bindAddress already: remove one of them")
            host = endpoint.option("host", 0)
            family = family_of(host or "")
            for name, address in self.bind.items():
                if family and family_of(address) != family:
                    raise ValueError(f"bind: {name}: nothing gets from {address} to {host}: the families differ")
        return self
