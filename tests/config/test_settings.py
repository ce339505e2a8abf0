"""The settings file: strict, all faults at once, and flags win over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smtpguard.config.endpoints import CLIENT_FORMS, SERVER_FORMS
from smtpguard.config.faults import Faulty
from smtpguard.config.fields import LONGEST_WAIT
from smtpguard.config.policy_file import build
from smtpguard.config.settings import Settings, load, policy_named_in
from smtpguard.config.yaml_reader import read
from smtpguard.policy.networks import NetworkTable
from smtpguard.policy.rules import Policy
from smtpguard.smtp.terms import StartTls

LEAST = "listen: tcp:25\nbackend: tcp:127.0.0.1:2525\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings file is."""
    return tmp_path / "smtpguard.yaml"


def settings(file: Path, text: str, **flags: Any) -> Settings:
    """Read settings without faults."""
    file.write_text(text)
    return load(file, flags).settings


def faults_of(file: Path, text: str, **flags: Any) -> list[str]:
    """Return all faults, without the file's name."""
    file.write_text(text)
    with pytest.raises(Faulty) as caught:
        load(file, flags)
    return [str(fault).removeprefix(f"{file}:") for fault in caught.value.faults]


def test_all_faults_of_a_file_come_at_once_in_the_order_of_the_file(file: Path) -> None:
    """Each at its place, with what to write instead."""
    text = """\
listen: [25, "tcp:25:interface=::1", {endpoint: tcp:25, nme: x}, {name: y}]
backend: {endpoint: "tcp:127.0.0.1", bind: {internal: 300.0.0.1}, bnd: 127.0.0.1}
policy: 17
relay_check: no
relay_check_recipient: root
log: {to: sylog, level: "9", ident: a b, style: clasic, format: yaml, level: 3}
limits: {sessions: 0, sessions_per_address: 1.5, queue: 4000, line: 2000, reply_line: 1e6, reply: true}
timeouts: {connect: 12:30, banner: -1, command: 90000, reply: "30", shutdown: 0x10, linger: no}
dns: {names: no, servers: [ns.example.org], timeout: 0, cache: !!int 3}
relay-check: off
"""
    assert faults_of(file, text) == [
        "1:10: listen: must be a mapping of `key: value`, not 25",
        "1:14: endpoint: 'tcp:25:interface=::1' has a part too many; colons of an IPv6 address are written \\: - "
        f"forms: {SERVER_FORMS}",
        "1:57: unknown key 'nme' (did you mean name?)",
        "1:66: endpoint: is missing",
        f"2:21: endpoint: 'tcp:127.0.0.1' has no port from 1 to 65535: write {CLIENT_FORMS}",
        "2:55: internal: '300.0.0.1' is not an address: write it as 192.0.2.25 or 2001:db8::25",
        "2:67: unknown key 'bnd' (did you mean bind?)",
        "3:9: policy: must be a text, not 17 (put it in quotes if it is meant)",
        "4:14: relay_check: 'no' is none of enforce, warn, off",
        "5:24: relay_check_recipient: must match pattern '^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+$', not 'root'",
        "6:11: to: 'sylog' is none of stderr, syslog, file (did you mean syslog?)",
        "6:25: level: must be a whole number, not '9'",
        "6:37: ident: must match pattern '^[A-Za-z0-9_.-]{1,32}$', not 'a b'",
        "6:49: style: 'clasic' is none of sendmail, classic (did you mean classic?)",
        "6:65: format: 'yaml' is none of text, json",
        "6:71: 'level' is already set on line 6: remove one of them",
        "7:20: sessions: must be greater than 0, not 0",
        "7:45: sessions_per_address: must be a whole number, not 1.5",
        "7:57: queue: must be greater than or equal to 16384, not 4000",
        "7:63: unknown key 'line' (known: data_rate, data_rate_seconds, queue, reply, reply_line, sessions, "
        "sessions_per_address)",
        "7:87: reply_line: must be a whole number, not '1e6'",
        "7:99: reply: must be a whole number, not True",
        "8:21: connect: must be a number, not '12:30'",
        "8:36: banner: must be greater than 0, not -1",
        f"8:49: command: must be less than or equal to {LONGEST_WAIT}, not 90000",
        "8:63: reply: must be a number, not '30'",
        "8:79: shutdown: must be a number, not '0x10'",
        "8:93: linger: must be a number, not 'no'",
        "9:14: names: must be true or false, not 'no' (write false)",
        "9:28: servers: 'ns.example.org' is not an address: write it as 192.0.2.25 or 2001:db8::25",
        "9:54: timeout: must be greater than 0, not 0",
        "9:64: tag tag:yaml.org,2002:int is not allowed here: leave it out, or quote the ! if it is meant",
        "10:1: unknown key 'relay-check' (did you mean relay_check?)",
    ]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            "",
            [
                '1:1: listen: is missing: where clients come to, as in `listen: ["tcp:25:interface=0.0.0.0"]`',
                "1:1: backend: is missing: the mail server, as in `backend: tcp:127.0.0.1:2525`",
            ],
        ),
        ("[]", ["1:1: the file must be a mapping of `key: value` lines"]),
        ("listen: []\nbackend: tcp:h:25", ["1:9: listen: must not be empty"]),
        ("listen:\nbackend: tcp:h:25", ["1:8: listen: must be a mapping of `key: value`, not nothing"]),
        (f"{LEAST}log:", ["3:5: log: must be a mapping of `key: value`, not nothing"]),
        (f"{LEAST}limits: [1]", ["3:9: limits: must be a mapping of `key: value`, not [1]"]),
        (f"{LEAST}policy:", ["3:8: policy: must be a text, not nothing (put it in quotes if it is meant)"]),
    ],
)
def test_what_is_missing_or_empty_is_a_fault(file: Path, text: str, faults: list[str]) -> None:
    """A section that was cut off does not silently become the default."""
    assert sorted(faults_of(file, text)) == sorted(faults)


