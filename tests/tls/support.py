"""Certificates of an authority that exists for one test, and two ends of a connection without a socket.

The keys are EC keys, which are made in a millisecond, unless a test is about others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from smtpguard.tls.engine import TlsEngine

Split = Callable[[bytes], Sequence[bytes]]


@frozen
class Issued:
    """A certificate and its key."""

    chain_pem: bytes
    """The certificate, then those that vouch for it up to the authority, without the authority's own."""
    key_pem: bytes

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write NAME.crt and NAME.key, the key for its owner alone; returns both paths."""
        folder.mkdir(parents=True, exist_ok=True)
        chain, key = folder / f"{name}.crt", folder / f"{name}.key"
        chain.write_bytes(self.chain_pem)
        key.touch(0o600)
        key.write_bytes(self.key_pem)
        return chain, key


def key_pem(key: Any, passphrase: bytes | None = None) -> bytes:
    """Return a key as PEM, enciphered if there is a passphrase."""
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    octets: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    return octets


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """A certificate authority."""

    def __init__(self, name: str = "Test Authority", *, above: Authority | None = None, days: float = 3650) -> None:
        self._above = above
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        by, by_key = (above._subject, above._key) if above is not None else (self._subject, self._key)
        self.certificate = (
            _begin(self._subject, by, self._key.public_key(), days)
            .add_extension(basic, critical=True)
            .sign(by_key, hashes.SHA256())
        )

    @property
    def ca_pem(self) -> bytes:
        """The authority's own certificate: what whoever trusts it has as a CA file."""
        return pem(self.certificate)

    def write_ca(self, folder: Path, name: str = "ca") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.pem"
        path.write_bytes(self.ca_pem)
        return path

    def issue(
        self,
        names: Sequence[str] = ("mx.test",),
        *,
        client: bool = False,
        days: float = 30,
        expired: bool = False,
        common_name: str | None = None,
        mailboxes: Sequence[str] = (),
        usage: Sequence[x509.ObjectIdentifier] | None = None,
        key: Any = None,
        passphrase: bytes | None = None,
        self_signed: bool = False,
        begins: float = -1,
        general_names: Sequence[x509.GeneralName] = (),
        extensions: Sequence[x509.ExtensionType] = (),
    ) -> Issued:
        """Return a certificate for these names (addresses too), good for a server or for a client.

        `days` is how long it is good from now on, `expired` until a day ago, `begins` the days till it is.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        called = common_name if common_name is not None else (names[0] if names else "")
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)] if called else [])
        by, by_key = (subject, key) if self_signed else (self._subject, self._key)
        made = _begin(subject, by, key.public_key(), -1 if expired else days, min(begins, -2) if expired else begins)
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH]
        if usage is None or usage:
            made = made.add_extension(x509.ExtendedKeyUsage(usage or purposes), critical=False)
        also = [*map(_general, names), *map(x509.RFC822Name, mailboxes), *general_names]
        if also:
            made = made.add_extension(x509.SubjectAlternativeName(also), critical=False)
        for extension in extensions:
            made = made.add_extension(extension, critical=False)
        chain = pem(made.sign(by_key, hashes.SHA256()))
        authority: Authority | None = None if self_signed else self
        while authority is not None and authority._above is not None:
            chain += authority.ca_pem
            authority = authority._above
        return Issued(chain, key_pem(key, passphrase))


def _begin(subject: x509.Name, by: x509.Name, key: Any, days: float, begins: float = -1) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=by, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=days))
    )


def _general(name: str) -> x509.GeneralName:
    try:
        address: IPv4Address | IPv6Address = ip_address(name)
    except ValueError:
        return x509.DNSName(name)
    return x509.IPAddress(address)


def whole(octets: bytes) -> list[bytes]:
    return [octets] if octets else []


def each_octet(octets: bytes) -> list[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


class Pair:
    """Two engines and the octets between them."""

    def __init__(self, client: TlsEngine, server: TlsEngine, *, split: Split = whole) -> None:
        self.client, self.server = client, server
        self.to_client = bytearray()
        self.to_server = bytearray()
        self.client_got = bytearray()
        self.server_got = bytearray()
        self._split = split

    def shake_hands(self) -> None:
        """Begin, and go on until both have nothing more to say; raises TlsFault."""
        self.to_server += self.client.start()
        self.to_client += self.server.start()
        self.pump()

    def pump(self) -> None:
        """Carry octets until none are under way; raises TlsFault."""
        while self.to_client or self.to_server:
            for engine, way, back, got in (
                (self.server, self.to_server, self.to_client, self.server_got),
                (self.client, self.to_client, self.to_server, self.client_got),
            ):
                octets = bytes(way)
                way.clear()
                for segment in self._split(octets):
                    received = engine.receive(segment)
                    back += received.to_send
                    got += received.plain
