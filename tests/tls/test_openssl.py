"""The openssl command as the other end, over a real connection.

It is the same library, but none of our code: what it reports is what a peer sees.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from attrs import define

from smtpguard.tls.contexts import client_context
from smtpguard.tls.engine import PeerCertificate, TlsEngine, TlsFault
from tests.rig.sendmail import free_port
from tests.rig.wait import wait_until

from .ends import ASKING, AUTHORITY, SERVER
from .support import Authority

SECONDS = 20


@define
class Told:
    """What our end saw, and what the command printed."""

    plain: bytes = b""
    fault: str = ""
    version: str = ""
    peer: PeerCertificate | None = None
    printed: str = ""


def pump(connection: socket.socket, engine: TlsEngine, told: Told) -> None:
    """Carry octets between a socket and an engine until one of them ends; echo lines in the other letter case."""
    with closing(connection):
        connection.settimeout(SECONDS)
        connection.sendall(engine.start())
        try:
            while octets := connection.recv(65536):
                got = engine.receive(octets)
                connection.sendall(got.to_send)
                if got.established:
                    told.version, told.peer = engine.version, engine.peer
                if got.plain:
                    told.plain += got.plain
                    connection.sendall(engine.send(got.plain.swapcase()))
                if got.finished:
                    connection.sendall(engine.close())
                    return
        except TlsFault as fault:
            told.fault = fault.what
            connection.sendall(fault.to_send)


def s_client(folder: Path, *options: str, say: Sequence[tuple[bytes, str]], context: ssl.SSLContext = SERVER) -> Told:
    """Connect with `openssl s_client`; say each line, and go on when the command has printed what stands beside it."""
    told = Told()
    printed = folder / "printed"

    def serve() -> None:
        connection, _ = listening.accept()
        pump(connection, TlsEngine(context, server=True), told)

    with closing(socket.create_server(("127.0.0.1", 0))) as listening, printed.open("wb") as output:
        listening.settimeout(SECONDS)
        serving = threading.Thread(target=serve)
        serving.start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        command = ["openssl", "s_client", "-connect", address, *options]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output, bufsize=0) as ran:
            assert ran.stdin is not None
            for line, marker in say:
                ran.stdin.write(line)

                def is_printed(marker: bytes = marker.encode()) -> bool:
                    return marker in printed.read_bytes() or ran.poll() is not None

                wait_until(is_printed, marker, SECONDS)
            ran.stdin.close()
            ran.wait(SECONDS)
        serving.join(SECONDS)
        assert not serving.is_alive()
    told.printed = printed.read_text("latin-1")
    return told


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_it_talks(tmp_path: Path, version: str) -> None:
    """Both ends report the same, the certificate is verified, and nothing is compressed."""
    ca = str(AUTHORITY.write_ca(tmp_path))
    option = "-" + version.lower().replace(".", "_").replace("v", "")
    verify = ("-CAfile", ca, "-verify_return_error", "-verify_hostname", "mx.test", "-servername", "mx.test")
    told = s_client(tmp_path, option, *verify, say=[(b"hello\n", "HELLO")])
    assert (told.plain, told.fault, told.version) == (b"hello\n", "", version)
    assert f"New, {version}, Cipher is " in told.printed
    assert "Verify return code: 0 (ok)" in told.printed
    assert "Compression: NONE" in told.printed


def test_a_renegotiation_is_refused(tmp_path: Path) -> None:
    """OpenSSL's command takes that for an end."""
    told = s_client(tmp_path, "-tls1_2", say=[(b"hello\n", "HELLO"), (b"R\n", "no renegotiation")])
    assert told.plain == b"hello\n"
    assert told.fault == "sslv3 alert handshake failure"


@pytest.mark.parametrize("letter", [b"k", b"K"])
def test_keys_are_updated(tmp_path: Path, letter: bytes) -> None:
    """In one direction, and in both (RFC 8446 4.6.3): the talk goes on under new keys."""
    say = [(b"hello\n", "HELLO"), (letter + b"\n", "KEYUPDATE"), (b"again\n", "AGAIN"), (b"and more\n", "AND MORE")]
    told = s_client(tmp_path, "-tls1_3", say=say)
    assert (told.plain, told.fault) == (b"hello\nagain\nand more\n", "")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("-tls1", "-cipher", "ALL:@SECLEVEL=0"), "unsupported protocol"),
        (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "unsupported protocol"),
        (("-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"), "no shared cipher"),
        (("-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"), "no shared cipher"),
        (("-tls1_2", "-cipher", "kRSA:@SECLEVEL=0"), "no shared cipher"),
        (("-tls1_2", "-cipher", "SHA1:@SECLEVEL=0"), "no shared cipher"),
        (("-tls1_2", "-cipher", "kDHE:@SECLEVEL=0"), "no shared cipher"),
    ],
)
def test_what_is_weak_is_refused(tmp_path: Path, options: tuple[str, ...], fault: str) -> None:
    """With an alert, before a line was said."""
    told = s_client(tmp_path, *options, say=[])
    assert (told.plain, told.fault, told.version) == (b"", fault, "")
    assert "SSL alert number" in told.printed


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_may_show_a_certificate(tmp_path: Path, version: str) -> None:
    """It is asked for, without a list of whom is trusted."""
    chain, key = AUTHORITY.issue(("client.test",), client=True).write(tmp_path, "client")
    shows = ("-cert", str(chain), "-key", str(key))
    told = s_client(tmp_path, version, *shows, say=[(b"hello\n", "HELLO")], context=ASKING)
    assert told.peer == PeerCertificate(("client.test",))
    assert "No client certificate CA names sent" in told.printed
    told = s_client(tmp_path, version, say=[(b"hello\n", "HELLO")], context=ASKING)
    assert (told.plain, told.peer) == (b"hello\n", None)
    chain, key = Authority("Other").issue(("client.test",), client=True).write(tmp_path, "client")
    told = s_client(tmp_path, version, *shows, say=[], context=ASKING)
    assert (told.plain, told.peer) == (b"", None)
    assert told.fault.startswith("certificate not accepted: ")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_it_talks_to_a_server(tmp_path: Path, version: str) -> None:
    """As a client that verifies it."""
    chain, key = AUTHORITY.issue(("mx.test",)).write(tmp_path, "mx")
    engine = TlsEngine(client_context(AUTHORITY.write_ca(tmp_path), True), server=False, name="mx.test")
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(chain), "-key", str(key)]
    command += [version, "-rev", "-naccept", "1", "-quiet"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as ran:

        def connected() -> socket.socket | None:
            try:
                return socket.create_connection(("127.0.0.1", port), SECONDS)
            except ConnectionRefusedError:
                return None

        plain = b""
        with wait_until(connected, "s_server", SECONDS) as connection:
            connection.sendall(engine.start())
            while not plain.endswith(b"\n"):
                got = engine.receive(connection.recv(65536))
                connection.sendall(got.to_send)
                if got.established:
                    connection.sendall(engine.send(b"hello\n"))
                plain += got.plain
            connection.sendall(engine.close())
        ran.communicate(timeout=SECONDS)
    assert plain == b"olleh\n"
    assert engine.peer == PeerCertificate(("mx.test",))