def test_the_shortest_file_gives_the_defaults(file: Path) -> None:
    """A string stands for a list of one, or for a mapping with an endpoint."""
    loaded = settings(file, LEAST)
    assert [listener.endpoint for listener in loaded.listen] == ["tcp:25"]
    assert loaded.backend.endpoint == "tcp:127.0.0.1:2525"
    assert loaded.backend.bind == {}
    assert (loaded.policy, loaded.relay_check) == ("internal-vrfy", "enforce")
    assert (loaded.log.to, loaded.log.style, loaded.log.level, loaded.log.program) == (
        ["stderr"],
        "sendmail",
        9,
        "smtpguard",
    )
    assert loaded == Settings.model_validate({"listen": ["tcp:25"], "backend": {"endpoint": "tcp:127.0.0.1:2525"}})


def test_every_form_of_the_two_lists_is_read(file: Path) -> None:
    """Listeners have names for the policy; the backend has source addresses."""
    loaded = settings(
        file,
        "listen: ['tcp:25', {endpoint: 'tcp:587', name: submission}]\n"
        "backend: {endpoint: 'tcp:h:25', bind: {internal: 127.0.0.1, default: '::1'}}\n",
    )
    assert [listener.label for listener in loaded.listen] == ["tcp:25", "submission"]
    assert loaded.backend.bind == {"internal": "127.0.0.1", "default": "::1"}
    loaded = settings(file, "listen: {endpoint: 'tcp:587'}\nbackend: {endpoint: 'tcp:h:25', bind: 127.0.0.25}\n")
    assert loaded.listen[0].label == "tcp:587"
    assert loaded.backend.bind == {"default": "127.0.0.25"}


