"""The certificates that the guard shows, and the authorities that it trusts: from paths to values.

Contract: `load` returns `Certificates` whose contexts will work, with the warnings, or raises `Faulty`
with every fault of every file.  Files are read once: what was checked is what is shown, also if an ACME
client replaces them in the meantime.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen

from ..config.faults import Fault, Faulty
from .checks import UNREADABLE, Certificate, check, parse, reason
from .contexts import server_context
from .pem import blocks, read
from .places import Source, find, trouble


@frozen
class Certificates:
    """What clients are shown."""

    default: Certificate
    """For who asks for no name, or for one that is in none of them."""
    by_name: Mapping[str, Certificate]
    """By names of hosts in lower case, `*.example.org` among them."""
    warnings: tuple[Fault, ...] = ()

    def for_name(self, name: str) -> Certificate:
        """Return the certificate for a name, whatever it is made of."""
        asked = name.lower().removesuffix(".")
        return self.by_name.get(asked) or self.by_name.get(f"*.{asked.partition('.')[2]}") or self.default

    def context(self, client_ca: Path | None = None) -> ssl.SSLContext:
        """Return a context for a server: it shows the certificate that fits the name that a client asks for.

        Raises OSError and ssl.SSLError for a `client_ca` that `check_ca` has a fault for.
        """
        ca = read(client_ca) if client_ca is not None else None
        contexts: dict[Certificate, ssl.SSLContext] = {}

        def by_name(name: str) -> ssl.SSLContext:
            return contexts[self.for_name(name)]

        for certificate in {self.default, *self.by_name.values()}:
            # Trust is asked of the context that was chosen, so each of them has it.
            contexts[certificate] = server_context(
                certificate.chain,
                certificate.key,
                client_ca=ca,
                by_name=by_name if certificate is self.default else None,
            )
        return contexts[self.default]


def load(sources: Sequence[Source], passphrase: bytes | None = None, now: datetime | None = None) -> Certificates:
    """Read all certificates; raises Faulty.

    The default is the one called `default`, or else the first: of the sources in their order, and of the
    names of a directory in theirs.
    """
    at = now or datetime.now(UTC)
    places, faults = find(sources)
    read_from: dict[str, Certificate] = {}
    by_host: dict[str, Certificate] = {}
    for place in places:
        certificate, found = check(place, passphrase, at)
        faults += found
        if certificate is None:
            continue
        read_from.setdefault(place.name, certificate)
        for name in certificate.names:
            first = by_host.setdefault(name, certificate)
            if first is not certificate:
                text = f"{name} is in {first.file} too, and that one is shown"
                faults.append(Fault(certificate.file, 1, 1, text, warning=True))
    errors = sorted({fault for fault in faults if not fault.warning})
    if not errors and not read_from:
        errors = [Fault("certificates", 1, 1, "no certificate is named")]
    if errors:
        raise Faulty(errors)
    default = read_from.get("default") or next(iter(read_from.values()))
    return Certificates(default, by_host, tuple(sorted({fault for fault in faults if fault.warning})))


def check_ca(path: Path, now: datetime | None = None) -> list[Fault]:
    """Return the faults and warnings of a file with certificates that are to be trusted."""
    at = now or datetime.now(UTC)
    file = str(path)
    try:
        octets = read(path)
    except OSError as error:
        return [trouble(path, error)]
    faults: list[Fault] = []
    good = 0
    for block in (block for block in blocks(octets) if block.is_certificate):
        try:
            certificate = parse(block)
        except UNREADABLE as error:
            faults.append(Fault(file, block.line, 1, f"not readable as a certificate: {reason(error)}"))
            continue
        if certificate.not_valid_after_utc <= at:
            text = f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}: nothing that it vouches for is accepted"
            faults.append(Fault(file, block.line, 1, text, warning=True))
        elif certificate.not_valid_before_utc > at:
            text = f"not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: set the clock, or wait"
            faults.append(Fault(file, block.line, 1, text, warning=True))
        else:
            good += 1
    if not good:
        text = "no certificate in it that is good now" if faults else "no certificate in it: it must be PEM"
        faults.append(Fault(file, 1, 1, text))
    return faults
