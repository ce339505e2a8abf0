"""Certificates in files, as people and ACME clients lay them out, and what is said of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smtpguard.config.faults import Fault, Faulty
from smtpguard.tls.certificates import load
from smtpguard.tls.places import Source

from .support import Issued


def faults_of(*sources: Source, passphrase: bytes | None = None) -> list[Fault]:
    with pytest.raises(Faulty) as caught:
        load(sources, passphrase)
    assert not any(fault.warning for fault in caught.value.faults)
    return list(caught.value.faults)


def fault_of(*sources: Source, passphrase: bytes | None = None) -> Fault:
    (fault,) = faults_of(*sources, passphrase=passphrase)
    return fault


def warning_of(*sources: Source) -> Fault:
    (warning,) = load(sources).warnings
    assert warning.warning
    return warning


def both_in_one(folder: Path, name: str, issued: Issued) -> Path:
    """Write NAME.pem with chain and key."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pem"
    path.touch(0o600)
    path.write_bytes(issued.chain_pem + issued.key_pem)
    return path


def as_certbot(folder: Path, name: str, issued: Issued) -> Path:
    """Lay a certificate out as certbot does: live/NAME with links into archive/NAME."""
    archive, live = folder / "archive" / name, folder / "live" / name
    archive.mkdir(parents=True)
    live.mkdir(parents=True)
    for kind, octets in (("fullchain", issued.chain_pem), ("privkey", issued.key_pem), ("cert", b""), ("chain", b"")):
        (archive / f"{kind}1.pem").touch(0o600)
        (archive / f"{kind}1.pem").write_bytes(octets)
        (live / f"{kind}.pem").symlink_to(f"../../archive/{name}/{kind}1.pem")
    (folder / "live" / "README").write_text("not a certificate")
    return live


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be somebody else where root may read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
