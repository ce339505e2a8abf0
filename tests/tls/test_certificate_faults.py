"""What can be wrong with certificates and keys: every fault is found before anybody connects."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.config.faults import Fault, Faulty
from smtpguard.tls import pem, places
from smtpguard.tls.certificates import check_ca, load
from smtpguard.tls.checks import CHAIN_LENGTH

from .ends import AUTHORITY, meet, trusting
from .files import as_certbot, as_nobody, both_in_one, fault_of, faults_of, warning_of
from .support import Authority, Issued, key_pem

ROOT = Path(__file__).parents[2]
FRAGMENTS = [
    *(b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n", b"MIIB\n", b"\xff\n", b"-----BEGIN x-----\r\n"),
    *(b"-----BEGIN EC PRIVATE KEY-----\n", b"-----END EC PRIVATE KEY-----\n", b"Proc-Type: 4,ENCRYPTED\n"),
    *(AUTHORITY.ca_pem, key_pem(ec.generate_private_key(ec.SECP256R1()))),
]


def test_what_is_missing_or_not_readable_is_named(tmp_path: Path) -> None:
    """With what to do."""
    chain, key = AUTHORITY.issue().write(tmp_path / "there", "mx")
    assert fault_of(tmp_path / "none.pem") == Fault(str(tmp_path / "none.pem"), 1, 1, "no such file")
    assert fault_of((chain, tmp_path / "none.key")).file == str(tmp_path / "none.key")
    (tmp_path / "dangling.pem").symlink_to("nowhere")
    assert "that this link leads to is missing" in fault_of((tmp_path / "dangling.pem", key)).text
    (tmp_path / "loop.pem").symlink_to("loop.pem")
    assert "symbolic links" in fault_of(tmp_path / "loop.pem").text
    assert "is a directory" in fault_of((tmp_path, key)).text
    key.chmod(0)
    with as_nobody():
        # The whole path to it is closed to others, and that is said of the file.
        fault = fault_of((chain, key)) if os.access(chain, os.R_OK, effective_ids=True) else faults_of((chain, key))[-1]
    assert (fault.file, fault.text[:17]) == (str(key), "permission denied")


def test_a_directory_of_certbot_s_that_may_not_be_entered_is_a_fault(tmp_path: Path) -> None:
    """`live` itself is often readable, and what is in it is not."""
    as_certbot(tmp_path, "a.test", AUTHORITY.issue())
    folder = os.open(tmp_path / "live", os.O_RDONLY | os.O_DIRECTORY)
    (tmp_path / "live").chmod(0o755)
    (tmp_path / "live" / "a.test").chmod(0o700)
    with as_nobody():
        fault = fault_of(Path(f"/proc/self/fd/{folder}"))
    os.close(folder)
    assert fault.file.endswith("/a.test/fullchain.pem")
    assert fault.text.startswith("permission denied")


def test_a_directory_without_a_certificate_is_a_fault(tmp_path: Path) -> None:
    """Empty, or with something else in it, or with half of one."""
    assert "the directory is empty" in fault_of(tmp_path).text
    (tmp_path / "README").write_text("hello")
    assert "no certificate in it" in fault_of(tmp_path).text
    (tmp_path / "mx").mkdir()
    (tmp_path / "mx" / "fullchain.pem").write_text("")
    assert "privkey.pem is not" in fault_of(tmp_path).text
    AUTHORITY.issue().write(tmp_path / "keys", "mx")[0].unlink()
    AUTHORITY.issue().write(tmp_path / "keys", "other")
    assert warning_of(tmp_path / "keys").text == "a key without its certificate: put mx.crt beside it"


def test_a_directory_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may name /usr/share."""
    monkeypatch.setattr(places, "ENTRIES", 3)
    for name in "abcd":
        (tmp_path / name).touch()
    assert "more than 3 files" in fault_of(tmp_path).text


def test_a_file_has_a_bound_and_must_be_a_file(tmp_path: Path) -> None:
    """A FIFO would wait for its writer, a device would never end."""
    os.mkfifo(tmp_path / "fifo.pem")
    assert "is no regular file" in fault_of(tmp_path / "fifo.pem").text
    assert "is no regular file" in fault_of(Path("/dev/zero")).text
    large = tmp_path / "large.pem"
    large.write_bytes(b"x" * pem.FILE_OCTETS)
    assert "no certificate in it" in faults_of(large)[0].text
    large.write_bytes(b"x" * (pem.FILE_OCTETS + 1))
    assert "has more than 1048576 octets" in fault_of(large).text


