"""A server's certificate as the standard library can be made to show it.

Contract: a certificate is looked at, never trusted.  `ssl` decodes one only after it was verified:
so the handshake is made twice, the second time with the certificate itself as the only authority.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, Final

from attrs import frozen

EXPIRY: Final = timedelta(days=14)
"""A certificate that ends sooner is told of: whoever renews by a machine does so before."""
_NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which `ssl` has no name for: one that has ended is shown too."""


@frozen
class Certificate:
    """What is of interest in one; names are as they stand there, so not yet printable."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    """Host names and addresses; the common name if it has none (RFC 6125 6.4.4)."""
    ends: datetime

    @property
    def is_self_signed(self) -> bool:
        return self.subject == self.issuer

    def is_for(self, host: str) -> bool:
        """True if it names `host`, itself or by a wildcard for its first label (RFC 6125 6.4.3)."""
        host = host.rstrip(".").lower()
        parent = host.partition(".")[2]
        return any(name.lower() in (host, f"*.{parent}" if parent else host) for name in self.names)

    def left(self, now: datetime) -> timedelta:
        return self.ends - now


def trusting_only(encoded: bytes) -> ssl.SSLContext:
    """Return a context for which this certificate (DER) is good, and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=encoded)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    return context


def decoded(shown: dict[str, Any]) -> Certificate:
    """Read what SSLSocket.getpeercert() returns; raises ValueError if there is nothing in it."""
    if "notAfter" not in shown:
        raise ValueError("no certificate")
    alternatives = tuple(
        _plain(value) for kind, value in shown.get("subjectAltName", ()) if kind in ("DNS", "IP Address")
    )
    subject = _name(shown.get("subject", ()))
    common = tuple(value for key, value in _pairs(shown.get("subject", ())) if key == "commonName")
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    return Certificate(subject, _name(shown.get("issuer", ())), alternatives or common, ends)


def _plain(name: str) -> str:
    try:
        return str(ip_address(name.strip()))
    except ValueError:
        return name


def _pairs(name: Any) -> list[tuple[str, str]]:
    return [(key, value) for part in name for key, value in part]


def _name(name: Any) -> str:
    return ", ".join(f"{key}={value}" for key, value in _pairs(name))
