"""What can be wrong with a chain and its key, found before anybody connects.

Contract: `check` reads one place and returns the certificate, if it can be shown, with every fault that
was found; an enciphered key never makes it ask anybody for a passphrase.
"""

from __future__ import annotations

import re
import ssl
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..config.faults import Fault
from .contexts import server_context
from .pem import Block, blocks, read_with_mode
from .places import Place, trouble

SOON: Final = timedelta(days=14)
"""ACME clients renew 30 days before the end; half of that is late."""
RSA_BITS: Final = 2048
"""OpenSSL shows no shorter key at the level that contexts.CIPHERS names."""
CHAIN_LENGTH: Final = 10
"""Certificates; real chains have 2 or 3, and a longer one is a bundle of authorities by mistake."""
WEAK_HASHES: Final = frozenset({"md5", "sha1"})

_HOST: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


@frozen(eq=False)
class Certificate:
    """A certificate that can be shown; each is itself alone."""

    file: str
    names: tuple[str, ...]
    """Of hosts, in lower case; `*.example.org` is any one label in front of example.org."""
    ends: datetime
    chain: bytes = field(repr=False)
    """PEM, the certificate itself first."""
    key: bytes = field(repr=False)
    """PEM, in clear."""


def check(place: Place, passphrase: bytes | None, now: datetime) -> tuple[Certificate | None, list[Fault]]:
    """Read a certificate and its key."""
    return _Check(place, now).run(passphrase)


