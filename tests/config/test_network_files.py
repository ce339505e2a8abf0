"""Networks from files: what each format means, what is refused with its place, bounds, digest and cost.

That they mean what they mean to the real servers is in tests/mtas/test_network_files.py.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Address, ip_network, summarize_address_range
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.config import network_files, policy_file
from smtpguard.config.faults import Faulty
from smtpguard.config.network_files.first_match import Entry, decided
from smtpguard.config.network_files.postfix import DEPTH
from smtpguard.config.network_files.reading import ERRORS, FILE_OCTETS, MOST_FILES, MOST_LISTS, MOST_NETWORKS
from smtpguard.config.network_models import MOST_NAMED
from smtpguard.config.policy_file import PolicyFile
from smtpguard.policy.networks import Block, NetworkTable, Peer

from .test_load_cost import calls_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "f"


def shown(block: Block) -> str:
    """Return a block as a CIDR."""
    (network,) = summarize_address_range(
        *(type(ip_network("::/0" if block.family == 6 else "0.0.0.0/0")[0])(end) for end in (block.first, block.last))
    )
    return str(network)


def result(file: Path, form: str, text: str | bytes, name: str = "") -> tuple[list[str], list[str]]:
    """Return the networks, and the faults without the file's name."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    blocks, faults = network_files.read(file, form, name)
    return [shown(block) for block in blocks], [str(fault).removeprefix(f"{file}:") for fault in faults]


# -- plain ----------------------------------------------------------------------------------------


def test_a_plain_list_has_a_network_a_line_and_comments(file: Path) -> None:
    """In the one form that policies have; blanks and CRLF do not matter."""
    assert result(file, "plain", "# ours\n10.0.0.0/8\r\n\n  192.0.2.7 # one host\n2001:db8::/32\n::ffff:1.2.3.4") == (
        ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "1.2.3.4/32"],
        [],
    )
    assert result(file, "plain", "10.0.0.1/8\n 10.0.0.0/8 11.0.0.0/8\nmx.example.org\n10/8\n") == (
        [],
        [
            "1:1: 10.0.0.1/8 has host bits set: write 10.0.0.0/8 or 10.0.0.1",
            "2:2: one network a line; a comment begins with #",
            "3:1: 'mx.example.org' is not a network: write it as 192.0.2.0/24 or 2001:db8::/32",
            "4:1: '10/8' is a short form: write all four numbers, as in 10.0.0.0/8",
        ],
    )


@pytest.mark.parametrize(("form", "none"), [("plain", "# none"), ("postfix", "mynetworks ="), ("sendmail", "# none")])
def test_a_file_that_was_cut_off_is_an_error_and_one_without_clients_a_warning(
    file: Path, form: str, none: str
) -> None:
    """A comment says that nobody is meant."""
    assert result(file, form, " \n")[1] == ["1:1: the file is empty: if nobody is meant, write a comment into it"]
    assert result(file, form, f"{none}\n") == ([], ["1:1: warning: no client is in this network"])


# -- Postfix --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("10.0.0.1/8", "1:1: 10.0.0.1/8 has host bits set: write 10.0.0.0/8 or 10.0.0.1"),
        ("a\n192.168.1/24", "2:1: '192.168.1/24' is a short form: write all four numbers, as in 10.0.0.0/8"),
        (" 1.2.3.4,::1", "1:10: Postfix takes that for a kind of table: write [::1]"),
        ("2001:db8::/32", "1:1: Postfix takes 2001 for a kind of table: write [2001:db8::]/32"),
        ("[2001:db8::/32]", "1:1: the length stands behind the bracket: [2001:db8::]/32"),
        (
            "cidr:/etc/postfix/clients",
            "1:1: a table is not read: write its networks into a list for `format: plain`, in place of "
            "cidr:/etc/postfix/clients",
        ),
        (
            "!hash:/etc/postfix/clients",
            "1:1: a table is not read: `postmap -s hash:/etc/postfix/clients` prints its keys, list those that are "
            "addresses instead",
        ),
        (
            "mx.example.org",
            "1:1: 'mx.example.org' is no address; a name cannot be carried over: write the addresses that it has",
        ),
        ("1.2.3.4 !", "1:9: nothing stands behind the !"),
        ("1.2.3.4 # here", "1:9: Postfix knows comments only where a line begins with #"),
        ("/none/such", "1:1: /none/such: No such file or directory"),
        (
            "x = 1",
            "1:1: no `mynetworks` here, so Postfix makes one up: `postconf -h mynetworks` prints it, name a file of "
            "that",
        ),
        (
            "mynetworks = 1.2.3.4\n  $other",
            "2:3: $other cannot be told from this file: `postconf -xh mynetworks` prints the value, name a file of "
            "that",
        ),
        (
            "a = 1.2.3.0\nmynetworks = $a/24",
            "2:14: $a/24 cannot be told from this file: `postconf -xh mynetworks` prints the value, name a file of "
            "that",
        ),
        (
            "mynetworks = $mynetworks",
            "1:14: more than 16 deep: a file or a variable that names itself",
        ),
    ],
)
def test_what_postfix_alone_could_tell_is_refused_with_what_to_do(file: Path, text: str, fault: str) -> None:
    """Each at its place in the file that is named."""
    assert fault in result(file, "postfix", text)[1]