def test_whole_and_broken_numbers_of_seconds_are_read(file: Path) -> None:
    """30 is as good as 30.0."""
    timeouts = settings(file, f"{LEAST}timeouts: {{connect: 5, banner: 0.25}}").timeouts
    assert (timeouts.connect, timeouts.banner) == (5.0, 0.25)


def test_flags_win_over_the_file(file: Path) -> None:
    """All listeners are replaced; what was not given stays."""
    text = "listen: [tcp:25, tcp:587]\nbackend: tcp:h:25\npolicy: perimeter\nrelay_check: warn\n"
    flags = {"listen": ["tcp:2525"], "backend": "tcp:other:25", "policy": "no-vrfy", "relay_check": "off"}
    changed = settings(file, text, **flags)
    assert [listener.endpoint for listener in changed.listen] == ["tcp:2525"]
    assert (changed.backend.endpoint, changed.policy, changed.relay_check) == ("tcp:other:25", "no-vrfy", "off")
    unchanged = settings(file, text, listen=[], backend=None, policy=None, relay_check=None)
    assert len(unchanged.listen) == 2
    assert (unchanged.backend.endpoint, unchanged.policy, unchanged.relay_check) == ("tcp:h:25", "perimeter", "warn")


def test_the_source_addresses_hold_for_a_backend_given_as_a_flag(file: Path) -> None:
    """Otherwise the flag would make the guard an open relay."""
    text = "listen: tcp:25\nbackend: {endpoint: 'tcp:h:25', bind: {default: 127.0.0.25}}\n"
    backend = settings(file, text, backend="tcp:127.0.0.1:2526").backend
    assert (backend.endpoint, backend.bind) == ("tcp:127.0.0.1:2526", {"default": "127.0.0.25"})


def test_flags_alone_are_enough() -> None:
    """As in `smtpguard run --listen ... --backend ...`."""
    loaded = load(None, {"listen": ["tcp:25"], "backend": "tcp:h:25", "policy": None, "relay_check": None})
    assert loaded.settings.policy == "internal-vrfy"
    with pytest.raises(Faulty, match=r"^command line:1:1: backend: is missing: the mail server, as in "):
        load(None, {"listen": ["tcp:25"]})


def test_a_policy_is_looked_for_beside_the_settings_file_first(file: Path) -> None:
    """The guard may be started from anywhere; a flag is relative to where it is typed."""
    beside = file.with_name("site.yaml")
    beside.write_text("rulesets: {}\n")
    text = f"{LEAST}policy: site.yaml\n"
    assert settings(file, text).policy == str(beside)
    assert settings(file, text, policy="site.yaml").policy == "site.yaml"
    assert settings(file, f"{LEAST}policy: {beside}\n").policy == str(beside)
    assert settings(file, f"{LEAST}policy: perimeter\n").policy == "perimeter"


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000, "ä" * 128, "a/" + "b" * 256 + "/c"])
def test_a_policy_whose_name_no_file_can_have_is_a_fault(file: Path, name: str) -> None:
    """The system would refuse to look for it."""
    assert faults_of(file, f"{LEAST}policy: {name}\n") == ["3:9: policy: no file has so long a name"]
    assert policy_named_in(file) == name
    with pytest.raises(Faulty, match=r"^command line:1:1: policy: no file has so long a name$"):
        load(None, {"listen": ["tcp:25"], "backend": "tcp:h:25", "policy": name})


def test_the_longest_names_are_looked_for(file: Path) -> None:
    """Whether there is room for the folder in front is the system's business."""
    for name in ("a" * 255, "a/" * 2047):
        assert settings(file, f"{LEAST}policy: {name}\n").policy == name


def test_the_policy_of_a_faulty_file_is_known_all_the_same(file: Path) -> None:
    """So that `check` can name the faults of both."""
    for text, name in [
        ("listen: 7\npolicy: perimeter", "perimeter"),
        ("policy: [a]", None),
        ("a: [", None),
        ("- a", None),
        ("", None),
    ]:
        file.write_text(text)
        assert policy_named_in(file) == name


