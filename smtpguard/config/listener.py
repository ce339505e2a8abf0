"""Where the guard listens: the sections of the settings for one listener, its certificates, and whom it believes.

Contract: pydantic models; what is in the files that they name is looked at by smtpguard.tls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..smtp.terms import StartTls as Offer
from .endpoints import parse_server
from .fields import Cidr, FilePath, Listed, ServerEndpoint, flag
from .models import Section


def _certificate(value: object) -> object:
    return {"chain": value} if isinstance(value, str) else value


class Certificate(Section):
    """Where a certificate is."""

    chain: FilePath = Field(
        description="a PEM file, the server's certificate first, or a directory of them (as certbot makes it, or "
        "NAME.pem, or NAME.crt and NAME.key)"
    )
    key: FilePath | None = Field(None, description="a PEM file, if the key is not in `chain`")


class StartTls(Section):
    """TLS with clients."""

    certificates: Annotated[list[Annotated[Certificate, BeforeValidator(_certificate)]], Listed] = Field(
        [],
        description="directories, files, or mappings with `chain` and `key`; the client's SNI chooses, the first "
        "is for those without",
    )
    passphrase_file: FilePath | None = Field(None, description="a file whose first line opens the keys")
    client_ca: FilePath | None = Field(
        None,
        description="a PEM file: who signs certificates of clients. They are asked for, not demanded; a wrong one "
        "fails the handshake, and the names in a right one are what the rule condition `tls_name` looks at",
    )
    passthrough: Annotated[list[str], Listed] = Field(
        [],
        description="networks of the policy whose STARTTLS goes to the backend. **No rule holds behind it**; logged as "
        "uninspected",
    )

    @model_validator(mode="after")
    def _some_use(self) -> StartTls:
        if not self.certificates and not self.passthrough:
            raise ValueError("starttls: it needs `certificates`, or `passthrough`")
        if not self.certificates and (self.passphrase_file or self.client_ca):
            raise ValueError("starttls: passphrase_file and client_ca are of no use without `certificates`")
        return self


class Listener(Section):
    """One place to listen at."""

    endpoint: ServerEndpoint = Field(
        description="where to listen, as a Twisted endpoint string",
        json_schema_extra=flag("--listen"),
    )
    name: str = Field("", description="what the rule condition `listener` calls it; the endpoint string if not set")
    proxy_protocol: Literal["none", "required"] = Field(
        "none",
        description="whether every connection begins with a PROXY header (v1 or v2), which says who the client is",
    )
    trusted: Annotated[list[Cidr], Listed] = Field(
        [], description="CIDRs whose PROXY headers are believed; any other connection to this listener is dropped"
    )
    starttls: StartTls | None = Field(None, description="see its own table; without it STARTTLS is hidden and refused")
    tls: Literal["none", "implicit"] = Field(
        "none", description="`implicit`: TLS from the first octet, with the certificates of `starttls`, as on port 465"
    )

    @property
    def label(self) -> str:
        return self.name or self.endpoint

    def offers(self, networks: Iterable[str]) -> Offer:
        """Return what becomes of a STARTTLS of a client in these networks."""
        if self.starttls is None or self.tls == "implicit":
            return Offer.HIDDEN
        if not set(self.starttls.passthrough).isdisjoint(networks):
            return Offer.PASSED
        return Offer.OFFERED if self.starttls.certificates else Offer.HIDDEN

    @property
    def family(self) -> int:
        """Of the addresses that its clients have: 4, 6, or 0 if it cannot be told or they have none."""
        endpoint = parse_server(self.endpoint)
        return {"tcp": 4, "tcp6": 6, "INET": 4, "INET6": 6}.get(endpoint.options.get("domain", endpoint.kind), 0)

    @model_validator(mode="after")
    def _consistent(self) -> Listener:
        if self.proxy_protocol == "required" and not self.trusted:
            raise ValueError("trusted: say whose PROXY headers are believed, as in trusted: [192.0.2.1]")
        if self.trusted and self.proxy_protocol != "required":
            raise ValueError("trusted: it is about PROXY headers: set proxy_protocol: required, or remove it")
        if self.proxy_protocol == "required" and parse_server(self.endpoint).kind == "unix":
            raise ValueError("proxy_protocol: who connects to a unix socket has no address that could be trusted")
        if self.tls == "implicit" and (self.starttls is None or not self.starttls.certificates):
            raise ValueError("tls: implicit needs certificates: write starttls: {certificates: ...} beside it")
        if self.tls == "implicit" and self.starttls is not None and self.starttls.passthrough:
            raise ValueError("passthrough: there is no STARTTLS where TLS is implicit")
        return self
