"""From paths to certificates: how they may lie about, and which is shown for which name."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.config.faults import Fault
from smtpguard.tls.certificates import Certificates, check_ca, load
from smtpguard.tls.checks import Certificate

from .ends import AUTHORITY, meet, trusting
from .files import as_certbot, both_in_one, faults_of, warning_of
from .support import Authority
from .support import pem as pem_of


def test_chain_and_key_are_two_files_or_one(tmp_path: Path) -> None:
    """Named, or found in a directory."""
    issued = AUTHORITY.issue(("a.test",))
    pair = issued.write(tmp_path / "pair", "mx")
    one = both_in_one(tmp_path / "one", "mx", issued)
    for source in (pair, one, tmp_path / "pair", tmp_path / "one"):
        found = load([source])
        assert found.default.names == ("a.test",)
        assert found.warnings == ()
        assert meet(trusting(), found.context(), "a.test").client.established


@pytest.mark.parametrize("extension", ["crt", "cer", "pem"])
def test_a_chain_may_be_called_as_people_call_it(tmp_path: Path, extension: str) -> None:
    """The key is NAME.key."""
    chain, _ = AUTHORITY.issue().write(tmp_path, "mx.example.org")
    chain.rename(chain.with_name(f"mx.example.org.{extension}"))
    assert load([tmp_path]).default.names == ("mx.test",)


def test_certbot_s_directory_is_read(tmp_path: Path) -> None:
    """The whole of `live`, or one in it; links are followed, and what changes behind them is not read."""
    for name in ("b.test", "a.test"):
        live = as_certbot(tmp_path / name, name, AUTHORITY.issue((name,)))
        assert load([live]).default.names == (name,)
        (tmp_path / "all").mkdir(exist_ok=True)
        (tmp_path / "all" / name).symlink_to(live)
    (tmp_path / "all" / "README").write_text("hello")
    found = load([tmp_path / "all"])
    assert found.default.names == ("a.test",)
    assert set(found.by_name) == {"a.test", "b.test"}
    for file in (tmp_path / "a.test" / "archive" / "a.test").iterdir():
        file.unlink()
    assert meet(trusting(), found.context(), "a.test").client.established


def test_what_is_no_certificate_is_passed_over(tmp_path: Path) -> None:
    """READMEs, hidden files, back-ups, directories, links in circles, names that are no UTF-8."""
    AUTHORITY.issue().write(tmp_path, "mx")
    for name in ("README", ".hidden.pem", "mx.crt~", "mx.csr", os.fsdecode(b"\xff\xfe")):
        (tmp_path / name).write_text("hello")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "self").symlink_to(".")
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "nowhere").symlink_to("missing")
    (tmp_path / "folder.pem").mkdir()
    (tmp_path / "folder.key").mkdir()
    os.mkfifo(tmp_path / "fifo")
    found = load([tmp_path])
    assert found.warnings == ()
    assert found.default.names == ("mx.test",)


def test_names_of_files_may_be_any(tmp_path: Path) -> None:
    """Only the names in certificates matter; a fault's text is printable all the same."""
    for name in ("größe", os.fsdecode(b"\xff\xfe"), "a b\n", "x" * 200):
        AUTHORITY.issue((f"h{len(name)}.test",)).write(tmp_path, name)
    assert len(load([tmp_path]).by_name) == 4
    for key in tmp_path.glob("*.key"):
        key.write_text("nothing")
    for fault in faults_of(tmp_path):
        assert str(fault).isprintable()


def test_the_default_is_the_one_called_so_or_the_first(tmp_path: Path) -> None:
    """Of the sources as listed, and sorted in a directory."""
    for name in ("c", "b", "a"):
        AUTHORITY.issue((f"{name}.test",)).write(tmp_path / "folder", name)
    first = AUTHORITY.issue(("z.test",)).write(tmp_path, "z")
    assert load([tmp_path / "folder"]).default.names == ("a.test",)
    assert load([first, tmp_path / "folder"]).default.names == ("z.test",)
    AUTHORITY.issue(("d.test",)).write(tmp_path / "folder", "default")
    assert load([first, tmp_path / "folder"]).default.names == ("d.test",)