def naming(*networks: str) -> Policy:
    """Return a policy with these networks."""
    return Policy(NetworkTable(dict.fromkeys(networks, ())), {})


def test_a_source_address_for_an_unknown_network_is_a_fault(file: Path) -> None:
    """It takes the policy to see it."""
    text = "listen: tcp:25\nbackend:\n  endpoint: tcp:h:25\n  bind: {intern: 127.0.0.1, default: 127.0.0.25}\n"
    file.write_text(text)
    loaded = load(file, {})
    assert [str(fault) for fault in loaded.faults_with(naming("internal", "dmz"))] == [
        f"{file}:4:10: bind: unknown network 'intern' (did you mean internal?)"
    ]
    assert loaded.faults_with(naming("intern")) == []


def test_a_file_that_is_not_there_is_no_fault_of_its_content(tmp_path: Path) -> None:
    """The command has another exit status for it."""
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.yaml", {})


# -- who the client is, and TLS ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{proxy_protocol: required}", "trusted: say whose PROXY headers are believed, as in trusted: [192.0.2.1]"),
        ("{trusted: 192.0.2.1}", "trusted: it is about PROXY headers: set proxy_protocol: required, or remove it"),
        ("{proxy_protocol: required, trusted: [10.0.0.1/8]}", "10.0.0.1/8 has host bits set: write 10.0.0.0/8 or"),
        ("{proxy_protocol: optional}", "proxy_protocol: 'optional' is none of none, required"),
        ("{tls: implicit}", "tls: implicit needs certificates: write starttls: {certificates: ...} beside it"),
        ("{tls: implicit, starttls: {passthrough: a}}", "tls: implicit needs certificates"),
        ("{tls: implicit, starttls: {certificates: x, passthrough: a}}", "passthrough: there is no STARTTLS where"),
        ("{starttls: {}}", "starttls: it needs `certificates`, or `passthrough`"),
        ("{starttls: {passthrough: a, client_ca: x}}", "passphrase_file and client_ca are of no use without"),
        ("{starttls: {certificate: x}}", "unknown key 'certificate' (did you mean certificates?)"),
        ("{starttls: {certificates: [{key: x}]}}", "chain: is missing"),
    ],
)
def test_a_listener_that_cannot_be_what_it_says_is_a_fault(file: Path, text: str, fault: str) -> None:
    """At check, not at the first client."""
    listener = text.replace("{", "{endpoint: tcp:25, ", 1)
    assert fault in "\n".join(faults_of(file, f"listen: [{listener}]\nbackend: tcp:127.0.0.1:2525\n"))


def test_headers_on_a_unix_socket_could_come_from_anybody(file: Path) -> None:
    """Such a peer has no address that could be trusted."""
    text = "listen: {endpoint: 'unix:/run/x', proxy_protocol: required, trusted: 192.0.2.1}\nbackend: tcp:h:25\n"
    assert "who connects to a unix socket has no address" in faults_of(file, text)[0]