def test_chain_and_key_must_be_there_and_belong_together(tmp_path: Path) -> None:
    """Each with the line where one can be told."""
    issued, other = AUTHORITY.issue(), AUTHORITY.issue()
    chain, key = issued.write(tmp_path, "mx")
    assert fault_of(chain).text == "no private key in it: put it into the same file, or name a pair of files"
    assert "no certificate in it" in fault_of((key, key)).text
    assert fault_of((chain, chain)).file == str(chain)
    key.write_bytes(other.key_pem)
    assert fault_of((chain, key)).text == "the key does not belong to the certificate in mx.crt"
    key.write_bytes(issued.key_pem + other.key_pem)
    assert (fault_of((chain, key)).line, fault_of((chain, key)).text) == (6, "a second private key: leave one of them")
    key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert fault_of((chain, key)).text.startswith("not a key: ")
    key.write_bytes(issued.key_pem)
    chain.write_bytes(b"# mine\n" + issued.chain_pem + issued.chain_pem.replace(b"MII", b"MIX"))
    assert fault_of((chain, key)).text.startswith("not readable as a certificate: ")
    assert fault_of((chain, key)).line == 2 + issued.chain_pem.count(b"\n")
    chain.write_bytes(issued.chain_pem * (CHAIN_LENGTH + 1))
    assert "this is no chain" in fault_of((chain, key)).text
    both_in_one(tmp_path / "folder", "x", Issued(issued.chain_pem, b""))
    assert "put x.key beside it" in fault_of(tmp_path / "folder").text


def test_the_server_s_own_certificate_comes_first(tmp_path: Path) -> None:
    """The other way round nothing works, and OpenSSL's words for it tell nobody why."""
    middle = Authority("Middle", above=AUTHORITY)
    issued = middle.issue()
    own, _, by = issued.chain_pem.partition(middle.ca_pem)
    assert by == b""
    chain, key = issued.write(tmp_path, "mx")
    chain.write_bytes(middle.ca_pem + own)
    line = middle.ca_pem.count(b"\n") + 1
    assert f"the key belongs to the certificate of line {line}: put that one first" in fault_of((chain, key)).text
    chain.write_bytes(own + AUTHORITY.ca_pem + middle.ca_pem)
    line = own.count(b"\n") + 1
    assert [fault.line for fault in load([(chain, key)]).warnings] == [line, line + AUTHORITY.ca_pem.count(b"\n")]
    chain.write_bytes(own + middle.ca_pem + AUTHORITY.ca_pem)
    assert load([(chain, key)]).warnings == ()


def test_an_enciphered_key_needs_its_passphrase(tmp_path: Path) -> None:
    """And one in clear does not mind one."""
    pair = AUTHORITY.issue(("a.test",), passphrase=b"secret").write(tmp_path, "mx")
    assert "the key is enciphered" in fault_of(pair).text
    assert "does not open" in fault_of(pair, passphrase=b"wrong").text
    assert "does not open" in fault_of(pair, passphrase=b"").text
    found = load([pair], b"secret")
    assert meet(trusting(), found.context(), "a.test").client.established
    assert "PRIVATE" not in repr(found)
    clear = AUTHORITY.issue(("b.test",)).write(tmp_path, "clear")
    assert set(load([pair, clear], b"secret").by_name) == {"a.test", "b.test"}


def test_nobody_is_asked_for_a_passphrase_on_a_terminal(tmp_path: Path) -> None:
    """OpenSSL would, and the start would wait for an answer for ever."""
    chain, key = AUTHORITY.issue(passphrase=b"secret").write(tmp_path, "mx")
    code = (
        "import sys; from pathlib import Path; from smtpguard.tls.certificates import load\n"
        "try: load([(Path(sys.argv[1]), Path(sys.argv[2]))])\n"
        "except Exception as fault: print(fault)"
    )
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", code, str(chain), str(key)],
        cwd=ROOT, stdin=theirs, capture_output=True, text=True, timeout=30, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)
    assert "the key is enciphered" in done.stdout
    assert done.stderr == ""


def test_a_certificate_must_be_good_now(tmp_path: Path) -> None:
    """Not before, not after, and who renews late is told."""
    pair = AUTHORITY.issue(days=30).write(tmp_path, "mx")
    now = datetime.now(UTC)
    assert load([pair], now=now).warnings == ()
    assert load([pair], now=now + timedelta(days=15.9)).warnings == ()
    (warning,) = load([pair], now=now + timedelta(days=16.1)).warnings
    assert warning.text == f"expires on {now + timedelta(days=30):%Y-%m-%d}: renew it"
    for days, text in ((30.1, "expired on "), (-1.1, "not valid before ")):
        with pytest.raises(Faulty, match=text):
            load([pair], now=now + timedelta(days=days))
    assert "expired" in fault_of(AUTHORITY.issue(expired=True).write(tmp_path, "old")).text


