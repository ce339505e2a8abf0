"""sendmail's own files of domains: what they mean here, and what they cannot mean here is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.config import relay_files
from smtpguard.config.faults import Fault
from smtpguard.config.relay_files import (
    ERRORS,
    FILE_OCTETS,
    LINE_OCTETS,
    read_access,
    read_local_host_names,
    read_relay_domains,
)
from smtpguard.policy.relaying import RelayDomains, parse_domain

Read = Callable[[Path], tuple[list[str], list[Fault]]]
READERS: list[Read] = [read_relay_domains, read_local_host_names, read_access]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "f"


def result(read: Read, file: Path, octets: bytes) -> tuple[list[str], list[str]]:
    """Return the entries, and the faults without the file's name."""
    file.write_bytes(octets)
    entries, faults = read(file)
    return entries, [str(fault).removeprefix(f"{file}:") for fault in faults]


def test_a_domain_of_class_r_is_one_with_all_its_subdomains(file: Path) -> None:
    """Comments, blanks, several on a line and CRLF are as in sendmail; so is a dot in front."""
    octets = (
        b"# ours\n\nExample.ORG\r\n  example.net\t.example.com # both\n#x.example\nexample.org\n[192.0.2.25]\nx.test"
    )
    assert result(read_relay_domains, file, octets) == (
        [
            "example.org",
            ".example.org",
            "example.net",
            ".example.net",
            ".example.com",
            "[192.0.2.25]",
            "x.test",
            ".x.test",
        ],
        [],
    )


def test_clients_in_class_r_are_told_of(file: Path) -> None:
    """They relay from there, and have nothing to do with recipients."""
    octets = b"10\n192.0.2\n 192.0.2.1\n172.16.\nIPv6:2001:db8\nipv6:2001:db8::1\nexample.org\n"
    entries, faults = result(read_relay_domains, file, octets)
    assert entries == ["example.org", ".example.org"]
    assert [fault.partition(" is about")[0] for fault in faults] == [
        "1:1: warning: 10",
        "2:1: warning: 192.0.2",
        "3:2: warning: 192.0.2.1",
        "4:1: warning: 172.16.",
        "5:1: warning: IPv6:2001:db8",
        "6:1: warning: ipv6:2001:db8::1",
    ]


def test_class_w_means_exactly_its_names(file: Path) -> None:
    """No subdomains; address literals are names too."""
    octets = b"localhost\nmx.Example.org\n[192.0.2.25]\n[IPv6:2001:DB8:0::25]\n"
    assert result(read_local_host_names, file, octets) == (
        ["localhost", "mx.example.org", "[192.0.2.25]", "[IPv6:2001:db8::25]"],
        [],
    )


def test_of_an_access_map_only_relay_for_recipients_is_taken(file: Path) -> None:
    """With To: or no tag; what is about clients, senders and anything else is left out."""
    octets = (
        b"# a comment\n\nTo:example.org\tRELAY\nexample.net  relay \nto:Sub.Example.COM RELAY\n"
        b"Connect:127.0.0.1 RELAY\nConnect:friend.example RELAY\nFrom:spam.example REJECT\nspam.example REJECT\n"
        b"GreetPause:localhost 0\nTLS_Clt:x.example VERIFY\n10.1 RELAY\nIPv6:2001:db8 RELAY\n"
        b"To:other.example OK\nuser@other.example REJECT\nTo:closed.example ERROR:5.7.1:550 no mail # to me\n"
    )
    assert result(read_access, file, octets) == (
        ["example.org", ".example.org", "example.net", ".example.net", "sub.example.com", ".sub.example.com"],
        [],
    )


@pytest.mark.parametrize(
    ("line", "entries", "text"),
    [
        (b"To:george@example.org RELAY", [], "1:1: warning: a single recipient cannot be carried over"),
        (b"george@ RELAY", [], "1:1: warning: a single recipient cannot be carried over"),
        (b"To:192.0.2.25 RELAY", [], "1:1: warning: an address cannot be carried over"),
        (b"To:[192.0.2.25] RELAY", [], "1:1: warning: an address cannot be carried over"),
        (b".example.org RELAY", [".example.org"], "1:1: warning: .example.org is looked up only with FEATURE"),
        (b"example.org RELAY # all", [], "1:1: warning: RELAY counts only alone"),
        (b"To:*.example.org RELAY", [], "1:1: '*.example.org' is no domain: write .example.org"),
        (b"To: RELAY", [], "1:1: '' is no domain"),
        (b" example.org RELAY", [], "1:1: a key stands where its line begins"),
        (b" ", [], "1:1: a key stands where its line begins"),
        (b"example.org", [], "1:1: example.org has no value"),
        (b"example.org\t", [], "1:1: example.org has no value"),
        (b"example.org RELAY\r", [], "1:18: octet 0x0D is no text"),
    ],
)
def test_what_an_access_map_says_and_cannot_be_carried_over_is_told(
    file: Path, line: bytes, entries: list[str], text: str
) -> None:
    """With its place."""
    found, faults = result(read_access, file, line + b"\n")
    assert found == entries
    assert len(faults) == 1
    assert faults[0].startswith(text)


