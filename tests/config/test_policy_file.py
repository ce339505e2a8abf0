"""The policy file: every fault with its place and what to write instead, all at once."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from smtpguard.config import policy_file
from smtpguard.config.faults import Faulty
from smtpguard.config.policy_file import SHIPPED, PolicyFile, build, load
from smtpguard.config.policy_models import MAX_DELAY
from smtpguard.config.yaml_reader import read
from smtpguard.policy.networks import UNIX_PEER, Block, NetworkTable, Peer, parse_block
from smtpguard.policy.privacy import NO_EFFECT, OPTIONS

ROOT = Path(__file__).parents[2]


def policy(text: str) -> PolicyFile:
    """Read a policy that has no faults."""
    return build(read(text, "f"))


def faults_of(text: str) -> list[str]:
    """Return all faults, without the file's name."""
    try:
        policy(text)
    except Faulty as error:
        return [str(fault).removeprefix("f:") for fault in error.faults]
    return []


def warnings_of(text: str) -> list[str]:
    """Return the warnings of a policy without faults, without the file's name."""
    return [str(fault).removeprefix("f:") for fault in policy(text).warnings]


def outcome(text: str, line: str, source: str = "203.0.113.9", **told: object) -> str:
    """Return what a policy decides: its `tests` give any expectation a chance to be wrong."""
    facts = "".join(f", {key}: {str(value).lower()}" for key, value in told.items())
    read_policy = policy(f"{text}\ntests: [{{from: '{source}', command: '{line}', expect: forward{facts}}}]\n")
    (test,) = read_policy.tests
    return str(read_policy.decide(test.model))


# -- all at once ---------------------------------------------------------------------------------


def test_all_faults_of_a_file_come_at_once_in_the_order_of_the_file() -> None:
    """Of the YAML, of single values, and of names that do not fit together."""
    text = """\
networks:
  internal: [10.0.0.1/8, 192.168.0.0/16]
  internal: [10.0.0.0/8]
replies: sendmial
privacy_options: [novrfi]
rulesets:
  check_vfry: [{action: reply}]
  check_expn:
    - {from: intrenal, action: forward, delay: no}
    - {action: &here reply, tls: off}
test: []
"""
    assert faults_of(text) == [
        "2:14: internal: 10.0.0.1/8 has host bits set: write 10.0.0.0/8 or 10.0.0.1",
        "3:3: 'internal' is already set on line 2: remove one of them",
        "4:10: replies: 'sendmial' is none of sendmail, rfc5321, stig, postfix (did you mean sendmail?)",
        "5:19: unknown privacy option 'novrfi' (did you mean novrfy?)",
        "7:3: unknown verb in rule set 'check_vfry' (did you mean check_vrfy?)",
        "9:14: from: unknown network 'intrenal' (did you mean internal?)",
        "9:48: delay: must be a number, not 'no'",
        "10:16: anchor &here is not allowed here: write the value out where it is used",
        "10:34: tls: must be true or false, not 'off' (write false)",
        "11:1: unknown key 'test' (did you mean tests?)",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1:1: the file is empty: to forward everything, write `rulesets: {}`"),
        ("# cut off\n", "1:1: the file is empty: to forward everything, write `rulesets: {}`"),
        ("- a", "1:1: the file must be a mapping of `key: value` lines"),
        ("hello", "1:1: the file must be a mapping of `key: value` lines"),
        ("rules: {}", "1:1: unknown key 'rules' (did you mean rulesets?)"),
        (
            "x: 1",
            "1:1: unknown key 'x' (known: auth, banner, bare_newline, budgets, early_input, limits, networks, "
            "prefixes, privacy_options, relay_domains, replies, rulesets, shadow, tests, verbs)",
        ),
        (
            "relay_check: off",
            "1:1: 'relay_check' is a key of the settings: name a file of settings with --config FILE",
        ),
        ("networks: [10.0.0.0/8]", "1:11: networks: must be a mapping of `key: value`, not ['10.0.0.0/8']"),
        ("networks:", "1:10: networks: must be a mapping of `key: value`, not nothing"),
        ("networks: {a: {file: b, format: c}}", "1:33: format: 'c' is none of plain, postfix, exim, sendmail"),
        ("networks: {a: {file: b, format: plain, nam: c}}", "1:40: unknown key 'nam' (did you mean name?)"),
        ("networks: {a: [17]}", "1:16: a: must be a text, not 17 (put it in quotes if it is meant)"),
        ("networks: {a b: []}", "1:12: 'a b' cannot name a network: a letter, then letters, digits, - and _"),
        ("networks: {default: []}", "1:12: `default` means the clients of no named network: choose another name"),
        ("replies: [stig]", "1:10: replies: ['stig'] is none of sendmail, rfc5321, stig, postfix (did you mean stig?)"),
        ("privacy_options: novrfy", "1:18: privacy_options: must be a list, not 'novrfy'"),
        ("banner: 220 hello", "1:9: banner: the code is put in front by itself: write 'hello'"),
        ("banner: ''", "1:9: banner: a reply needs a text behind its code"),
        ("banner: Grüße", "1:9: banner: a reply is one line of printable ASCII"),
        ('banner: "a\\r\\n250 b"', "1:9: banner: a reply is one line of printable ASCII"),
        ("banner: no\nverbs: no", "2:8: verbs: must be a list, not 'no'"),
        ("verbs: [X Y]", "1:9: verbs: 'X Y' is not a verb: letters, digits and hyphens only"),
        ("rulesets: []", "1:11: rulesets: must be a mapping of `key: value`, not []"),
        ("rulesets: {check_vrfy: {action: reply}}", "1:24: check_vrfy: must be a list, not {'action': 'reply'}"),
        ("rulesets: {check_vrfy: reply}", "1:24: check_vrfy: must be a list, not 'reply'"),
        ("rulesets: {check_vrfy: [reply]}", "1:25: check_vrfy: must be a mapping of `key: value`, not 'reply'"),
        ("rulesets: {vrfy: [{action: reply}]}", "1:12: 'vrfy' is not a rule set: they are named check_VERB"),
        ("rulesets: {check_: [{action: reply}]}", "1:12: 'check_' is not a rule set: they are named check_VERB"),
        (
            "rulesets: {check_vrfy: []}",
            "1:24: check_vrfy has no rule: what it is named for would be forwarded; write {action: forward} if so",
        ),
        (
            "bare_newline: normalise",
            "1:15: default: 'normalise' is none of reject, normalize (did you mean normalize?)",
        ),
        (
            "bare_newline: {inside: normalize}",
            "1:16: bare_newline: unknown network 'inside' (known: default)",
        ),
        (
            "networks: {internal: [10.0.0.0/8]}\nbare_newline: {interna: normalize}",
            "2:16: bare_newline: unknown network 'interna' (did you mean internal?)",
        ),
        ("early_input: {default: no}", "1:24: default: 'no' is none of hold, reject"),
        (
            "budgets: on",
            "1:10: budgets: 'on' is none of sendmail, off and a mapping such as {vrfy: 6, bad: 25}",
        ),
        ("budgets: {vfry: 6}", "1:11: unknown key 'vfry' (did you mean vrfy?)"),
        ("budgets: {vrfy: -1}", "1:17: vrfy: must be greater than or equal to 0, not -1"),
        ("tests: {from: 10.0.0.1}", "1:8: tests: must be a list, not {'from': '10.0.0.1'}"),
    ],
)
def test_a_fault_of_the_file_has_its_place_and_says_what_to_write(text: str, fault: str) -> None:
    """One fault, one line, at the value that is wrong or at the key if that is wrong."""
    assert faults_of(text) == [fault]


