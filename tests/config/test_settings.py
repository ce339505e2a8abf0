"""The settings file: strict, all faults at once, and flags win over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smtpguard.config.endpoints import CLIENT_FORMS, SERVER_FORMS
from smtpguard.config.faults import Faulty
from smtpguard.config.fields import LONGEST_WAIT
from smtpguard.config.settings import Settings, load, policy_named_in
from smtpguard.policy.networks import NetworkTable
from smtpguard.policy.rules import Policy

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
        "6:11: to: 'sylog' is none of stderr, syslog, both (did you mean syslog?)",
        "6:25: level: must be a whole number, not '9'",
        "6:37: ident: must match pattern '^[A-Za-z0-9_.-]{1,32}$', not 'a b'",
        "6:49: style: 'clasic' is none of sendmail, classic (did you mean classic?)",
        "6:65: format: 'yaml' is none of text, json",
        "6:71: 'level' is already set on line 6: remove one of them",
        "7:20: sessions: must be greater than 0, not 0",
        "7:45: sessions_per_address: must be a whole number, not 1.5",
        "7:57: queue: must be greater than or equal to 16384, not 4000",
        "7:63: unknown key 'line' (known: queue, reply, reply_line, sessions, sessions_per_address)",
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
        ("", ["1:1: listen: is missing", "1:1: backend: is missing"]),
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
    assert (loaded.log.to, loaded.log.style, loaded.log.level, loaded.log.ident) == (
        "stderr",
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
    with pytest.raises(Faulty, match=r"^command line:1:1: backend: is missing$"):
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
