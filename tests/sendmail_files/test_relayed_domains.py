"""Domains to relay to made up at random: what sendmail's own rules deny to an outsider, the policy denies as well.

sendmail is asked in its test mode (-bt).  Behind the guard it would not deny it, as it takes the guard for itself.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random  # noqa: TID251 - seeded
from shutil import rmtree
from typing import Final

import pytest

from smtpguard.policy.relaying import RelayDomains
from tests.rig.sendmail import run_directory

from .support import cf_of, import_files
from .test_closing import data_of, imported
from .test_on_sendmail import make_map

DOMAINS: Final = (
    *("example.net", "sub.example.net", "x.sub.example.net", "a.example.net", "net", "x-example.net"),
    *("own.example", "below.own.example", "listed.example", "sub.listed.example", "other.example", "[192.0.2.25]"),
)
ASKED: Final = (*DOMAINS, *(f"deep.{one}" for one in DOMAINS if one[0] != "["))
VALUES: Final = ("RELAY", "RELAY", "RELAY", "REJECT", "OK", "ERROR:5.7.1:550 no", "relay")
FEATURES: Final = ("", "FEATURE(`lookupdotdomain')dnl\n", "FEATURE(`relay_hosts_only')dnl\n")
OUTSIDER: Final = (".D{client_addr}203.0.113.9", ".D{client_name}[203.0.113.9]", ".D{client_resolve}FAIL")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in which sendmail reads files."""
    made = run_directory("domains")
    yield made
    rmtree(made)


def configured(chance: Random, folder: Path) -> Path:
    """Make an access map, classes and a .cf that has them."""
    entries = {"to:example.net": "To:example.net\tRELAY\n"} if chance.randrange(2) else {}
    for _ in range(chance.randrange(1, 7)):
        key = chance.choice(("To:", "to:", "", "Connect:")) + chance.choice(("", "", ".")) + chance.choice(DOMAINS)
        entries.setdefault(key.lower(), f"{key}\t{chance.choice(VALUES)}\n")
    access, listed = folder / "access", folder / "listed"
    access.write_text("".join(entries.values()), "ascii")
    make_map(access)
    listed.write_text("listed.example other.example # x\n#other.example\n", "ascii")
    mc = [f"FEATURE(`access_db', `hash -T<TMPF> {access}')dnl\nFEATURE(`nocanonify')dnl\n", chance.choice(FEATURES)]
    mc += [f"LOCAL_DOMAIN(`{one}')dnl\n" for one in ("own.example", chance.choice(DOMAINS))]
    mc += [f"RELAY_DOMAIN(`{chance.choice(DOMAINS)}')dnl\n" for _ in range(chance.randrange(2))]
    files = ("", f"F{{R}}{listed}\n", f"FR-o {listed} %[^\\#]\n", f"Fw {listed}\n")
    return cf_of(folder, f"{''.join(mc)}LOCAL_CONFIG\n{chance.choice(files)}")


def denied(cf: Path) -> list[bool]:
    """Return of each domain whether sendmail denies an outsider to send mail to it."""
    lines = [*OUTSIDER, *(f"Basic_check_rcpt <user@{one}>" for one in ASKED), ""]
    command = ["unshare", "--uts", "sh", "-c", f"hostname x.test; exec sendmail -bt -C {cf}"]
    said = subprocess.run(command, input="\n".join(lines).encode(), capture_output=True, check=True).stdout
    found = re.findall(rb"^Basic_check_rcpt +returns: (.*)$", said, re.MULTILINE)
    assert len(found) == len(ASKED)
    return [b"error" in one for one in found]


@pytest.mark.parametrize("seed", range(16))
def test_mail_that_sendmail_does_not_relay_for_an_outsider_the_policy_denies(seed: int, folder: Path) -> None:
    """With exceptions in the access map, files of classes in each form, and features that change their meaning."""
    cf = configured(Random(seed), folder)
    policy, _ = import_files(cf=cf)
    relayed = RelayDomains(data_of(policy)["relay_domains"]["domains"])
    accepted = [relayed.accepts(f"TO:<user@{one}>".encode()) for one in ASKED]
    wrong = [one for one, denies, accepts in zip(ASKED, denied(cf), accepted, strict=True) if denies and accepts]
    assert not wrong, (folder / "access").read_text("ascii")
    assert relayed.accepts(b"TO:<user@own.example>")


def test_an_exception_of_the_access_map_is_one_of_the_policy(tmp_path: Path) -> None:
    """With all below it; a key for one recipient is none."""
    access = "To:example.net\tRELAY\nTo:a.example.net\tRELAY\nTo:b.a.example.net\tOK\nx@c.example.net\tREJECT\n"
    data, _ = imported(tmp_path, "Cwown.example\n", access=f"{access}To:example.org\tRELAY\nx@example.org\tREJECT\n")
    relayed = ["example.net", ".example.net", "a.example.net", ".a.example.net", "example.org", ".example.org"]
    assert data["relay_domains"]["domains"] == ["own.example", *relayed, "!b.a.example.net"]


def test_files_of_a_class_that_are_not_read_are_told(tmp_path: Path) -> None:
    """Of several the first is read; of a format that is not known, none."""
    for name in "ab":
        (tmp_path / name).write_text(f"{name}.example more.example\n", "ascii")
    data, told = imported(tmp_path, f"Cwown.example\nF{{R}}{tmp_path}/a\nFR {tmp_path}/b\nFR {tmp_path}/b %*s %s\n")
    assert data["relay_domains"]["domains"] == ["own.example", "a.example", ".a.example"]
    assert f"class R: {tmp_path}/b is left out: only {tmp_path}/a is read" in told
    assert f"class R is from {tmp_path}/b %*s %s" in told