# -- networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("10.0.0.1/8", "10.0.0.1/8 has host bits set: write 10.0.0.0/8 or 10.0.0.1"),
        ("2001:db8::1/32", "2001:db8::1/32 has host bits set: write 2001:db8::/32 or 2001:db8::1"),
        ("10/8", "'10/8' is a short form: write all four numbers, as in 10.0.0.0/8"),
        ("10.1", "'10.1' is a short form: write all four numbers, as in 10.0.0.0/8"),
        ("167772160", "'167772160' is a short form: write all four numbers, as in 10.0.0.0/8"),
        ("192.0.2.0/0.0.0.255", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("192.0.2.0/255.255.255.0", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("10.0.0.0/08", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("10.0.0.0/+8", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("10.0.0.0/-1", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("10.0.0.0/", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("10.0.0.0/8/8", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("10.0.0.0 - 10.0.0.9", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("0xa.0.0.0", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("mail.example.org", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("10.0.0.0/8\\n", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        (" 10.0.0.0/8", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("\u0661\u0660.0.0.0/8", "is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("10.0.0.0/33", "'10.0.0.0/33' is not a network: the prefix length is at most 32"),
        ("::1/129", "'::1/129' is not a network: the prefix length is at most 128"),
        ("010.0.0.1", "'010.0.0.1' is not a network: the numbers go from 0 to 255, without leading zeros"),
        ("10.0.0.256", "'10.0.0.256' is not a network: the numbers go from 0 to 255, without leading zeros"),
        ("2001:db8::1::2", "'2001:db8::1::2' is not a network: no such address"),
        ("12:30", "'12:30' is not a network: no such address"),
    ],
)
def test_a_network_that_could_be_misread_is_refused(written: str, fault: str) -> None:
    """Host bits, short forms, netmasks, hostmasks, leading zeros, signs, blanks; in `from` as well."""
    (found,) = faults_of(f'networks: {{a: [192.0.2.1, "{written}"]}}')
    assert found.startswith("1:27: a: ")
    assert found.endswith(fault)
    if set(written) & set(".:/"):  # else it is the name of a network
        (found,) = faults_of(f'rulesets: {{check_vrfy: [{{from_not: "{written}", action: reply}}, {{action: reply}}]}}')
        assert found.startswith("1:36: from_not: ")
        assert found.endswith(fault)


@pytest.mark.parametrize(
    ("written", "inside", "outside"),
    [
        (
            "10.0.0.0/8",
            ["10.255.255.255", "::ffff:10.1.2.3", "::ffff:a01:203"],
            ["11.0.0.0", "9.255.255.255", "::10.0.0.1"],
        ),
        ("192.0.2.7", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
        ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::", "::1"]),
        ("::/0", ["::", "2001:db8::1"], ["1.2.3.4", "::ffff:1.2.3.4"]),
        ("2001:DB8::/32", ["2001:db8:ffff::", "2001:db8::1%eth0"], ["2001:db9::"]),
        ("::ffff:10.0.0.0/104", ["10.0.0.1", "::ffff:10.0.0.1"], ["11.0.0.1", "::10.0.0.1"]),
        ("::ffff:10.0.0.1", ["10.0.0.1"], ["10.0.0.2"]),
        ("fe80::1%eth0", ["fe80::1", "fe80::1%lo"], ["fe80::2"]),
        ("fe80::%eth0/64", ["fe80::5%anything"], ["fe80:0:0:1::"]),
    ],
)
def test_an_address_is_in_a_network_however_it_is_written(written: str, inside: list[str], outside: list[str]) -> None:
    """::ffff:10.0.0.1 is 10.0.0.1, and a zone id says nothing, in the policy and at the socket."""
    table = NetworkTable({"a": [parse_block(written)]})
    assert [table.classify(Peer.parse(address)) for address in inside] == [1] * len(inside)
    assert [table.classify(Peer.parse(address)) for address in outside] == [0] * len(outside)


def test_a_client_of_a_unix_socket_is_in_no_network() -> None:
    """Not even in that of all addresses."""
    table = NetworkTable({"v4": [parse_block("0.0.0.0/0")], "v6": [parse_block("::/0")]})
    assert table.classify(UNIX_PEER) == 0


v4_networks = st.builds(
    lambda address, prefix: str(ip_network((address & ~((1 << 32 - prefix) - 1), prefix))),
    st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 255)),
    st.integers(0, 32),
)
v6_networks = st.builds(
    lambda address, prefix: str(IPNetwork((address & ~((1 << 128 - prefix) - 1), 6), 6).ip) + f"/{prefix}",
    st.one_of(st.integers(0, 2**128 - 1), st.integers(0, 255)),
    st.integers(0, 128),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, list[str]], list[str]]:
    """Named networks, and addresses at and around their ends."""
    names = draw(
        st.dictionaries(st.sampled_from("abcdefgh"), st.lists(v4_networks | v6_networks, max_size=6), max_size=6)
    )
    probes = [str(IPAddress(draw(st.integers(0, 2**32 - 1)), 4)), str(IPAddress(draw(st.integers(0, 2**128 - 1)), 6))]
    for written in (block for blocks in names.values() for block in blocks):
        network = ip_network(written)
        ends = (int(network.network_address), int(network.broadcast_address))
        probes += [
            str(type(network.network_address)(value))
            for end in ends
            for value in (end - 1, end, end + 1)
            if 0 <= value < 1 << network.max_prefixlen
        ]
    return names, probes


@given(tables())
def test_the_look_up_agrees_with_the_standard_library_on_any_networks(
    case: tuple[dict[str, list[str]], list[str]],
) -> None:
    """Nested, overlapping, touching, equal, of both families."""
    names, probes = case
    table = NetworkTable({name: [parse_block(written) for written in blocks] for name, blocks in names.items()})
    for probe in probes:
        address = ip_address(probe)
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        expected = [name for name, blocks in names.items() if any(_holds(written, address) for written in blocks)]
        assert table.names_in(table.classify(Peer.parse(probe))) == expected, probe


def _holds(written: str, address: object) -> bool:
    network = ip_network(written)
    if network.version == 6 and network.network_address in ip_network("::ffff:0:0/96") and network.prefixlen >= 96:
        network = ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network.version == address.version and address in network  # type: ignore[attr-defined]


def many(count: int) -> str:
    """Return a policy with `count` networks that do not touch."""
    lines = "".join(f"    - 10.{i >> 14 & 255}.{i >> 6 & 255}.{(i & 63) * 4}/31\n" for i in range(count))
    return f"networks:\n  big:\n{lines}rulesets:\n  check_vrfy: [{{from: big, action: forward}}, {{action: reply}}]\n"


def test_a_hundred_thousand_networks_load_in_bounded_time_and_are_looked_up_as_fast_as_ten() -> None:
    """A bisection: seventeen steps and not four; going through all would be ten thousand times as many."""
    began = time.process_time()
    big = policy(many(100_000)).policy.networks
    assert time.process_time() - began < 10  # 0.7 s on a small machine; see test_load_cost.py
    small = policy(many(10)).policy.networks
    peers = [Peer.parse(f"10.{i % 7}.{i % 251}.{i % 256}") for i in range(2000)]

    def seconds(table: NetworkTable) -> float:
        """The best of some tries, so that what else the machine does counts little."""
        tries = []
        for _ in range(7):
            start = time.perf_counter()
            for peer in peers:
                table.classify(peer)
            tries.append(time.perf_counter() - start)
        return min(tries)

    gc.collect()
    assert seconds(big) < 40 * seconds(small)
    assert big.classify(Peer.parse("10.6.25.160")) == 1
    assert big.classify(Peer.parse("10.6.25.162")) == 0
    assert small.classify(Peer.parse("10.6.25.160")) == 0


def test_the_networks_around_an_address_take_no_more_room_than_their_blocks() -> None:
    """Ten thousand in ten thousand: as bits of every range they would take 24 MB, as sets more."""
    names = {f"all{number}": [parse_block("10.0.0.0/8")] for number in range(10_000)}
    hosts = {f"host{number}": [parse_block(f"10.0.{number >> 8}.{number & 255}")] for number in range(10_000)}
    tracemalloc.start()
    try:
        table = NetworkTable({**names, **hosts})
        assert tracemalloc.get_traced_memory()[0] < 8_000_000
    finally:
        tracemalloc.stop()
    assert table.names_in(table.classify(Peer.parse("10.0.1.2"))) == [*names, "host258"]
    assert table.names_in(table.classify(Peer.parse("10.1.1.2"))) == [*names]


def test_blocks_of_one_name_are_joined() -> None:
    """Halves that touch are one range: no address in between is lost."""
    halves = [Block(4, 0, 9), Block(4, 10, 19), Block(4, 5, 7), Block(6, 0, 9)]
    table = NetworkTable({"a": halves})
    assert [table.classify(Peer(4, value, "")) for value in (0, 9, 10, 19, 20)] == [1, 1, 1, 1, 0]
    assert [table.classify(Peer(6, value, "")) for value in (9, 10)] == [1, 0]


# -- rule sets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("check_vfry", " (did you mean check_vrfy?)"),
        ("check_VFRY", " (did you mean check_vrfy?)"),
        ("check_exp", " (did you mean check_expn?)"),
        ("check_others", " (did you mean check_other?)"),
        ("check_foobar", "; if the verb is meant, declare it: verbs: [FOOBAR]"),
    ],
)
def test_a_rule_set_for_an_unknown_verb_is_an_error_with_a_suggestion(name: str, hint: str) -> None:
    """It would never apply, and nobody would notice."""
    assert faults_of(f"rulesets: {{{name}: [{{action: reply}}]}}") == [f"1:12: unknown verb in rule set {name!r}{hint}"]


def test_a_declared_verb_may_have_a_rule_set() -> None:
    """Declared in any letter case."""
    text = "verbs: [FooBar]\nrulesets: {check_foobar: [{action: reply}]}"
    assert faults_of(text) == []
    assert outcome(text, "FOOBAR x") == "500 5.5.1 Command unrecognized"


def test_two_rule_sets_for_one_verb_are_an_error() -> None:
    """One of them would silently win."""
    names = ("check_vrfy", "CHECK_VRFY", "check_VRFY")
    text = "rulesets:\n" + "".join(f"  {name}: [{{action: reply}}]\n" for name in names)
    assert faults_of(text) == [
        "3:3: 'CHECK_VRFY' is not a rule set: they are named check_VERB",
        "4:3: check_vrfy is the same rule set: letter case does not matter in a verb",
    ]


@pytest.mark.parametrize(
    ("rule", "place", "fault"),
    [
        ("{}", 25, "check_vrfy: a rule needs an action: forward, reply or close"),
        ("{from: a}", 25, "check_vrfy: a rule needs an action: forward, reply or close"),
        ("{action: replay}", 34, "action: 'replay' is none of forward, reply, close (did you mean reply?)"),
        ("{action: no}", 34, "action: 'no' is none of forward, reply, close"),
        ("{acton: reply, reply: 550 no}", 26, "unknown key 'acton' (did you mean action?)"),
        ("{form: a, action: reply}", 26, "unknown key 'form' (did you mean from?)"),
        ("{from: , action: forward}", 26, "from: must not be empty"),
        ("{from: [], action: forward}", 32, "from: must not be empty"),
        ("{argument: ~, action: forward}", 26, "argument: must not be empty"),
        ("{from: nowhere, action: reply}", 32, "from: unknown network 'nowhere' (known: a)"),
        ("{from: [a, 10.0.0.0/8, b], action: reply}", 48, "from: unknown network 'b' (known: a)"),
        ("{tls: no, action: reply}", 31, "tls: must be true or false, not 'no' (write false)"),
        ("{tls: On, action: reply}", 31, "tls: must be true or false, not 'On' (write true)"),
        ("{tls: 1, action: reply}", 31, "tls: must be true or false, not 1"),
        ("{delay: 12:30, action: reply}", 33, "delay: must be a number, not '12:30'"),
        ("{delay: 0100, action: reply}", 33, "delay: must be a number, not '0100'"),
        ("{delay: '5', action: reply}", 33, "delay: must be a number, not '5'"),
        ("{delay: true, action: reply}", 33, "delay: must be a number, not True"),
        ("{delay: -1, action: reply}", 33, "delay: must be greater than or equal to 0, not -1"),
        ("{delay: 241, action: reply}", 33, "delay: must be less than or equal to 240, not 241"),
        ("{argument: 17, action: reply}", 36, "argument: must be a text, not 17 (put it in quotes if it is meant)"),
        (
            "{reply: hi}",
            25,
            "check_vrfy: a reply begins with a three-digit code and a space, as in 550 5.7.1 Access denied",
        ),
        (
            "{reply: 354 go on}",
            25,
            "check_vrfy: code 354 would leave the client waiting: only 2yz, 4yz and 5yz end a command",
        ),
        ("{reply: 252}", 33, "reply: must be a text, not 252 (put it in quotes if it is meant)"),
        ("{reply: '252'}", 25, "check_vrfy: a reply needs a text behind its code"),
        (
            "{reply: '250-a'}",
            25,
            "check_vrfy: a reply begins with a three-digit code and a space, as in 550 5.7.1 Access denied",
        ),
        ('{reply: "250 a\\r\\n250 b"}', 25, "check_vrfy: a reply is one line of printable ASCII"),
        ("{reply: 250 é}", 25, "check_vrfy: a reply is one line of printable ASCII"),
        (f"{{reply: 250 {'x' * 600}}}", 25, "check_vrfy: reply line of 606 octets, at most 512 are allowed"),
        ("{reply: 421 bye}", 25, "check_vrfy: 421 means that the connection is closed: use `action: close`"),
        ("{action: close, reply: 450 no}", 25, "check_vrfy: a closing reply has a code of 421 or 5yz"),
        (
            "{action: forward, reply: 550 no}",
            25,
            "check_vrfy: a forwarded command gets the backend's reply: remove `reply` or set `action: reply`",
        ),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: str, place: int, fault: str) -> None:
    """Above all a condition with nothing in it, which would hold for everybody."""
    text = f"rulesets: {{check_vrfy: [{rule}, {{action: reply}}]}}\nnetworks: {{a: [192.0.2.0/24]}}\n"
    assert faults_of(text) == [f"1:{place}: {fault}"]


def test_the_longest_delay_is_still_within_what_clients_wait_for() -> None:
    """A client waits five minutes for a reply (RFC 5321 4.5.3.2)."""
    assert faults_of(f"rulesets: {{check_vrfy: [{{delay: {MAX_DELAY:g}, action: reply}}]}}") == []
    assert faults_of("rulesets: {check_vrfy: [{delay: 0.5, action: forward}]}") == []
    assert MAX_DELAY < 300


def test_a_key_has_no_second_name() -> None:
    """`from_` is what `from` is called in Python, and passed the checks of networks by."""
    for rule in ("{from_: none, action: close}", "{from_: 10.0.0.0/8, action: close}"):
        assert faults_of(f"rulesets: {{check_vrfy: [{rule}]}}") == ["1:26: unknown key 'from_' (did you mean from?)"]


def test_a_last_rule_with_conditions_is_a_warning() -> None:
    """What it does not match is forwarded, which is not what refusing rule sets are for."""
    text = "networks: {in: [10.0.0.0/8]}\nrulesets:\n  check_vrfy:\n    - {from: in, action: reply}\n"
    assert warnings_of(text) == [
        "4:7: warning: the last rule of check_vrfy has conditions: what it does not match is forwarded"
    ]


def test_a_rule_behind_one_that_always_matches_is_a_warning() -> None:
    """A delay is no condition."""
    text = "rulesets:\n  check_vrfy:\n    - {delay: 1, action: reply}\n    - {action: forward}\n"
    assert warnings_of(text) == ["4:7: warning: never reached: the rule above matches always"]


@pytest.mark.parametrize("verb", ["XCLIENT", "BURL", "XPROXYTO"])
def test_forwarding_what_is_never_forwarded_is_a_warning(verb: str) -> None:
    """The file must not seem to allow it; to refuse it in another way is fine."""
    text = f"rulesets: {{check_{verb.lower()}: [{{from: 10.0.0.0/8, action: forward}}, {{action: reply}}]}}"
    (warning,) = warnings_of(text)
    assert warning.endswith(f": warning: {verb} is never forwarded, whatever the policy")
    assert warnings_of(f"rulesets: {{check_{verb.lower()}: [{{action: reply}}]}}") == []


def test_an_empty_network_is_a_warning() -> None:
    """Nobody is in it, so that `from` never holds."""
    assert warnings_of("networks: {in: []}") == ["1:16: warning: network 'in' is empty: no client is in it"]


# -- privacy options -----------------------------------------------------------------------------


def test_an_option_that_a_proxy_cannot_act_on_is_accepted_with_a_note() -> None:
    """A list copied from sendmail.mc works as it is."""
    options = ", ".join([*OPTIONS, *NO_EFFECT])
    notes = warnings_of(f"privacy_options: [{options}]")
    assert len(notes) == len(NO_EFFECT)
    for option, reason in NO_EFFECT.items():
        assert any(note.endswith(f": warning: {option} has no effect in a proxy: {reason}") for note in notes)


@pytest.mark.parametrize(
    ("options", "name"),
    [("novrfy", "check_vrfy"), ("goaway", "check_expn"), ("noexpn", "check_verb"), ("needmailhelo", "check_mail")],
)
def test_a_verb_in_privacy_options_and_in_rule_sets_is_an_error(options: str, name: str) -> None:
    """Which of the two is meant cannot be told."""
    verb = name.removeprefix("check_").upper()
    assert faults_of(f"privacy_options: [{options}]\nrulesets: {{{name}: [{{action: reply}}]}}") == [
        f"2:12: {verb} is ruled by privacy_options already: remove it there or here"
    ]


@pytest.mark.parametrize(
    ("option", "line", "greeted", "said"),
    [
        ("novrfy", "VRFY x", True, "252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)"),
        ("noexpn", "EXPN x", True, "502 5.7.0 Sorry, we do not allow this operation"),
        ("noexpn", "VERB", True, "502 5.7.0 Verbose unavailable"),
        ("noetrn", "ETRN x", True, "502 5.7.0 Sorry, we do not allow this operation"),
        ("noverb", "VERB", True, "502 5.7.0 Verbose unavailable"),
        ("needmailhelo", "MAIL FROM:<>", False, "503 5.0.0 Polite people say HELO first"),
        ("needmailhelo", "MAIL FROM:<>", True, "forward"),
        ("needvrfyhelo", "VRFY x", False, "503 5.0.0 I demand that you introduce yourself first"),
        ("needvrfyhelo", "VRFY x", True, "forward"),
        ("needexpnhelo", "EXPN x", False, "503 5.0.0 I demand that you introduce yourself first"),
        ("goaway", "MAIL FROM:<>", False, "503 5.0.0 Polite people say HELO first"),
        ("goaway", "ETRN x", True, "forward"),
        ("public", "VRFY x", False, "forward"),
        ("authwarnings", "VRFY x", False, "forward"),
    ],
)
def test_an_option_means_what_it_means_in_sendmail(option: str, line: str, greeted: bool, said: str) -> None:
    """The rule sets that it stands for, HELO or not."""
    assert outcome(f"privacy_options: [{option}]", line, greeted=greeted) == said


# -- the policy's own tests ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "faults"),
    [
        ("{}", ["1:9: from: is missing", "1:9: command: is missing", "1:9: expect: is missing"]),
        (
            "{from: internal, command: VRFY, expect: 252}",
            ["1:16: from: 'internal' is not an address: write it as 203.0.113.9 or 2001:db8::9"],
        ),
        (
            "{from: 10.0.0.0/8, command: VRFY, expect: 252}",
            ["1:16: from: '10.0.0.0/8' is not an address: write it as 203.0.113.9 or 2001:db8::9"],
        ),
        (
            "{from: 10.0.0.1, command: 252, expect: 252}",
            ["1:35: command: must be a text, not 252 (put it in quotes if it is meant)"],
        ),
        (
            "{from: 10.0.0.1, command: VRFY, expect: reply}",
            ["1:49: expect: 'reply' is none of forward, close or a reply code such as 252"],
        ),
        (
            "{from: 10.0.0.1, command: VRFY, expect: 0252}",
            ["1:49: expect: '0252' is none of forward, close or a reply code such as 252"],
        ),
        (
            "{from: 10.0.0.1, command: VRFY, expect: 354}",
            ["1:49: expect: 354 is none of forward, close or a reply code such as 252"],
        ),
        (
            "{from: 10.0.0.1, command: VRFY, expect: no}",
            ["1:49: expect: 'no' is none of forward, close or a reply code such as 252"],
        ),
        (
            "{from: 10.0.0.1, command: VRFY, expect: 252, tls: no}",
            ["1:59: tls: must be true or false, not 'no' (write false)"],
        ),
        (
            "{form: 10.0.0.1, command: VRFY, expect: 252}",
            ["1:9: from: is missing", "1:10: unknown key 'form' (did you mean from?)"],
        ),
    ],
)
def test_a_test_that_cannot_be_run_is_refused(test: str, faults: list[str]) -> None:
    """As any other part of the file."""
    assert sorted(faults_of(f"tests: [{test}]")) == sorted(faults)


def test_a_test_that_fails_says_what_it_got_and_from_which_rule() -> None:
    """At the place of the test."""
    text = """\
rulesets:
  check_vrfy:
    - {from: 10.0.0.0/8, action: close}
    - {action: reply}
tests:
  - {from: 10.0.0.1, command: VRFY x, expect: close}
  - {from: 10.0.0.1, command: VRFY x, expect: 421}
  - {from: 192.0.2.1, command: VRFY x, expect: forward}
  - {from: 192.0.2.1, command: NOOP, expect: 250}
  - {from: 192.0.2.1, command: " NOOP", expect: 500}
  - {from: 192.0.2.1, command: "NOOP\\0", expect: close}
  - {from: 192.0.2.1, command: XCLIENT x, expect: forward}
"""
    assert [str(fault) for fault in policy(text).failures()] == [
        "f:8:5: test failed: 192.0.2.1 'VRFY x': expected forward, got 252 2.5.2 Cannot VRFY user; "
        "try RCPT to attempt delivery (or try finger) (f:4 check_vrfy, rule 2)",
        "f:9:5: test failed: 192.0.2.1 'NOOP': expected 250, got forward (no rule)",
        "f:12:5: test failed: 192.0.2.1 'XCLIENT x': expected forward, got 500 5.5.1 Command unrecognized "
        "(never forwarded, whatever the policy)",
    ]


def test_tests_assume_ehlo_and_neither_tls_nor_auth_unless_told() -> None:
    """A client that has not greeted has not said EHLO either."""
    text = """\
rulesets:
  check_vrfy:
    - {esmtp: true, greeted: true, tls: false, authenticated: false, listener: "", action: reply}
    - {esmtp: false, greeted: false, action: reply, reply: 503 5.0.0 second}
    - {tls: true, action: reply, reply: 550 5.7.1 third}
    - {authenticated: true, action: reply, reply: 550 5.7.1 fourth}
    - {esmtp: false, greeted: true, action: reply, reply: 550 5.7.1 fifth}
    - {listener: inside, action: reply, reply: 550 5.7.1 sixth}
    - {action: close}
"""
    assert outcome(text, "VRFY x").startswith("252 ")
    assert outcome(text, "VRFY x", greeted=False) == "503 5.0.0 second"
    assert outcome(text, "VRFY x", tls=True) == "550 5.7.1 third"
    assert outcome(text, "VRFY x", authenticated=True) == "550 5.7.1 fourth"
    assert outcome(text, "VRFY x", esmtp=False) == "550 5.7.1 fifth"
    assert outcome(text, "VRFY x", listener="inside") == "550 5.7.1 sixth"


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_has_no_faults_no_warnings_and_passes_its_tests(name: str) -> None:
    """And it has tests from inside and from outside."""
    shipped = policy_file.load(policy_file.find(name))
    assert shipped.warnings == ()
    assert list(shipped.failures()) == []
    assert len(shipped.tests) >= 6
    assert Path(shipped.path) == ROOT / f"policies/{name}.yaml"


def test_all_policies_of_the_folder_are_shipped() -> None:
    """A policy that `--policy` does not know by name would be dead weight."""
    assert sorted(path.stem for path in (ROOT / "policies").iterdir()) == sorted(SHIPPED)


def test_a_policy_is_a_file_or_the_name_of_a_shipped_one(tmp_path: Path) -> None:
    """A name that is neither is answered with the nearest."""
    own = tmp_path / "own.yaml"
    own.write_text("rulesets: {}\n")
    assert policy_file.load(policy_file.find(str(own))).rules == ()
    with pytest.raises(FileNotFoundError, match="no such policy file"):
        policy_file.find("a" * 300)
    with pytest.raises(FileNotFoundError, match=r"nor a shipped policy \(did you mean perimeter\?\)"):
        policy_file.find("perimter")
    with pytest.raises(
        FileNotFoundError, match=f"no such policy file, nor a shipped policy: '{tmp_path}{os.sep}none.yaml'"
    ):
        policy_file.find(str(tmp_path / "none.yaml"))


def test_a_version_is_that_of_the_content_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an absolute path or a relative one, or on another host; files of `relay_domains` are content, too."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "policy.yaml").write_text("relay_domains: domains\nrulesets: {}\n")
        (tmp_path / folder / "domains").write_text("example.org\nexample.net\n")
    monkeypatch.chdir(tmp_path / "a")
    version = policy_file.load("policy.yaml").version
    assert len(version) == policy_file.VERSION_DIGITS
    assert policy_file.load(tmp_path / "a" / "policy.yaml").version == version
    assert policy_file.load(tmp_path / "b" / "policy.yaml").version == version
    (tmp_path / "b" / "domains").write_text("example.org\n")
    assert policy_file.load(tmp_path / "b" / "policy.yaml").version != version
    (tmp_path / "a" / "policy.yaml").write_text("relay_domains: domains\nrulesets: {}\n# x\n")
    assert policy_file.load("policy.yaml").version != version


def test_a_place_in_a_rule_names_the_file_as_it_was_given(tmp_path: Path) -> None:
    """So that an editor can jump to it from the log."""
    own = tmp_path / "own.yaml"
    own.write_text(
        "rulesets:\n  check_vrfy:\n  - action: reply\ntests: [{from: 10.0.0.1, command: VRFY x, expect: 252}]\n"
    )
    loaded = policy_file.load(own)
    (test,) = loaded.tests
    assert loaded.decide(test.model).verdict.rule == f"{own}:3 check_vrfy, rule 1"
    assert test.place == (4, 9)


# -- relaying --------------------------------------------------------------------------------------------


def relaying(folder: Path, text: str) -> list[str]:
    """Return the faults and warnings of a policy that names files in `folder`."""
    path = folder / "policy.yaml"
    path.write_text(text + "\nrulesets: {}\n")
    try:
        return [str(fault).removeprefix(f"{folder}/") for fault in load(path).warnings]
    except Faulty as error:
        return [str(fault).removeprefix(f"{folder}/") for fault in error.faults]


def test_relay_domains_come_from_the_policy_or_from_sendmails_own_files(tmp_path: Path) -> None:
    """Looked for beside the policy."""
    (tmp_path / "relay-domains").write_text("example.org\n")
    (tmp_path / "local-host-names").write_text("mx.example.net\n")
    (tmp_path / "access").write_text("To:example.com\tRELAY\nConnect:127 RELAY\n")
    text = "relay_domains: {domains: a.example, files: relay-domains, local: local-host-names, access: access}"
    assert relaying(tmp_path, text) == []
    rules = load(tmp_path / "policy.yaml").policy
    for domain in ("a.example", "example.org", "sub.example.org", "mx.example.net", "example.com"):
        assert rules.relays_to(f"george@{domain}"), domain
    for domain in ("b.a.example", "x.mx.example.net", "elsewhere.example"):
        assert not rules.relays_to(f"george@{domain}"), domain
    assert relaying(tmp_path, "relay_domains: relay-domains") == []


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("relay_domains: missing", ["policy.yaml:1:16: relay_domains: missing: No such file or directory"]),
        ("relay_domains: []", ["policy.yaml:1:16: relay_domains: no domain: outsiders could send no mail at all"]),
        ("relay_domains: {}", ["policy.yaml:1:16: relay_domains: no domain: outsiders could send no mail at all"]),
        (
            "relay_domains: ['!example.org']",
            ["policy.yaml:1:16: relay_domains: no domain: outsiders could send no mail at all"],
        ),
        ("relay_domains: 7", ["policy.yaml:1:16: relay_domains: must be a mapping of `key: value`, not 7"]),
        ("auth: {require_tls: on}", ["policy.yaml:1:21: require_tls: must be true or false, not 'on' (write true)"]),
    ],
)
def test_relay_domains_that_mean_nothing_are_a_fault(tmp_path: Path, text: str, faults: list[str]) -> None:
    """A file that is gone must not mean that everything is relayed, nor that nothing is."""
    assert relaying(tmp_path, text) == faults


def test_an_exception_that_takes_nothing_is_told(tmp_path: Path) -> None:
    """Who writes one beside a file means that file, for which it does not hold."""
    (tmp_path / "relay-domains").write_text("example.net\n")
    exceptions = '"!a.example.org", "!.example.org", "!b.example.net"'
    told = relaying(tmp_path, f"relay_domains: {{domains: [.example.org, {exceptions}], files: relay-domains}}")
    takes = "takes nothing: no domain of this list is around it, and it holds for no other list or file"
    assert told == [
        f"policy.yaml:1:59: warning: !.example.org {takes}",
        f"policy.yaml:1:76: warning: !b.example.net {takes}",
    ]
    assert load(tmp_path / "policy.yaml").policy.relays_to("george@b.example.net")


def test_the_faults_of_a_file_that_is_named_have_its_place(tmp_path: Path) -> None:
    """Beside the policy's own."""
    (tmp_path / "relay-domains").write_text("example.org\nwhat@ever\n")
    (first, second) = relaying(tmp_path, "relay_domains: relay-domains\nx: 1")
    assert first.startswith("policy.yaml:2:1: unknown key 'x'")
    assert second.startswith("relay-domains:2:1: ")


def test_tests_of_a_policy_may_suppose_tls_and_names() -> None:
    """A name in a certificate supposes TLS."""
    rules = "rulesets: {check_vrfy: [{tls_name: mx.test, action: forward}, {action: reply}]}"
    assert outcome(rules, "VRFY x", tls_name=["MX.test"]) == "forward"
    assert outcome(rules, "VRFY x", tls=True).startswith("252 ")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("rulesets: {check_vrfy: [{action: reply}]}", ()),
        ("shadow: true\nrulesets: {check_vrfy: [{action: reply}]}", ("the whole policy",)),
        (
            "shadow: true\nrelay_domains: {domains: [x.test], shadow: false}\nbanner: x\nauth: {require_tls: true}\n"
            "rulesets: {check_vrfy: [{action: reply}, {action: close, shadow: false}], check_expn: [{action: reply}]}",
            ("banner", "auth", "check_vrfy, rule 1", "check_expn"),
        ),
        (
            "limits: {a: {count: probes, rate: 1/hour, then: close, shadow: true}}\n"
            "rulesets: {check_vrfy: {shadow: true, rules: [{action: reply}]}}",
            ("limit a", "check_vrfy"),
        ),
    ],
)
def test_what_is_in_shadow_is_named(text: str, wanted: tuple[str, ...]) -> None:
    """The nearest `shadow` counts."""
    assert policy_file.build(read(text, "p.yaml")).shadow == wanted


def test_a_rule_in_shadow_keeps_none_behind_it_from_being_reached() -> None:
    """No warning; and a rule set as a mapping has its faults at their places."""
    text = "rulesets: {check_vrfy: [{action: reply, shadow: true}, {action: reply}]}"
    assert policy_file.build(read(text, "p.yaml")).warnings == ()
    assert faults_of("rulesets: {check_vrfy: {shadow: maybe, rules: [{action: reply}, {form: a}]}}") == [
        "1:33: shadow: must be true or false, not 'maybe'",
        "1:66: unknown key 'form' (did you mean from?)",
    ]


def test_a_policys_tests_are_of_what_it_means_to_do() -> None:
    """So nobody need change them to try a policy."""
    text = "shadow: true\nrulesets: {check_vrfy: [{action: reply}]}\n"
    text += "tests: [{from: 192.0.2.1, command: VRFY a, expect: 252}]"
    assert [*policy_file.build(read(text, "p.yaml")).failures()] == []
