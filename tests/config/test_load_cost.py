"""What a large policy costs to load, counted in calls: a clock would tell of the machine and of its other work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import pytest

from smtpguard.config.policy_file import build
from smtpguard.config.yaml_reader import read

CALLS: Final = 40
"""Most calls for one IPv4 network from its octets to the table, of Python functions and of those in C: there are
26 to 30.  With a node of the YAML library's and an object of netaddr's for each there are 80, and 100,000 take
four times as long."""
CALLS_IPV6: Final = 55
"""For an IPv6 one, which the standard library reads: there are 45."""


def flow(cidrs: list[str]) -> str:
    """A list in brackets, which is what most write."""
    return f"networks: {{big: [{', '.join(cidrs)}]}}\n"


def block(cidrs: list[str]) -> str:
    """One a line."""
    return "networks:\n  big:\n" + "".join(f"    - {cidr}\n" for cidr in cidrs)


def inline(cidrs: list[str]) -> str:
    """In a rule, without a name."""
    return f"rulesets: {{check_vrfy: [{{from: [{', '.join(cidrs)}], action: reply}}]}}\n"


def ipv4(number: int) -> str:
    return f"20.{number >> 8}.{number & 255}.0/25"


def ipv6(number: int) -> str:
    return f"2001:db8:{number:x}::/48"


def calls_of(work: Callable[[], Any]) -> int:
    """Return how many functions are called."""
    count = 0

    def called(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    ("written", "cidr", "most"),
    [(flow, ipv4, CALLS), (block, ipv4, CALLS), (inline, ipv4, CALLS), (flow, ipv6, CALLS_IPV6)],
)
def test_one_more_network_costs_a_few_calls_however_many_there_are(
    written: Callable[[list[str]], str], cidr: Callable[[int], str], most: int
) -> None:
    """The difference between two policies is their networks alone, and twice as many cost twice as much."""

    def calls(networks: int) -> int:
        text = written([cidr(number) for number in range(networks)])
        return calls_of(lambda: build(read(text, "f")))

    calls(1)  # what is done only once is done
    few, more, most_of_all = calls(1000), calls(2000), calls(4000)
    assert (more - few) / 1000 <= most
    assert (most_of_all - more) / 2000 <= most
