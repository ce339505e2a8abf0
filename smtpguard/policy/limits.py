"""Limits: how often a client may do what, and what follows if it does more.

Contract: values without I/O.  A policy has them in its order; `Limits.applying` says which hold for a client, by the
bits of its networks (networks.py).  Nothing is counted here (smtpguard.ledger.counting).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

PARALLEL: Final = "parallel"
"""Sessions at once, which are not counted over a time."""
OPERATOR: Final = "operator"
"""What is said in place of a limit's name where a person asked for a ban; no limit has this name."""

MOST_LIMITS: Final = 32
"""In one policy; each that counts what a client does costs time when it does it."""
MOST_STEPS: Final = 8
"""Of one ladder: there are three kinds of them."""
LONGEST_WINDOW: Final = 86400
"""Seconds: what is counted is kept in memory, and is gone after a restart."""
LONGEST_DELAY: Final = 240.0
"""Seconds; sendmail sleeps no longer either (MAXTIMEOUT), and clients wait 300 for a reply."""
LONGEST_BAN: Final = 366 * 86400
"""Seconds; addresses change hands."""
MOST_COUNTED: Final = 1_000_000_000
"""That a limit may allow; more is no limit."""


class By(Enum):
    """What is counted together, and what measures stand against."""

    ADDRESS = "address"
    PREFIX = "prefix"
    """All addresses of one customer (`Prefixes`); what one of them crosses, its prefix has crossed."""


class Hardness(Enum):
    """What is done; the steps of a ladder."""

    DELAY = "delay"
    """Each of the client's commands waits."""
    CLOSE = "close"
    """Its sessions, and each new one, get a 421."""
    BAN = "ban"
    """The same, for a time that the policy says, on all guards that count together, and after a restart."""


HARDER: Final = (Hardness.DELAY, Hardness.CLOSE, Hardness.BAN)
"""From the softest to the hardest."""


@dataclass(frozen=True)
class Rate:
    """So many in so many seconds."""

    amount: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.amount} in {span(self.seconds)}"


@dataclass(frozen=True)
class Step:
    """One step of a ladder."""

    over: int
    """More than so many have been counted."""
    hardness: Hardness
    seconds: float = 0.0
    """Of DELAY for each command, of BAN for the whole of it."""

    def __str__(self) -> str:
        if self.hardness is Hardness.CLOSE:
            return f"over {self.over} close"
        return f"over {self.over} {self.hardness.value} {span(self.seconds)}"


@dataclass(frozen=True)
class Limit:
    """One limit, ready to be counted by."""

    name: str
    counts: str
    """PARALLEL, or a word of smtpguard.ledger.deeds.Kind."""
    rate: Rate | None
    """None for what is counted at once (PARALLEL)."""
    steps: tuple[Step, ...]
    """Not empty, from the lowest to the highest."""
    by: By = By.PREFIX
    except_bits: int = 0
    where: str = ""
    """FILE:LINE."""
    shadow: bool = False
    """It is counted by, and the log tells what would have followed; nothing follows."""

    @property
    def most(self) -> int:
        """How many are allowed before anything follows."""
        return self.steps[0].over

    def step_for(self, count: int) -> Step | None:
        """Return the hardest step that a count is over, None if it is over none."""
        found: Step | None = None
        for step in self.steps:
            if count > step.over:
                found = step
        return found

    def __str__(self) -> str:
        counted = f"{self.counts}: {self.rate}" if self.rate else f"{self.most} {self.counts}"
        shadow = "; in shadow" if self.shadow else ""
        return f"{self.name} ({counted} by {self.by.value}; {', '.join(map(str, self.steps))}{shadow})"


@dataclass(frozen=True)
class Prefixes:
    """How many bits of an address belong to one customer."""

    ipv4: int = 32
    ipv6: int = 64
    """A provider gives that much at least, and a client may take another address of it for each session."""


@dataclass(frozen=True)
class Limits:
    """All of a policy."""

    all: tuple[Limit, ...] = ()
    prefixes: Prefixes = field(default_factory=Prefixes)
    _applying: dict[int, tuple[Limit, ...]] = field(default_factory=dict, compare=False, repr=False)

    def applying(self, bits: int) -> tuple[Limit, ...]:
        """Return the limits that hold for a client with these bits of the policy's networks."""
        found = self._applying.get(bits)  # bounded: by what the networks cut out
        if found is None:
            found = self._applying[bits] = tuple(one for one in self.all if not one.except_bits & bits)
        return found

    def in_earnest(self) -> Limits:
        """Return the same with none in shadow."""
        return Limits(tuple(replace(one, shadow=False) for one in self.all), self.prefixes)

    @property
    def acting(self) -> frozenset[str]:
        """The names of those that are not in shadow."""
        return frozenset(one.name for one in self.all if not one.shadow)

    @property
    def names(self) -> frozenset[str]:
        """The names of all."""
        return frozenset(one.name for one in self.all)


NO_LIMITS: Final = Limits()


def counted(limits: Iterable[Limit]) -> frozenset[str]:
    """Return what these limits count."""
    return frozenset(one.counts for one in limits)


_SPANS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def span(seconds: float) -> str:
    """Return a time as a person says it: `1 hour`, `90 seconds`, `2.5 seconds`."""
    for unit, name in _SPANS:
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{seconds:g} seconds"
