"""`limits` and `prefixes` in a policy file: what they may be, and what is said of what they may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from smtpguard.cli.main import main
from smtpguard.config import policy_file
from smtpguard.config.faults import Faulty
from smtpguard.config.yaml_reader import read
from smtpguard.policy.limits import By, Hardness, Limit, Rate, Step, span
from smtpguard.policy.networks import Peer

from .support import policy, with_limits


def faults_of(text: str) -> list[str]:
    """Return what is wrong with a file."""
    try:
        policy_file.build(read(text, "p.yaml"))
    except Faulty as error:
        return [str(fault).removeprefix("p.yaml:") for fault in error.faults]
    return []


def one_limit(text: str) -> str:
    """Return a file with one limit."""
    return f"limits: {{a: {{{text}}}}}\nrulesets: {{}}\n"


def test_a_ladder_is_read_as_it_is_written() -> None:
    """Steps, times, what is counted together, and who is exempt."""
    limits = policy(
        "limits:\n"
        "  scanners: {count: probes, rate: 20/hour, then: [{delay: 5}, {over: 40, close: true}, {over: 60, ban: 2h}]}\n"
        "  crowd: {count: parallel, most: 20, by: address, except: [], then: close}\n"
        "prefixes: {ipv6: 56}\n"
    ).limits
    scanners, crowd = limits.all
    assert scanners == Limit(
        "scanners",
        "probes",
        Rate(20, 3600),
        (Step(20, Hardness.DELAY, 5.0), Step(40, Hardness.CLOSE), Step(60, Hardness.BAN, 7200.0)),
        By.PREFIX,
        1,
        "policy.yaml:8",
    )
    assert (crowd.rate, crowd.most, crowd.by, crowd.except_bits) == (None, 20, By.ADDRESS, 0)
    assert (limits.prefixes.ipv4, limits.prefixes.ipv6) == (32, 56)


def test_a_policy_that_says_nothing_has_none() -> None:
    """And nothing is counted."""
    assert policy("").limits.all == ()


@pytest.mark.parametrize(
    ("rate", "amount", "seconds"),
    [
        ("20/hour", 20, 3600),
        ("10 per 2 minutes", 10, 120),
        ("1/5seconds", 1, 5),
        ("0/day", 0, 86400),
        ("3 / 1 Hour", 3, 3600),
    ],
)
def test_rates_are_in_the_notation_of_the_library(rate: str, amount: int, seconds: int) -> None:
    """Zero is a limit too: the first one is over it."""
    assert policy(f"limits: {{a: {{count: auth, rate: {rate}, then: close}}}}").limits.all[0].rate == Rate(
        amount, seconds
    )


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("90", 90.0), ("1.5", 1.5), ("90 seconds", 90.0), ("10 min", 600.0), ("1 Hour", 3600.0), ("7d", 604800.0)],
)
def test_times_are_numbers_or_words(time: str, seconds: float) -> None:
    """A plain number is seconds, as everywhere."""
    assert policy(f"limits: {{a: {{count: auth, rate: 1/hour, then: {{ban: {time}}}}}}}").limits.all[0].steps == (
        Step(1, Hardness.BAN, seconds),
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "count: probe, rate: 1/hour, then: close",
            "1:21: count: 'probe' is none of parallel, connections, commands, ",
        ),
        ("count: probe, rate: 1/hour, then: close", "(did you mean probes?)"),
        ("count: auth, rate: 20/fortnight, then: close", "rate: '20/fortnight' is no rate: write it as 20/hour or"),
        ("count: auth, rate: 20, then: close", "rate: 20 is no rate: write it as 20/hour"),
        ("count: auth, rate: 1/second; 5/minute, then: close", "more than one rate: make a limit of each"),
        ("count: auth, rate: 10 per 0 minutes, then: close", "the time must be from 1 second to 1 day"),
        ("count: auth, rate: 10/month, then: close", "the time must be from 1 second to 1 day"),
        ("count: auth, rate: 9999999999/day, then: close", "at most 1000000000"),
        ("count: parallel, rate: 20/hour, then: close", "parallel is counted at once: write `most: 20`"),
        ("count: parallel, most: 0, then: close", "most: must be greater than or equal to 1, not 0"),
        ("count: parallel, most: 5, then: {delay: 5}", "nothing can be delayed"),
        ("count: auth, most: 5, then: close", "auth are counted over a time: write `rate: 20/hour`, and no `most`"),
        ("count: auth, rate: 1/hour", "then: is missing"),
        ("count: auth, rate: 1/hour, then: []", "then: must not be empty"),
        ("count: auth, rate: 1/hour, then: drop", "then: must be a mapping"),
        ("count: auth, rate: 1/hour, then: {}", "a step needs one of delay, close and ban"),
        ("count: auth, rate: 1/hour, then: {delay: 5, ban: 60}", "a step needs one of delay, close and ban"),
        ("count: auth, rate: 1/hour, then: {delay: 500}", "delay: must be more than 0 and at most 4 minutes, not 500"),
        ("count: auth, rate: 1/hour, then: {ban: soon}", "ban: 'soon' is no time: write it as 90 seconds"),
        ("count: auth, rate: 1/hour, then: {ban: 0}", "ban: must be more than 0 and at most 366 days, not 0"),
        ("count: auth, rate: 1/hour, then: {ban: .inf}", "ban: '.inf' is no time"),
        (
            "count: auth, rate: 5/hour, then: {over: 3, close: true}",
            "up to 5 are allowed: nothing can follow from fewer",
        ),
        ("count: auth, rate: 5/hour, then: [{ban: 60}, {over: 9, close: true}]", "softer than over 5 ban 1 minute"),
        ("count: auth, rate: 5/hour, then: [close, {ban: 60}]", "two steps begin over 5"),
        (
            "count: auth, rate: 5/hour, then: [{delay: 1}, {over: 9, close: true}, {over: 8, ban: 60}]",
            "put the steps in the order of `over`",
        ),
        ("count: auth, rate: 1/hour, then: close, by: net", "by: 'net' is none of prefix, address"),
        ("count: auth, rate: 1/hour, then: close, exept: []", "unknown key 'exept' (did you mean except?)"),
        ("count: auth, rate: 1/hour, then: close, except: [inside]", "1:63: except: unknown network 'inside'"),
        ("count: auth, rate: 1/hour, then: close, except: [10.1.0.0/8]", "has host bits set"),
    ],
)
def test_what_means_nothing_is_a_fault_with_its_place(text: str, fault: str) -> None:
    """And with what to write instead."""
    found = faults_of(one_limit(text))
    assert any(fault in one for one in found), found
    assert all(one.startswith("1:") for one in found)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("Scanners", "cannot name a limit"),
        ("operator", "means a ban that a person asked for"),
        ("x" * 33, "cannot name"),
    ],
)
def test_a_name_may_stand_in_logs_and_labels(name: str, fault: str) -> None:
    """Small letters, digits, hyphens; bounded."""
    (found,) = faults_of(f"limits: {{{name}: {{count: auth, rate: 1/hour, then: close}}}}\nrulesets: {{}}\n")
    assert found.startswith("1:10: ")
    assert fault in found


def test_all_faults_are_told_at_once() -> None:
    """Of several limits, and of the prefixes."""
    text = (
        "limits:\n"
        "  a: {count: probe, rate: 20/hour, then: close}\n"
        "  b: {count: auth, rate: often, then: [{ban: soon}, {delay: 900}]}\n"
        "prefixes: {ipv4: 33, ipv6: 8}\n"
        "rulesets: {}\n"
    )
    assert [fault.split(":")[0] for fault in faults_of(text)] == ["2", "3", "3", "3", "4", "4"]


def test_there_are_so_many_limits_at_most() -> None:
    """And so many steps."""
    many = ", ".join(f"a{number}: {{count: auth, rate: 1/hour, then: close}}" for number in range(33))
    assert "33 are more than 32" in faults_of(f"limits: {{{many}}}\nrulesets: {{}}\n")[0]
    steps = ", ".join(f"{{over: {number}, close: true}}" for number in range(1, 10))
    assert "at most 8" in faults_of(one_limit(f"count: auth, rate: 1/hour, then: [{steps}]"))[0]


@pytest.mark.parametrize(
    ("source", "line", "expected"),
    [
        ("203.0.113.9", "VRFY george", "limits   scanners (probes: 20 in 1 hour by prefix; over 20 delay 5 seconds"),
        ("127.0.0.1", "VRFY george", "limits   scanners: exempt"),
        ("203.0.113.9", "???", "limits   odd (malformed: 3 in 1 minute by address; over 3 close)"),
        ("203.0.113.9", "NOOP", ""),
    ],
)
def test_explain_tells_what_a_line_counts_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, line: str, expected: str
) -> None:
    """Or that this client is exempt."""
    path = tmp_path / "policy.yaml"
    path.write_text(
        with_limits(
            "limits:\n"
            "  scanners: {count: probes, rate: 20/hour, then: {delay: 5}}\n"
            "  odd: {count: malformed, rate: 3/minute, by: address, then: close}\n"
        )
    )
    assert main(["explain", "--policy", str(path), "--from", source, line]) == 0
    output = capsys.readouterr().out
    assert (expected in output) if expected else ("limits" not in output)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 second"), (90, "90 seconds"), (120, "2 minutes"), (86400, "1 day"), (0.5, "0.5 seconds"), (0, "0 seconds")],
)
def test_times_are_said_as_a_person_says_them(seconds: float, text: str) -> None:
    """In the largest unit that is whole."""
    assert span(seconds) == text


def test_who_is_exempt_is_known_by_its_networks() -> None:
    """`internal`, unless the limit names others."""
    known = policy(
        "limits:\n"
        "  a: {count: auth, rate: 1/hour, then: close}\n"
        "  b: {count: auth, rate: 1/hour, except: [192.0.2.0/24], then: close}\n"
    )

    def names(address: str) -> list[str]:
        bits = known.networks.classify(Peer.parse(address))
        return [one.name for one in known.limits.applying(bits)]

    assert names("127.0.0.1") == ["b"]
    assert names("192.0.2.9") == ["a"]
    assert names("203.0.113.9") == ["a", "b"]