def test_faults_of_a_file_that_a_list_names_are_in_that_file(file: Path, tmp_path: Path) -> None:
    """As far down as it goes; a file that names itself ends."""
    inner = tmp_path / "inner"
    inner.write_text("10.0.0.0/8\nbad\n")
    file.write_text(f"{inner} {file}")
    _, faults = network_files.read(file, "postfix")
    found = {(fault.file, fault.line, fault.column, fault.text.partition(":")[0]) for fault in faults}
    bad = "'bad' is no address; a name cannot be carried over"
    assert {(str(inner), 2, 1, bad), (str(file), 1, 1, f"more than {DEPTH} deep")} <= found


def test_debians_own_value_is_read(file: Path) -> None:
    """Whoever is in a network of mapped addresses is none of Postfix's clients."""
    assert result(file, "postfix", "mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128\n") == (
        ["127.0.0.0/8", "::1/128"],
        [],
    )


# -- Exim -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("@[]", "1:14: @[] means what Exim finds on the running host: write the addresses"),
        (
            "1.2.3.4 : mx.example.org",
            "1:24: 'mx.example.org' is no address; a name cannot be carried over: write the addresses that it has",
        ),
        (
            "1.2.3.4 ; 5.6.7.8",
            "1:14: '1.2.3.4 ; 5.6.7.8' is a lookup, or a list whose separator is not announced by `<;`: write the "
            "addresses",
        ),
        (
            "net-lsearch;/etc/x",
            "1:14: 'net-lsearch;/etc/x' is a lookup, or a list whose separator is not announced by `<;`: write the "
            "addresses",
        ),
        ("::1", "1:14: ':1' is no address; a name cannot be carried over: write the addresses that it has"),
        ("+other", "1:14: no `hostlist other` in this file"),
        ("1.2.3.4 : !", "1:24: nothing stands behind the !"),
        (
            "${lookup{x}}",
            "1:14: what is expanded or quoted cannot be told from the file: `exim -be '${listnamed:NAME}'` prints what "
            "Exim makes of it",
        ),
        ("+n", "1:14: more than 16 deep: a list or a macro that names itself"),
        (
            "1.2.3.4 : \\\n  # no\n  x",
            "3:3: 'x' is no address; a name cannot be carried over: write the addresses that it has",
        ),
        ("<; ::ffff:1.2.3.4", "1:17: ::ffff:1.2.3.4 has nobody in Exim: write it as one of IPv4 if it is meant"),
        ("/none/such", "1:14: /none/such: No such file or directory"),
        (
            "NETS",
            "1:14: NETS is set 2 times, and which one counts cannot be told: `exim -be '${listnamed:NAME}'` prints "
            "what Exim makes of it",
        ),
        ("1.2.3.4 : NETS", "1:14: the macro NETS stands within the list: write out what it means"),
    ],
)
def test_what_exim_alone_could_tell_is_refused_with_what_to_do(file: Path, text: str, fault: str) -> None:
    """Each at its place, on a continued line too."""
    macros = "\nNETS = 1.2.3.4\nNETS = 5.6.7.8" if "NETS" in text else ""
    assert fault in result(file, "exim", f"hostlist n = {text}\n{macros}", "n")[1]


def test_exims_own_list_is_the_one_that_its_default_configuration_has(file: Path) -> None:
    """Another one is named; one that is not there is a fault that says which are; `begin` ends the lists."""
    text = "hostlist relay_from_hosts = 10.0.0.0/8\nhide hostlist_cache x = 10.1.2.3/8\nbegin acl\nhostlist y = *\n"
    assert result(file, "exim", text) == (["10.0.0.0/8"], [])
    assert result(file, "exim", text, "x") == (["10.0.0.0/8"], ["2:25: warning: Exim takes 10.1.2.3/8 for 10.0.0.0/8"])
    assert result(file, "exim", text, "y")[1] == [
        "1:1: no `hostlist y` here (there are relay_from_hosts, x): say which with `name`; files that it includes are "
        "not read"
    ]


