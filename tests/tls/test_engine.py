"""Connections over octets: what goes through, however it is split."""

from __future__ import annotations

import secrets
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.tls.engine import (
    Received,
)

from .ends import VERSIONS, pair, splits
from .support import Split, each_octet, whole

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("split", [whole, each_octet])
def test_two_ends_shake_hands_and_talk_however_it_is_split(version: ssl.TLSVersion, split: Split) -> None:
    """Both ends know what was agreed on."""
    both = pair(version, split=split)
    both.shake_hands()
    assert both.client.established
    assert both.server.established
    assert both.client.version == both.server.version == version.name.replace("_", ".")
    assert both.client.cipher == both.server.cipher
    assert "GCM" in both.server.cipher
    assert both.server.bits in (128, 256)
    both.to_server += both.client.send(b"EHLO x\r\n")
    both.to_client += both.server.send(b"250 mx\r\n")
    both.pump()
    assert (bytes(both.server_got), bytes(both.client_got)) == (b"EHLO x\r\n", b"250 mx\r\n")


@given(
    version=st.sampled_from(VERSIONS),
    split=splits(),
    lines=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=8),
)
def test_the_same_text_comes_out_wherever_it_is_split(
    version: ssl.TLSVersion, split: Split, lines: list[bytes]
) -> None:
    """Records need not come whole."""
    both = pair(version, split=split)
    both.shake_hands()
    for line in lines:
        both.to_server += both.client.send(line)
        both.to_client += both.server.send(line[::-1])
    both.to_server += both.client.close()
    both.pump()
    assert both.server_got == b"".join(lines)
    assert both.client_got == b"".join(line[::-1] for line in lines)


def test_until_it_is_established_nothing_is_known_and_nothing_may_be_sent() -> None:
    """The same holds for both ends."""
    both = pair()
    for engine in (both.client, both.server):
        assert (engine.established, engine.version, engine.cipher, engine.bits, engine.peer) == (False, "", "", 0, None)
        with pytest.raises(ValueError):
            engine.send(b"x")
        assert engine.close() == b""
    assert both.server.start() == b""
    both.shake_hands()
    assert both.server.established


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_what_stands_behind_the_last_flight_in_the_same_octets_is_read(version: ssl.TLSVersion) -> None:
    """A client need not wait, and one that sends 100 KiB at once is no flood of a handshake."""
    both = pair(version)
    text = b"x" * 100_000
    last = both.client.receive(both.server.receive(both.client.start()).to_send)
    sender, receiver = both.client, both.server
    if version == ssl.TLSVersion.TLSv1_2:  # there the server has the last word
        last = both.server.receive(last.to_send)
        sender, receiver = receiver, sender
    assert last.established
    got = receiver.receive(last.to_send + sender.send(text) + sender.close())
    assert got == Received(text, b"", established=True, finished=True)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_megabyte_goes_both_ways(version: ssl.TLSVersion) -> None:
    """It comes out whole; and no call gives more plain text than it got octets."""
    both = pair(version)
    both.shake_hands()
    text = secrets.token_bytes(1 << 20)
    ways = ((both.client, both.server), (both.server, both.client))
    for sender, receiver in ways:
        ciphertext = sender.send(memoryview(text))
        assert len(ciphertext) < len(text) * 1.01
        out, at = b"", 0
        while at < len(ciphertext):
            got = receiver.receive(ciphertext[at : at + 65536])
            at += 65536
            out += got.plain
            assert len(out) <= at
        assert out == text


def test_each_end_says_goodbye_for_itself() -> None:
    """The other may go on; what comes behind a close_notify does not count (RFC 8446 6.1)."""
    both = pair()
    both.shake_hands()
    goodbye = both.client.close()
    assert goodbye
    assert both.client.close() == b""
    with pytest.raises(ValueError):
        both.client.send(b"x")
    assert both.server.receive(goodbye) == Received(finished=True)
    assert both.server.receive(b"garbage") == Received()
    halves = both.server.send(b"still here")
    assert both.client.receive(halves[:7]) == Received()
    assert both.client.receive(halves[7:]).plain == b"still here"
    assert both.client.receive(both.server.close()) == Received(finished=True)
    assert both.server.close() == b""


def test_nothing_to_send_is_no_record() -> None:
    """Empty records help only who counts them."""
    both = pair()
    both.shake_hands()
    assert both.server.send(b"") == b""


def test_it_works_where_no_memory_may_be_made_executable(tmp_path: Path) -> None:
    """As the unit has it; a callback made by libffi, which asks for such memory, fails there."""
    code = """
import ctypes, sys
sys.path.insert(0, ".")
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
assert libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0, ctypes.get_errno()
import mmap
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    print("refused")
from pathlib import Path
from tests.tls.support import Authority, Pair
from smtpguard.tls.certificates import load
from smtpguard.tls.contexts import client_context
from smtpguard.tls.engine import TlsEngine
folder = Path(sys.argv[1])
authority = Authority()
authority.issue(("mx.test",)).write(folder, "mx")
authority.issue(("other.test",)).write(folder, "other")
ca = authority.write_ca(folder.parent)
both = Pair(
    TlsEngine(client_context(ca, True), server=False, name="other.test"),
    TlsEngine(load([folder]).context(ca), server=True),
)
both.shake_hands()
print(both.server.version, both.client.peer)
"""

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "tls")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "refused\nTLSv1.3 PeerCertificate(names=('other.test',))\n"