def test_a_name_is_looked_up_whatever_it_is(tmp_path: Path) -> None:
    """An exact name, one label in front of a wildcard's, or the default; without a fault for any text."""
    for name in ("a.test", "*.b.test", "default.test"):
        AUTHORITY.issue((name,)).write(tmp_path, name.partition(".")[0].replace("*", "wild"))
    found = load([tmp_path])
    for asked, shown in (
        ("a.test", "a.test"), ("A.Test.", "a.test"), ("x.b.test", "*.b.test"), ("x.y.b.test", "default.test"),
        ("b.test", "default.test"), ("", "default.test"), (".", "default.test"), ("\udcff\0", "default.test"),
    ):  # fmt: skip
        assert found.for_name(asked).names == (shown,), asked


@given(name=st.text())
def test_no_name_is_too_odd_to_be_looked_up(name: str) -> None:
    """The look-up happens in the middle of a handshake."""
    default = Certificate("mx.crt", (), datetime.now(UTC), b"", b"")
    assert Certificates(default, {}).for_name(name) is default


def test_who_has_two_certificates_for_a_name_is_told_which_is_shown(tmp_path: Path) -> None:
    """And which file is not read, where there are two of one name."""
    first = AUTHORITY.issue(("a.test",)).write(tmp_path, "1")
    second = AUTHORITY.issue(("b.test", "A.test")).write(tmp_path, "2")
    warning = warning_of(first, second)
    assert str(warning) == f"{second[0]}:1:1: warning: a.test is in {first[0]} too, and that one is shown"
    AUTHORITY.issue().write(tmp_path / "twice", "mx")
    both_in_one(tmp_path / "twice", "mx", AUTHORITY.issue())
    assert warning_of(tmp_path / "twice").text == "not read: mx.crt is; remove one of them"
    live = as_certbot(tmp_path / "acme", "a.test", AUTHORITY.issue())
    AUTHORITY.issue().write(live.parent, "a.test")
    assert warning_of(live.parent).text == "not read: a.test.crt beside it is; remove one of them"


def test_a_file_of_authorities_must_have_one_that_is_good(tmp_path: Path) -> None:
    """One that has expired among others is a warning, since lists of many always have one."""
    ca = AUTHORITY.write_ca(tmp_path)
    assert check_ca(ca) == []
    assert check_ca(tmp_path / "none")[0].text == "no such file"
    assert "is a directory" in check_ca(tmp_path)[0].text
    (tmp_path / "empty").write_text("hello")
    assert check_ca(tmp_path / "empty") == [
        Fault(str(tmp_path / "empty"), 1, 1, "no certificate in it: it must be PEM")
    ]
    old = Authority("Old", days=-0.5)
    ca.write_bytes(AUTHORITY.ca_pem + old.ca_pem)
    assert [(fault.line, fault.warning) for fault in check_ca(ca)] == [(AUTHORITY.ca_pem.count(b"\n") + 1, True)]
    ca.write_bytes(old.ca_pem)
    assert [fault.warning for fault in check_ca(ca)] == [True, False]
    assert "not valid before" in check_ca(AUTHORITY.write_ca(tmp_path), datetime(2020, 1, 1, tzinfo=UTC))[0].text
    ca.write_bytes(pem_of(AUTHORITY.certificate).replace(b"MII", b"MIX"))
    assert check_ca(ca)[0].text.startswith("not readable as a certificate: ")


def test_the_system_s_list_of_authorities_is_one() -> None:
    """All 140 of them are readable."""
    assert [fault for fault in check_ca(Path("/etc/ssl/certs/ca-certificates.crt")) if not fault.warning] == []