def test_everybody_is_in_only_with_a_warning_where_a_list_ends_in_an_exception(file: Path) -> None:
    """It is what Exim does, and not what most would expect."""
    networks, faults = result(file, "exim", "hostlist n = 10.0.0.0/8 : !11.0.0.0/8\n", "n")
    assert "::/0" in networks
    assert faults == [
        "1:27: warning: everybody else is in, as behind every last item with ! in Exim: is it meant?",
    ]


@pytest.mark.parametrize(
    ("nets", "networks"),
    [
        ("''", ["127.0.0.1/32", "::1/128"]),
        ("'10.0.0.0/8 : 192.0.2.1' # ours", ["10.0.0.0/8", "192.0.2.1/32", "127.0.0.1/32", "::1/128"]),
        ('"10.0.0.0/8;2001:db8::/32"', ["10.0.0.0/8", "2001:db8::/32", "127.0.0.1/32", "::1/128"]),
        ("'<; 10.0.0.0/8'", ["10.0.0.0/8", "127.0.0.1/32", "::1/128"]),
        ("10.0.0.0/8", ["10.0.0.0/8", "127.0.0.1/32", "::1/128"]),
    ],
)
def test_debians_answers_for_exim_are_read_as_update_exim4_conf_does(
    file: Path, nets: str, networks: list[str]
) -> None:
    """The last one counts; the loopback addresses are added; a semicolon changes the separator."""
    text = f"dc_eximconfig_configtype='internet'\ndc_relay_nets='x'\ndc_relay_nets={nets}\nCFILEMODE='644'\n"
    assert result(file, "exim", text) == (networks, [])


def test_answers_that_the_shell_would_have_to_work_out_are_refused(file: Path) -> None:
    """So is a separator that Debian's script does not know."""
    assert result(file, "exim", "dc_relay_nets=`cat /etc/nets`\n")[1] == [
        "1:1: no dc_relay_nets='...' here that could be read"
    ]
    assert result(file, "exim", "dc_relay_nets='<, 10.0.0.0/8'\n")[1] == [
        "1:16: Debian knows no separators here but : and ;"
    ]


# -- sendmail -------------------------------------------------------------------------------------


def test_sendmails_names_are_told_of_once_and_what_means_nobody_each(file: Path) -> None:
    """Most of such a file is about other things; what is wrong with a map is an error."""
    text = (
        "Connect:example.org RELAY\nspammer.example REJECT\nexample.net RELAY\nConnect:192.168.0.0/16 RELAY\n"
        "10.1 RELAY\n10.1 OK\nConnect:256 RELAY\n RELAY\n"
    )
    assert result(file, "sendmail", text) == (
        ["10.1.0.0/16"],
        [
            "1:1: warning: Connect:example.org and 1 more names are not carried over: a network has addresses only",
            "4:1: warning: Connect:192.168.0.0/16 is no client to sendmail: it compares numbers, as in 192.168 or "
            "IPv6:2001:db8",
            "6:1: 10.1 is already on line 5: remove one of them",
            "7:1: warning: Connect:256 is no client to sendmail: it compares numbers, as in 192.168 or IPv6:2001:db8",
            "8:1: a key stands where its line begins",
        ],
    )


# -- exceptions -----------------------------------------------------------------------------------

NETWORKS = st.builds(
    lambda value, length: Block(
        4, value >> 6 - length << 6 - length, (value >> 6 - length << 6 - length) + (1 << 6 - length) - 1
    ),
    st.integers(0, 63),
    st.integers(0, 6),
)


@given(st.lists(st.builds(Entry, st.booleans(), st.lists(NETWORKS, max_size=3)), max_size=8))
def test_the_first_entry_that_has_an_address_decides(entries: list[Entry]) -> None:
    """For every address, whatever lies in what."""
    table = NetworkTable({"n": decided(entries, 1000)})
    for value in range(70):
        first = next(
            (one.included for one in entries for block in one.blocks if block.first <= value <= block.last), False
        )
        assert bool(table.names_of(Peer.parse(str(IPv4Address(value))))) == first


# -- bounds ---------------------------------------------------------------------------------------