@pytest.mark.parametrize(
    ("backend", "fault"),
    [
        ("endpoint: tcp:mx:25, identity: transparent", "identity: transparent needs the backend's address"),
        ("endpoint: unix:/run/x, identity: transparent", "identity: transparent needs the backend's address"),
        ("endpoint: tcp:127.0.0.1:25, identity: transparent, bind: 127.0.0.25", "the source address is the client's"),
        ("endpoint: tcp:127.0.0.1:25:bindAddress=127.0.0.2, identity: transparent", "the source address is the client"),
        ("endpoint: tcp:127.0.0.1:25, endpoint_ipv6: 'tcp:\\:\\:1:25'", "endpoint_ipv6 belongs to `identity: trans"),
        ("endpoint: tcp:127.0.0.1:25, endpoint_ipv6: tcp:127.0.0.2:25, identity: transparent", "and has an IPv6 addr"),
        ("endpoint: 'tcp:\\:\\:1:25', identity: transparent", "set backend.endpoint to an IPv4 address"),
        ("endpoint: tcp:127.0.0.1:25, identity: xclint", "is none of none, transparent, proxy-v1, proxy-v2, xclient"),
        ("endpoint: tcp:127.0.0.1:25, server_name: mx.test", "only `starttls: required` verifies"),
        ("endpoint: tcp:127.0.0.1:25, starttls: opportunistic, ca: x.pem", "only `starttls: required` verifies"),
        ("endpoint: unix:/run/x, starttls: required", "a unix socket has no name that could be verified"),
        ("endpoint: tcp:h:25, starttls: required, server_name: a..b", "no certificate can have the name 'a..b'"),
        ("endpoint: tcp:h..x:25, starttls: opportunistic", "no certificate can have the name 'h..x'"),
        ("endpoint: tcp:127.0.0.1:25, starttls: yes", "'yes' is none of none, opportunistic, required"),
    ],
)
def test_a_backend_that_cannot_be_told_who_the_client_is_is_a_fault(file: Path, backend: str, fault: str) -> None:
    """Each with what to write instead."""
    assert fault in "\n".join(faults_of(file, f"listen: tcp:2500\nbackend: {{{backend}}}\n"))


def test_clients_of_a_family_that_the_backend_cannot_be_shown_are_a_fault(file: Path) -> None:
    """Each of them would get a 421."""
    backend = "backend: {endpoint: tcp:127.0.0.1:2525, identity: transparent}\n"
    (fault,) = faults_of(file, f"listen: [tcp:25, 'tcp6:25:interface=\\:\\:']\n{backend}")
    assert "clients of IPv6 (tcp6:25:interface=\\:\\:) cannot come to tcp:127.0.0.1:2525" in fault
    assert "set backend.endpoint_ipv6 to an IPv6 address" in fault
    (fault,) = faults_of(file, f"listen: unix:/run/x\n{backend}")
    assert "clients of unix:/run/x have no address" in fault
    both = "backend: {endpoint: tcp:127.0.0.1:2525, endpoint_ipv6: 'tcp:\\:\\:1:2525', identity: transparent}\n"
    assert settings(file, f"listen: [tcp:25, 'tcp6:25:interface=\\:\\:']\n{both}").backend.families == {4, 6}


@pytest.mark.parametrize("identity", ["transparent", "proxy-v1", "proxy-v2"])
def test_a_client_without_an_address_cannot_be_shown(file: Path, identity: str) -> None:
    """Each of them would get a 421."""
    text = f"listen: unix:/run/x\nbackend: {{endpoint: tcp:127.0.0.1:2525, identity: {identity}}}\n"
    assert f"under `identity: {identity}` clients of unix:/run/x have no address" in faults_of(file, text)[0]


def test_a_second_endpoint_that_is_the_guard_itself_is_a_fault(file: Path) -> None:
    """It would connect to itself until there are no descriptors left."""
    text = (
        "listen: ['tcp:25', 'tcp6:2525:interface=\\:\\:1']\n"
        "backend: {endpoint: tcp:127.0.0.1:2525, endpoint_ipv6: 'tcp:\\:\\:1:2525', identity: transparent}\n"
    )
    assert "tcp:\\:\\:1:2525 is a listener of this guard" in faults_of(file, text)[0]


def test_what_passes_through_is_told_where_relay_domains_would_not_hold(file: Path) -> None:
    """A warning: the relay check counts then."""
    file.write_text("listen: [{endpoint: tcp:25, starttls: {passthrough: old}}]\nbackend: tcp:h:25\n")
    loaded = load(file, {})
    plain, relaying = (
        build(read(f"networks: {{old: [192.0.2.0/24]}}\n{key}rulesets: {{}}", "f")).policy
        for key in ("", "relay_domains: [example.org]\n")
    )
    assert loaded.warnings_with(plain) == []
    (warning,) = loaded.warnings_with(relaying)
    assert str(warning) == (
        f"{file}:1:40: warning: passthrough: no rule holds behind it, `relay_domains` included, "
        "so the relay check counts"
    )


