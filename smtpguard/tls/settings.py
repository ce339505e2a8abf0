"""What the settings say of TLS, made real: a context for each listener, and one for the backend.

Contract: `load` reads every file that the settings name and returns contexts that will work, or raises
`Faulty` with the faults of all of them; nothing is left to be found by the first client.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from attrs import frozen

from ..config.backend import Backend
from ..config.faults import Fault, Faulty
from ..config.listener import StartTls
from ..config.settings import Settings
from . import certificates
from .contexts import client_context
from .pem import read
from .places import trouble

PASSPHRASE_OCTETS: Final = 1024
"""OpenSSL takes no longer one (PEM_BUFSIZE)."""


@frozen
class LoadedTls:
    """What is shown to clients and to the backend."""

    listeners: tuple[ssl.SSLContext | None, ...]
    """In the order of the settings; None for a listener without certificates."""
    backend: ssl.SSLContext | None
    warnings: tuple[Fault, ...] = ()


def load(settings: Settings) -> LoadedTls:
    """Read everything; raises Faulty."""
    faults: list[Fault] = []
    made: dict[str, ssl.SSLContext | None] = {}  # the same files are read once
    for starttls in (listener.starttls for listener in settings.listen):
        if starttls is not None and starttls.certificates and _key(starttls) not in made:
            made[_key(starttls)] = _listener(starttls, faults)
    listeners = tuple(
        made.get(_key(listener.starttls)) if listener.starttls is not None else None for listener in settings.listen
    )
    backend = _backend(settings.backend, faults) if settings.backend.starttls != "none" else None
    errors = sorted({fault for fault in faults if not fault.warning})
    if errors:
        raise Faulty(errors)
    return LoadedTls(listeners, backend, tuple(sorted({fault for fault in faults if fault.warning})))


def _key(wanted: StartTls) -> str:
    """Tell apart listeners that show different certificates."""
    return wanted.model_dump_json(exclude={"passthrough"})


def _listener(wanted: StartTls, faults: list[Fault]) -> ssl.SSLContext | None:
    sources = [
        Path(certificate.chain) if certificate.key is None else (Path(certificate.chain), Path(certificate.key))
        for certificate in wanted.certificates
    ]
    passphrase = None
    if wanted.passphrase_file is not None:
        passphrase = _passphrase(Path(wanted.passphrase_file), faults)
        if passphrase is None:
            return None
    client_ca = Path(wanted.client_ca) if wanted.client_ca is not None else None
    found = certificates.check_ca(client_ca) if client_ca is not None else []
    faults += found
    try:
        loaded = certificates.load(sources, passphrase)
    except Faulty as error:
        faults += error.faults
        return None
    faults += loaded.warnings
    if any(not fault.warning for fault in found):
        return None
    return loaded.context(client_ca)


def _backend(wanted: Backend, faults: list[Fault]) -> ssl.SSLContext | None:
    ca = Path(wanted.ca) if wanted.ca is not None else None
    found = certificates.check_ca(ca) if ca is not None else []
    faults += found
    if any(not fault.warning for fault in found):
        return None
    return client_context(ca, verify=wanted.starttls == "required")


def _passphrase(path: Path, faults: list[Fault]) -> bytes | None:
    try:
        first = read(path).split(b"\n", 1)[0].rstrip(b"\r")
    except OSError as error:
        faults.append(trouble(path, error))
        return None
    if not 0 < len(first) <= PASSPHRASE_OCTETS:
        text = f"the first line is the passphrase: it must have 1 to {PASSPHRASE_OCTETS} octets"
        faults.append(Fault(str(path), 1, 1, text))
        return None
    return first