def test_what_is_no_text_is_no_list(file: Path) -> None:
    """At its place."""
    assert result(file, "plain", b"10.0.0.0/8\n\xff\n11.0.0.0/8\0\n")[1] == [
        "2:1: octet 0xFF is not UTF-8",
        "3:11: octet 0x00 is no text",
    ]


def test_a_file_is_given_up_after_enough_errors(file: Path) -> None:
    """Of one that is no such file nobody wants to see every line."""
    found = result(file, "plain", "x\n" * 5000)[1]
    assert len(found) == ERRORS + 1
    assert found[-1] == f"{ERRORS}:1: not read from here on, after {ERRORS} errors"


def test_networks_octets_and_files_are_bounded(file: Path, tmp_path: Path) -> None:
    """What is beyond is not read, and the file is refused."""
    assert result(file, "plain", "1.2.3.4\n" * (MOST_NETWORKS + 1))[1] == [
        f"{MOST_NETWORKS + 1}:1: not read from here on, after {MOST_NETWORKS} networks"
    ]
    assert result(file, "plain", b" " * (FILE_OCTETS + 1))[1] == [f"1:1: file larger than {FILE_OCTETS} octets"]
    (tmp_path / "inner").write_text("1.2.3.4\n")
    found = result(file, "postfix", f"{tmp_path}/inner\n" * MOST_FILES)[1]
    assert found == [f"{MOST_FILES}:1: not read: this is more than {MOST_FILES} files"]


@pytest.mark.parametrize(
    ("form", "last", "line"),
    [
        ("postfix", "v15 =\nmynetworks = $v0\n", "v{0} = {1}"),
        ("exim", "hostlist v15 =\nhostlist relay_from_hosts = +v0\n", "hostlist v{0} = {1}"),
    ],
)
def test_lists_that_name_lists_again_and_again_are_given_up(file: Path, form: str, last: str, line: str) -> None:
    """Ten times each, fifteen deep: nobody would see the end of it."""
    between, mark = (" ", "$") if form == "postfix" else (" : ", "+")
    lines = [line.format(number, between.join([f"{mark}v{number + 1}"] * 10)) for number in range(15)]
    found = result(file, form, "\n".join([*lines, last]))[1]
    assert found[-1].endswith(f"not read from here on, after {MOST_LISTS} lists that are named")


def test_a_map_of_values_that_are_not_known_is_no_list_of_clients_to_relay_for(file: Path) -> None:
    """Class R has keys alone, in the same form."""
    assert result(file, "sendmail", '10\t"550 5.7.1 not you"\n')[0] == []
    assert result(file, "sendmail", "ClientRate:192.0.2.1\t5\n10\t5\n")[0] == []
    assert result(file, "sendmail", "10\tRELAY # to makemap a value of its own\n")[0] == []
    # Who is kept out under UseCompressedIPv6Addresses only, which the file does not tell.
    kept_out = result(file, "sendmail", "IPv6:2001:db8:0:0:0:0:0\tRELAY\nIPv6:2001:db8::7\tOK\n")[0]
    assert "2001:db8::6/128" in kept_out
    assert "2001:db8::7/128" not in kept_out
    assert result(file, "sendmail", "10 192.168\n")[0] == ["10.0.0.0/8", "192.168.0.0/16"]


def test_exceptions_that_cut_a_network_into_too_many_are_refused(file: Path) -> None:
    """A few thousand hosts taken out of all of IPv6 are a hundred networks each."""
    taken = "".join(f"![2001:db8:{number:x}::1]\n" for number in range(6000))
    assert result(file, "postfix", f"{taken}[::]/0\n")[1] == [
        f"1:1: the exceptions cut it into more than {MOST_NETWORKS} networks"
    ]


def test_a_pipe_is_no_file(file: Path) -> None:
    """A reload would wait at it for ever."""
    os.mkfifo(file)
    with pytest.raises(OSError, match="Not a regular file"):
        network_files.read(file, "plain")


def test_a_file_of_the_kernel_s_that_has_nothing_to_say_now_is_no_file() -> None:
    """It passes for a regular one, and would block."""
    with pytest.raises(OSError, match="/proc/kmsg"):
        network_files.read("/proc/kmsg", "plain")