def test_one_starttls_of_the_backend_cannot_be_used_twice(file: Path) -> None:
    """Through a connection that is encrypted already nothing can be passed."""
    text = (
        "listen: {endpoint: tcp:25, starttls: {passthrough: a}}\nbackend: {endpoint: tcp:h:25, starttls: opportunistic}"
    )
    assert "passthrough: the backend's STARTTLS is used by `backend.starttls` already" in faults_of(file, text)[0]


def test_a_network_to_pass_through_must_be_one_of_the_policy(file: Path) -> None:
    """A name that nobody has would look like a permission."""
    file.write_text("listen:\n  - {endpoint: tcp:25, starttls: {passthrough: [legacy, intern]}}\nbackend: tcp:h:25\n")
    assert [str(fault) for fault in load(file, {}).faults_with(naming("internal", "legacy"))] == [
        f"{file}:2:57: passthrough: unknown network 'intern' (did you mean internal?)"
    ]


def test_the_relay_check_must_ask_for_a_domain_elsewhere(file: Path) -> None:
    """Where the guard itself refuses the rest."""
    file.write_text("listen: tcp:25\nbackend: tcp:h:25\nrelay_check_recipient: a@example.org\n")
    rules = build(read("relay_domains: [example.org]\nrulesets: {}", "f")).policy
    assert [str(fault) for fault in load(file, {}).faults_with(rules)] == [
        f"{file}:3:24: relay_check_recipient: a@example.org is in `relay_domains` of the policy: "
        "name an address elsewhere"
    ]


def test_paths_begin_at_the_files_folder(file: Path) -> None:
    """Wherever the guard is started; absolute ones stay."""
    text = (
        "listen:\n  - {endpoint: tcp:25, starttls: {certificates: [tls, {chain: a, key: /k}], client_ca: ca.pem}}\n"
        "backend: {endpoint: tcp:h:25, starttls: required, ca: ca.pem}\n"
    )
    found = settings(file, text)
    starttls = found.listen[0].starttls
    assert starttls is not None
    assert [one.chain for one in starttls.certificates] == [str(file.parent / "tls"), str(file.parent / "a")]
    assert starttls.certificates[1].key == "/k"
    assert starttls.client_ca == found.backend.ca == str(file.parent / "ca.pem")
    assert found.backend.certified_name(found.backend.endpoint) == "h"


@pytest.mark.parametrize(
    ("listener", "networks", "offer"),
    [
        ("{endpoint: tcp:25}", [], StartTls.HIDDEN),
        ("{endpoint: tcp:25, starttls: {certificates: x}}", [], StartTls.OFFERED),
        ("{endpoint: tcp:25, starttls: {passthrough: old}}", ["internal"], StartTls.HIDDEN),
        ("{endpoint: tcp:25, starttls: {passthrough: old}}", ["internal", "old"], StartTls.PASSED),
        ("{endpoint: tcp:25, starttls: {certificates: x, passthrough: [old]}}", ["old"], StartTls.PASSED),
        ("{endpoint: tcp:25, starttls: {certificates: x, passthrough: [old]}}", [], StartTls.OFFERED),
        ("{endpoint: tcp:465, tls: implicit, starttls: {certificates: x}}", [], StartTls.HIDDEN),
    ],
)
def test_starttls_depends_on_listener_and_client(
    file: Path, listener: str, networks: list[str], offer: StartTls
) -> None:
    """Passed through for the networks named, and for nobody else."""
    found = settings(file, f"listen: {listener}\nbackend: tcp:127.0.0.1:2525\n")
    assert found.listen[0].offers(networks) is offer
