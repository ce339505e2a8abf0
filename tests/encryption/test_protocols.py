"""What is spoken, asked as a scanner asks: old versions, weak ciphers, renegotiation, compression, tickets.

Each question that the guard must answer with no is put to a server that allows everything, too: there it must be
answered with yes, or it was not asked.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.sendmail import free_port, listening_ports
from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard

from .scripted import ScriptedBackend, obliging
from .support import MX, POLICY, Certified, listener, listening, s_client

AEAD = (
    "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
)  # fmt: skip
TLS13 = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")
WAYS = pytest.mark.parametrize("way", ["implicit", "starttls"])
OLD = {"starttls": ("-starttls", "smtp"), "implicit": ()}


@pytest.fixture(scope="module")
def folder(certified: Certified, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates for MX: keys of both kinds, so that a cipher is not refused for want of one."""
    folder = tmp_path_factory.mktemp("protocols")
    certified.authority.issue((MX,)).write(folder, "ec")
    key = rsa.generate_private_key(65537, 2048)
    certified.authority.issue((MX,), key=key).write(folder, "rsa")
    return folder


@pytest.fixture(scope="module", params=["ec", "rsa"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def guard(folder: Path, kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """Ports: implicit, STARTTLS."""
    starttls = {"certificates": {"chain": str(folder / f"{kind}.crt"), "key": str(folder / f"{kind}.key")}}
    settings = listening(listener("implicit", starttls=starttls, tls="implicit"), listener("mx", starttls=starttls))
    with (
        ScriptedBackend(obliging) as backend,
        ConfiguredGuard(tmp_path_factory.mktemp(kind), backend.address, POLICY, **settings) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def lax(folder: Path, kind: str) -> Iterator[int]:
    """The port of a server that allows all that the library knows."""
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-quiet", "-cipher", EVERYTHING]
    command += ["-cert", str(folder / f"{kind}.crt"), "-key", str(folder / f"{kind}.key"), "-client_renegotiation"]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_until(lambda: port in listening_ports(), "s_server to listen")
        yield port
    finally:
        server.kill()
        server.communicate()


EVERYTHING = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


def negotiated(port: int, *options: str, way: str = "implicit") -> str:
    """Return version and cipher, or nothing if there was no agreement."""
    # An end of input ends it: a server that is none of ours does not hang up at a QUIT.
    seen = s_client(port, *options, said="QUIT\r\n", way=OLD[way], waits=False)
    found = re.search(r"^New, (\S+), Cipher is (\S+)$", seen, re.MULTILINE)
    assert found is not None, seen
    if found[2] == "(NONE)":
        return ""
    protocol = re.search(r"^ +Protocol +: (\S+)$", seen, re.MULTILINE)
    return f"{protocol[1] if protocol else found[1]} {found[2]}"


# -- what is spoken ------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("cipher", TLS13)
def test_every_cipher_of_tls_1_3_is_spoken(guard: Guard, way: str, cipher: str) -> None:
    port = guard.ports[way == "starttls"]
    assert negotiated(port, "-tls1_3", "-ciphersuites", cipher, way=way) == f"TLSv1.3 {cipher}"


@WAYS
def test_ephemeral_keys_and_aead_are_spoken_in_tls_1_2(guard: Guard, kind: str, way: str) -> None:
    """Those for the key that there is."""
    port = guard.ports[way == "starttls"]
    spoken = [one for one in AEAD if negotiated(port, "-tls1_2", "-cipher", one, way=way) == f"TLSv1.2 {one}"]
    assert spoken == [one for one in AEAD if {"ec": "ECDSA", "rsa": "RSA"}[kind] in one]


# -- what is not ---------------------------------------------------------------------------------

NOT_SPOKEN = {
    "TLS 1.0": ("-tls1", "-cipher", EVERYTHING),
    "TLS 1.1": ("-tls1_1", "-cipher", EVERYTHING),
    "any other": (
        "-tls1_2",
        "-cipher",
        ":".join(["ALL", "COMPLEMENTOFALL", *(f"!{one}" for one in AEAD), "@SECLEVEL=0"]),
    ),
    "anonymous": ("-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"),
    "in clear": ("-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"),
    "CBC": ("-tls1_2", "-cipher", "ECDHE:DHE:!AESGCM:!CHACHA20:!AESCCM:!ARIAGCM:!aNULL:!eNULL:@SECLEVEL=0"),
    "CCM": ("-tls1_2", "-cipher", "AESCCM:@SECLEVEL=0"),
    "SHA-1": ("-tls1_2", "-cipher", EVERYTHING, "-sigalgs", "ECDSA+SHA1:RSA+SHA1"),
}
FOR_RSA = {
    "static RSA": ("-tls1_2", "-cipher", "kRSA:@SECLEVEL=0"),
    "finite fields": ("-tls1_2", "-cipher", "kDHE:!aNULL:@SECLEVEL=0"),
}


@WAYS
@pytest.mark.parametrize("what", NOT_SPOKEN)
def test_it_is_not_spoken(guard: Guard, lax: int, way: str, what: str) -> None:
    """`any other` offers every cipher that the library knows but those above."""
    assert negotiated(lax, *NOT_SPOKEN[what])
    assert not negotiated(guard.ports[way == "starttls"], *NOT_SPOKEN[what], way=way)


@pytest.mark.parametrize("what", FOR_RSA)
def test_keys_are_exchanged_over_curves_only(guard: Guard, lax: int, kind: str, what: str) -> None:
    """A certificate with an RSA key could do otherwise."""
    assert bool(negotiated(lax, *FOR_RSA[what])) is (kind == "rsa")
    assert not negotiated(guard.ports[0], *FOR_RSA[what])


@pytest.mark.parametrize("version", [b"\x03\x00", b"\x02\x00"])
def test_ssl_is_not_spoken(guard: Guard, version: bytes) -> None:
    """The library here cannot even ask for it, so the hello is made by hand: two ciphers, no extensions."""
    body = version + bytes(32) + b"\0" + b"\0\4\0\x2f\0\x0a" + b"\1\0"
    hello = b"\x16\x03\x00" + (len(body) + 4).to_bytes(2, "big") + b"\1" + len(body).to_bytes(3, "big") + body
    with Talk("127.0.0.1", guard.ports[0], greet=False) as client:
        client.send(hello)
        heard = client.rest()
    assert re.fullmatch(rb"\x15[\x02\x03][\x00-\x03]\x00\x02\x02.", heard, re.DOTALL), heard  # a fatal alert


def test_what_is_lost_is_not_negotiated_at_all(guard: Guard) -> None:
    """A client that fell back although both sides know better is told (RFC 7507)."""
    assert not negotiated(guard.ports[0], "-tls1_2", "-fallback_scsv")
    assert negotiated(guard.ports[0], "-tls1_2")


# -- and what is spoken goes on so ---------------------------------------------------------------


def test_nothing_is_renegotiated(guard: Guard, lax: int) -> None:
    """`R` makes openssl ask for it; it is told no (or the banner, where it waits for a hello), and goes away."""
    for port, refused in ((lax, False), (guard.ports[0], True)):
        seen = s_client(port, "-tls1_2", said="R\n", way=(), waits=False, commands=True)
        assert "RENEGOTIATING" in seen
        assert bool(re.search("no renegotiation|unexpected record", seen)) is refused


def test_nothing_is_compressed_and_no_ticket_is_given(guard: Guard) -> None:
    """CRIME, and tickets whose key would open every session."""
    for version in ("-tls1_2", "-tls1_3"):
        seen = s_client(guard.ports[0], version, "-comp", way=(), said="QUIT\r\n")
        assert "Compression: NONE" in seen
        assert "session ticket:" not in seen.lower()
        assert "Early data was not sent" in seen or version == "-tls1_2"
        assert "Secure Renegotiation IS" in seen