CALLS: Final = 80
"""Most calls of functions for one line, from its octets to the table; 30,000 lines take about a quarter of a second."""


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("plain", "10.{}.{}.0/24\n"),
        ("postfix", "10.{}.{}.0/24,\n"),
        ("postfix", "!10.{0}.{1}.1 10.{0}.{1}.0/24\n"),
        ("exim", "10.{}.{}.0/24\n"),
        ("exim", " : 10.{}.{}.0/24\\\n"),
        ("sendmail", "Connect:10.{}.{} RELAY\n"),
    ],
)
def test_one_more_line_costs_a_few_calls_however_many_there_are(file: Path, form: str, line: str) -> None:
    """Twice as many cost twice as much."""

    def calls(lines: int) -> int:
        head = "hostlist relay_from_hosts = 10.0.0.1 \\\n" if "\\" in line else ""
        file.write_text(head + "".join(line.format(number >> 8, number & 255) for number in range(lines)))

        def read() -> None:
            blocks, faults = network_files.read(file, form)
            NetworkTable({"n": blocks})
            assert (len(blocks) >= lines, faults) == (True, [])

        return calls_of(read)

    calls(1)
    few, more, most_of_all = calls(1000), calls(2000), calls(4000)
    per_line = CALLS * (3 if "!" in line else 1)
    assert (more - few) / 1000 <= per_line
    assert (most_of_all - more) / 2000 <= per_line


# -- in a policy ----------------------------------------------------------------------------------


def loaded(folder: Path, networks: str) -> PolicyFile:
    (folder / "policy.yaml").write_text(f"networks: {networks}\nrulesets: {{}}\n")
    return policy_file.load(folder / "policy.yaml")


def test_a_policy_has_the_networks_of_its_files_beside_its_own(tmp_path: Path) -> None:
    """Alone or in a list, by a path that begins at the policy's folder or a full one."""
    (tmp_path / "mynetworks").write_text("10.0.0.0/8\n")
    (tmp_path / "list").write_text("!192.0.2.1 192.0.2.0/24\n")
    text = f"{{a: {{file: mynetworks, format: postfix}}, b: [1.2.3.4, {{file: {tmp_path}/list, format: postfix}}]}}"
    networks = loaded(tmp_path, text).policy.networks
    asked = ("10.1.2.3", "1.2.3.4", "192.0.2.1", "192.0.2.2")
    assert [networks.names_of(Peer.parse(one)) for one in asked] == [["a"], ["b"], [], ["b"]]


def test_the_version_is_that_of_who_is_in_the_files(tmp_path: Path) -> None:
    """A reload reads them again; a comment changes nothing, another network does."""
    listed = tmp_path / "list"
    text = "{a: {file: list, format: plain}}"
    listed.write_text("10.0.0.0/8\n")
    first = loaded(tmp_path, text).version
    listed.write_text("# ours\n10.0.0.0/8\n")
    assert loaded(tmp_path, text).version == first
    listed.write_text("10.0.0.0/9\n")
    assert loaded(tmp_path, text).version != first


def test_all_faults_of_all_files_come_at_once(tmp_path: Path) -> None:
    """Those of the policy at their places there, those of a file at theirs; warnings are kept."""
    (tmp_path / "list").write_text("nets\n10.0.0.1/8\n")
    with pytest.raises(Faulty) as caught:
        loaded(
            tmp_path,
            "{a: [{file: list, format: plain}, {file: none, format: plain}], b: {file: list, format: plain, name: x}, "
            "c: {format: plain}}",
        )
    assert [str(fault).removeprefix(f"{tmp_path}/") for fault in caught.value.faults] == [
        "list:1:1: 'nets' is not a network: write it as 192.0.2.0/24 or 2001:db8::/32",
        "list:2:1: 10.0.0.1/8 has host bits set: write 10.0.0.0/8 or 10.0.0.1",
        "policy.yaml:1:45: a: none: No such file or directory",
        "policy.yaml:1:78: b: name: only `format: exim` has lists by name: remove it",
        "policy.yaml:1:119: file: is missing",
    ]
    (tmp_path / "list").write_text("# nobody\n")
    assert [fault.text for fault in loaded(tmp_path, "{a: {file: list, format: plain}}").warnings] == [
        "no client is in this network"
    ]


def test_the_files_of_one_policy_are_bounded(tmp_path: Path) -> None:
    """Each is read at every reload."""
    (tmp_path / "list").write_text("10.0.0.0/8\n")
    files = ", ".join(["{file: list, format: plain}"] * (MOST_NAMED + 1))
    with pytest.raises(Faulty, match=f"a: more than {MOST_NAMED} files of networks"):
        loaded(tmp_path, f"{{a: [{files}]}}")
