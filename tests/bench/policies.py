"""Policies of the benchmark, made from the shipped one or out of nothing.

Contract: `large` uses every network and every rule of what it makes, for verbs that each session sends; no client
of the benchmark's loads is in one of those networks, so all rules of a verb have to be asked before it is
forwarded.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from .places import ROOT

VERBS: Final = ("mail", "rcpt", "vrfy", "expn", "help")
"""Whose rule sets the rules are dealt to, one after another."""
_FIRST: Final = int(IPv4Address("20.0.0.0"))
_BLOCK: Final = 256
"""Addresses from one network to the next: each is a /25, so that no two of them are one larger network."""


def outside(file: Path) -> str:
    """Write the shipped policy with 127.0.0.1 alone inside and without budgets; return its path."""
    text = (ROOT / "policies/internal-vrfy.yaml").read_text()
    text = re.sub(r"internal: \[.*\]", "internal: [127.0.0.1/32]", text)
    text = re.sub(r"(?ms)^tests:.*", "budgets: off\n", text)
    file.write_text(text)
    return str(file)


def large(file: Path, networks: int, rules: int) -> str:
    """Write a policy of so many CIDRs and rules; return its path.  Every rule has its own network."""
    each = max(networks // rules, 1)
    lines = ["networks:", '  internal: [127.0.0.0/8, "::1/128"]']
    for number in range(rules):
        blocks = range(number * each, (number + 1) * each)
        cidrs = ", ".join(f"{IPv4Address(_FIRST + block * _BLOCK)}/25" for block in blocks)
        lines.append(f"  net{number}: [{cidrs}]")
    lines.append("rulesets:")
    for at, verb in enumerate(VERBS):
        mine = range(at, rules, len(VERBS))
        if mine:
            lines.append(f"  check_{verb}:")
        lines += [f"    - {{from: net{number}, action: reply, reply: {_REPLY}}}" for number in mine]
    file.write_text("\n".join(lines) + "\n")
    return str(file)


NO_NAMES: Final = "dns: {names: false}\n"
"""A line of the settings file for loads from many addresses: looking up their names would hide all else."""
_REPLY: Final = '"550 5.7.1 Not from there"'