def parse(block: Block) -> x509.Certificate:
    """Read one certificate, its extensions included; raises ValueError and the like for what is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it finds odd, it says on stderr
        certificate = x509.load_pem_x509_certificate(block.octets)
        _ = certificate.extensions  # they are read when asked for
    return certificate


UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.UnsupportedGeneralNameType,
    x509.DuplicateExtension,
)
"""What cryptography raises for what it cannot read."""


class _Check:
    def __init__(self, place: Place, now: datetime) -> None:
        self._place = place
        self._now = now
        self._faults: list[Fault] = []

    def _fault(self, path: Path, line: int, text: str, *, warning: bool = False) -> None:
        self._faults.append(Fault(str(path), line, 1, text, warning))

    def run(self, passphrase: bytes | None) -> tuple[Certificate | None, list[Fault]]:
        chain_path, key_path = self._place.chain, self._place.key or self._place.chain
        octets = self._read(chain_path, secret=self._place.key is None)
        key_octets = octets if self._place.key is None else self._read(key_path, secret=True)
        chain = self._chain(octets) if octets is not None else []
        key = self._key(key_path, key_octets, passphrase) if key_octets is not None else None
        certificate = None
        if chain and key is not None and self._belongs(chain, key) and all(fault.warning for fault in self._faults):
            certificate = self._show(chain, key)
        return certificate, self._faults

    def _read(self, path: Path, *, secret: bool) -> bytes | None:
        try:
            octets, mode = read_with_mode(path)
        except OSError as error:
            self._faults.append(trouble(path, error))
            return None
        if secret and mode & 0o007 and any(block.is_key for block in blocks(octets)):
            self._fault(path, 1, f"everybody on this host may read the key: chmod o= {path.name}", warning=True)
        return octets

    # -- the chain ---------------------------------------------------------------------------------

    def _chain(self, octets: bytes) -> list[tuple[int, x509.Certificate]]:
        path = self._place.chain
        found = [block for block in blocks(octets) if block.is_certificate]
        if not found:
            self._fault(path, 1, "no certificate in it: it must be PEM, with -----BEGIN CERTIFICATE-----")
        elif len(found) > CHAIN_LENGTH:
            self._fault(path, 1, f"{len(found)} certificates: this is no chain; at most {CHAIN_LENGTH} are sent")
            return []
        chain: list[tuple[int, x509.Certificate]] = []
        for block in found:
            try:
                chain.append((block.line, parse(block)))
            except UNREADABLE as error:
                self._fault(path, block.line, f"not readable as a certificate: {reason(error)}")
                return []
        for place, (line, certificate) in enumerate(chain):
            self._times(line, certificate, leaf=place == 0)
            if place:
                self._follows(chain[place - 1][1], line, certificate)
            self._strength(line, certificate)
        if chain:
            self._purpose(*chain[0])
        return chain

    def _times(self, line: int, certificate: x509.Certificate, *, leaf: bool) -> None:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        which = "" if leaf else "this certificate of the chain "
        if ends <= self._now:
            text = f"{which}expired on {ends:%Y-%m-%d}: renew it"
            self._fault(self._place.chain, line, text, warning=not leaf)
        elif begins > self._now:
            text = f"{which}not valid before {begins:%Y-%m-%d %H:%M} UTC: wait, or set the clock"
            self._fault(self._place.chain, line, text, warning=not leaf)
        elif ends - self._now < SOON:
            self._fault(self._place.chain, line, f"{which}expires on {ends:%Y-%m-%d}: renew it", warning=True)

    def _follows(self, before: x509.Certificate, line: int, certificate: x509.Certificate) -> None:
        if before.issuer != certificate.subject:
            text = (
                "this certificate did not issue the one in front of it: the order is the server's own, then its issuer"
            )
            self._fault(self._place.chain, line, text, warning=True)

    def _strength(self, line: int, certificate: x509.Certificate) -> None:
        try:
            key = certificate.public_key()
            used = certificate.signature_hash_algorithm
        except UNREADABLE as error:
            self._fault(self._place.chain, line, f"its key or signature is of no kind that is known: {reason(error)}")
            return
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS:
            text = f"an RSA key of {key.key_size} bits is too weak to be used: make one of {RSA_BITS}"
            self._fault(self._place.chain, line, text)
        own = certificate.issuer == certificate.subject  # nobody relies on that signature
        if used is not None and used.name in WEAK_HASHES and not own:
            self._fault(self._place.chain, line, f"signed with {used.name}, which can be forged: have it issued anew")

    def _purpose(self, line: int, leaf: x509.Certificate) -> None:
        try:
            usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            usage = None
        if usage is not None and ExtendedKeyUsageOID.SERVER_AUTH not in usage:
            text = "not for servers: its extended key usage lacks serverAuth, and clients would refuse it"
            self._fault(self._place.chain, line, text)
        if not host_names(leaf):
            text = "no host name in it: clients that verify it will not find the one they asked for"
            self._fault(self._place.chain, line, text, warning=True)

    # -- the key -----------------------------------------------------------------------------------

    def _key(self, path: Path, octets: bytes, passphrase: bytes | None) -> Any:
        found = [block for block in blocks(octets) if block.is_key]
        if not found:
            self._fault(path, 1, f"no private key in it: {self._place.hint}")
            return None
        if len(found) > 1:
            self._fault(path, found[1].line, "a second private key: leave one of them")
            return None
        block = found[0]
        if block.is_enciphered and passphrase is None:
            self._fault(path, block.line, "the key is enciphered: give its passphrase, or store it in clear")
            return None
        try:
            return serialization.load_pem_private_key(block.octets, passphrase if block.is_enciphered else None)
        except UNREADABLE as error:
            text = "the passphrase does not open the key" if block.is_enciphered else f"not a key: {reason(error)}"
            self._fault(path, block.line, text)
            return None

    def _belongs(self, chain: list[tuple[int, x509.Certificate]], key: Any) -> bool:
        own = _public(key)
        owners = [line for line, certificate in chain if _public(certificate) == own]
        if not owners:
            path = self._place.key or self._place.chain
            self._fault(path, 1, f"the key does not belong to the certificate in {self._place.chain.name}")
        elif owners[0] != chain[0][0]:
            text = f"the key belongs to the certificate of line {owners[0]}: put that one first, then its issuer"
            self._fault(self._place.chain, chain[0][0], text)
        return bool(owners) and owners[0] == chain[0][0]

    def _show(self, chain: list[tuple[int, x509.Certificate]], key: Any) -> Certificate | None:
        pem = serialization.Encoding.PEM
        chain_octets = b"".join(certificate.public_bytes(pem) for _, certificate in chain)
        clear = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        try:
            server_context(chain_octets, clear)
        except ssl.SSLError as error:
            text = f"OpenSSL does not use it: {(error.reason or 'no reason given').replace('_', ' ').lower()}"
            self._fault(self._place.chain, chain[0][0], text)
            return None
        leaf = chain[0][1]
        return Certificate(str(self._place.chain), host_names(leaf), leaf.not_valid_after_utc, chain_octets, clear)


def host_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names of hosts that a certificate has, in lower case: of its SAN or else its common name."""
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = san.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    if not names:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names = [str(attribute.value) for attribute in common[-1:]]
    lower = (name.lower() for name in names)
    return tuple(dict.fromkeys(name for name in lower if _HOST.fullmatch(name)))


def reason(error: Exception) -> str:
    """Return the first line of an error, if it is short enough to be one."""
    text = str(error).split("\n")[0]
    return text if 0 < len(text) < 120 else type(error).__name__


def _public(holder: Any) -> bytes | None:
    """Return the public key of a certificate or of a private key; None if it is of no kind that is known."""
    try:
        octets: bytes = holder.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except UNREADABLE:
        return None
    return octets