def test_a_certificate_must_be_a_server_s(tmp_path: Path) -> None:
    """Any usage is fine where none is stated."""
    assert "lacks serverAuth" in fault_of(AUTHORITY.issue(client=True).write(tmp_path, "mx")).text
    both = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    for usage in (both, []):
        assert load([AUTHORITY.issue(usage=usage).write(tmp_path, "mx")]).warnings == ()


def test_a_certificate_should_have_a_name(tmp_path: Path) -> None:
    """The common name will do."""
    assert load([AUTHORITY.issue((), common_name="MX.test").write(tmp_path, "mx")]).default.names == ("mx.test",)
    for name in ("", "My Server"):
        assert "no host name in it" in warning_of(AUTHORITY.issue((), common_name=name).write(tmp_path, "mx")).text


def test_weak_keys_and_signatures_are_faults(tmp_path: Path) -> None:
    """OpenSSL does not use them at the level that is set, and says so only when they are loaded."""
    weak = AUTHORITY.issue(key=rsa.generate_private_key(65537, 1024)).write(tmp_path, "weak")
    assert fault_of(weak).text == "an RSA key of 1024 bits is too weak to be used: make one of 2048"
    good = AUTHORITY.issue(key=rsa.generate_private_key(65537, 2048)).write(tmp_path, "good")
    assert load([good]).warnings == ()
    short = AUTHORITY.issue(key=ec.generate_private_key(ec.SECP192R1())).write(tmp_path, "short")
    assert "OpenSSL does not use it" in fault_of(short).text


def test_a_signature_that_can_be_forged_is_a_fault(tmp_path: Path) -> None:
    """Unless it is the certificate's own, on which nobody relies."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True, timeout=30)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *new, "-sha1", "-subj", "/CN=ca.test", "-keyout", "ca.key", "-out", "ca.crt")
    openssl("req", *new, "-subj", "/CN=mx.test", "-keyout", "mx.key", "-out", "mx.csr")
    by = ("-CA", "ca.crt", "-CAkey", "ca.key")
    openssl("x509", "-req", "-in", "mx.csr", *by, "-sha1", "-days", "30", "-out", "mx.crt")
    fault = fault_of((tmp_path / "mx.crt", tmp_path / "mx.key"))
    assert fault.text == "signed with sha1, which can be forged: have it issued anew"
    assert load([(tmp_path / "ca.crt", tmp_path / "ca.key")]).default.names == ("ca.test",)


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)])
def test_a_key_that_everybody_may_read_is_told(tmp_path: Path, mode: int, told: bool) -> None:
    """Also where it lies in one file with its certificate; a certificate is everybody's."""
    chain, key = AUTHORITY.issue().write(tmp_path, "mx")
    one = both_in_one(tmp_path, "one", AUTHORITY.issue())
    for source, path in (((chain, key), key), (one, one)):
        path.chmod(mode)
        warnings = load([source]).warnings
        assert [warning.file for warning in warnings] == [str(path)] * told
        assert all("chmod o= " in warning.text for warning in warnings)


def test_all_faults_are_found_at_once(tmp_path: Path) -> None:
    """And none of them is an exception."""
    AUTHORITY.issue(expired=True).write(tmp_path, "old")
    AUTHORITY.issue(client=True).write(tmp_path, "client")[1].write_bytes(AUTHORITY.issue().key_pem)
    assert len(faults_of(tmp_path, tmp_path / "none")) == 4
    with pytest.raises(Faulty, match="no certificate is named"):
        load([])


@given(octets=st.lists(st.sampled_from(FRAGMENTS), max_size=8))
def test_no_file_is_too_odd_to_be_judged(tmp_path_factory: pytest.TempPathFactory, octets: list[bytes]) -> None:
    """Whatever is in it, the answer is faults, each on a line that the file has."""
    path = tmp_path_factory.getbasetemp() / "odd.pem"
    path.write_bytes(b"".join(octets))
    for fault in [*faults_of(path, passphrase=b"x"), *check_ca(path)]:
        assert 1 <= fault.line <= b"".join(octets).count(b"\n") + 1
        assert str(fault).isprintable()