def test_to_goes_before_no_tag_and_a_key_is_there_once(file: Path) -> None:
    """As in sendmail's look-up, and in makemap."""
    octets = b"example.org RELAY\nTo:example.org REJECT\nexample.net REJECT\nTo:example.net RELAY\nTO:Example.net OK\n"
    entries, faults = result(read_access, file, octets)
    assert entries == ["example.net", ".example.net"]
    assert faults == ["5:1: TO:Example.net is already on line 4: remove one of them"]


def test_what_other_keys_say_below_a_relayed_domain_are_exceptions(file: Path) -> None:
    """Whatever they say; not those of recipients and clients, and not where nothing around is relayed."""
    octets = (
        b"To:a.b.example.org OK\nexample.org RELAY\nsub.example.net REJECT\nb.example.org RELAY\nx@c.example.org OK\n"
        b"d.example.org RELAY # x\n.e.example.org DISCARD\nexample.com RELAY\nTo:.example.com REJECT\n"
    )
    entries, faults = result(read_access, file, octets)
    assert entries == [
        *("example.org", ".example.org", "b.example.org", ".b.example.org", "example.com"),
        *("!a.b.example.org", "!d.example.org", "!.e.example.org"),
    ]
    assert faults == ["6:1: warning: RELAY counts only alone: makemap takes all that is behind the key"]
    relayed = RelayDomains([], entries)
    for domain, accepted in (
        *(("x.example.org", True), ("b.example.org", True), ("a.b.example.org", False), ("x.a.b.example.org", False)),
        *(("d.example.org", False), ("e.example.org", True), ("x.e.example.org", False)),
        *(("example.com", True), ("x.example.com", False)),
    ):
        assert relayed.accepts(f"TO:<a@{domain}>".encode()) is accepted, domain


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"b\xfccher.example RELAY", "2:2: octet 0xFC is not UTF-8"),
        (b"example.org\0 RELAY", "2:12: octet 0x00 is no text"),
        (b"example\x1b.org RELAY", "2:8: octet 0x1B is no text"),
        (b"example.org RELAY".ljust(LINE_OCTETS + 1), f"2:{LINE_OCTETS + 1}: line of more than {LINE_OCTETS} octets"),
        ("bücher.example RELAY".encode(), "2:1: 'bücher.example' is not ASCII: write xn--bcher-kva.example"),
        (b"example..org RELAY", "2:1: 'example..org' is no domain: "),
        (b"!example.org RELAY", "2:1: '!example.org' is no domain: this file has no exceptions"),
        (b"example.org. RELAY", "2:1: 'example.org.' is no domain: write example.org, without the dot at its end"),
    ],
)
def test_what_cannot_be_read_is_an_error_and_no_entry(file: Path, read: Read, line: bytes, text: str) -> None:
    """And the lines around it are read all the same."""
    lines = b"first.example RELAY\n" + line + b"\n"
    if read is not read_access:
        # In a class, RELAY would be a domain.
        lines = lines.replace(b" RELAY", b"      ")
    entries, faults = result(read, file, lines)
    assert len(faults) == 1
    assert faults[0].startswith(text)
    assert set(entries) <= {"first.example", ".first.example"}
    assert entries[0] == "first.example"


@pytest.mark.parametrize("read", READERS)
def test_the_size_of_a_file_and_the_number_of_its_errors_are_bounded(
    file: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is none of these, a log for one, is given up."""
    entries, faults = result(read, file, b"\0\n" * 1000)
    assert entries == []
    assert len(faults) == ERRORS + 1
    assert "not read from here on" in faults[-1]
    monkeypatch.setattr(relay_files, "FILE_OCTETS", 10)
    assert result(read, file, b"x" * 11) == ([], ["1:1: file larger than 10 octets"])
    assert FILE_OCTETS > 1024 * 1024


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_is_not_there_is_an_oserror(tmp_path: Path, read: Read) -> None:
    """As with every other file; who asked knows how to say it."""
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")


@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from(["To:", "a.example", " ", "\t", "\n", "RELAY", "10", "#"])).map("".join).map(str.encode)
)
def test_whatever_is_in_a_file_the_entries_are_entries(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    """And the faults have places in it."""
    file = tmp_path_factory.getbasetemp() / "any"
    file.write_bytes(octets)
    for read in READERS:
        entries, faults = read(file)
        assert [parse_domain(entry) for entry in entries] == entries
        RelayDomains(entries)
        assert all(1 <= fault.line <= octets.count(b"\n") + 1 and fault.column >= 1 for fault in faults)


@pytest.mark.parametrize("read", READERS)
def test_a_pipe_is_no_file(read: Read, file: Path) -> None:
    """A reload would wait at it for ever."""
    os.mkfifo(file)
    with pytest.raises(OSError, match="Not a regular file"):
        read(file)
