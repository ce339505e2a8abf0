"""The policy file's `limits` and `prefixes`: which keys there are, what a value may be, and what is made of them.

Contract: pydantic models; a value that passes here has one meaning.  The networks in `except` are looked up in
policy_checks.py, beside those of rules.  Rates are read by the library that counts (`limits`), which is imported
only where a policy has one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..policy.limits import (
    HARDER,
    LONGEST_BAN,
    LONGEST_DELAY,
    LONGEST_WINDOW,
    MOST_COUNTED,
    MOST_LIMITS,
    MOST_STEPS,
    PARALLEL,
    By,
    Hardness,
    Limit,
    Rate,
    Step,
    span,
)
from .fields import listed
from .models import Section

MAX_DELAY: Final = LONGEST_DELAY
"""Of a rule, too."""
MOST_EXCEPT: Final = 64
"""Words of one list; more is a network that should have a name."""

_UNITS: Final = {"s": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_SPAN: Final = re.compile(r"([0-9]{1,9}) ?([a-z]+?)s?")
_RATE_FORM: Final = "write it as 20/hour or 10 per 2 minutes"


def _seconds(longest: float) -> Callable[[object], object]:
    def read(value: object) -> object:
        seconds: object = value
        if isinstance(value, str):
            match = _SPAN.fullmatch(value.strip().lower())
            seconds = int(match[1]) * _UNITS[match[2]] if match and match[2] in _UNITS else None
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ValueError(f"{value!r} is no time: write it as 90 seconds, 10 minutes, 1 hour or 7 days")
        if not 0 < seconds <= longest:
            raise ValueError(f"must be more than 0 and at most {span(longest)}, not {value}")
        return float(seconds)

    return read


def _rate(value: object) -> object:
    """Read a rate in the notation of the library `limits`; raises ValueError."""
    from limits import parse_many

    try:
        found = parse_many(value) if isinstance(value, str) else []
    except ValueError:
        found = []
    if not found:
        raise ValueError(f"{value!r} is no rate: {_RATE_FORM}")
    if len(found) > 1:
        raise ValueError(f"{value!r} is more than one rate: make a limit of each")
    (one,) = found
    # The library takes `10 per 0 minutes` for 10 per minute.
    if re.search(r"(?:/|per)\s*0", str(value), re.IGNORECASE) or not one.get_expiry() <= LONGEST_WINDOW:
        raise ValueError(f"{value!r}: the time must be from 1 second to {span(LONGEST_WINDOW)}")
    if one.amount > MOST_COUNTED:
        raise ValueError(f"{value!r}: at most {MOST_COUNTED}")
    return Rate(one.amount, one.get_expiry())


def _step(value: object) -> object:
    return {value: True} if value == Hardness.CLOSE.value else value


Count = Annotated[int, Field(ge=0, le=MOST_COUNTED)]


class StepModel(Section):
    """One step of a ladder: from which count on, and one of three things."""

    over: Count | None = Field(None, description="more than so many; if not set, what `rate` or `most` allows")
    delay: Annotated[float, BeforeValidator(_seconds(MAX_DELAY))] | None = Field(
        None, description="seconds that each command waits"
    )
    close: Literal[True] | None = Field(None, description="sessions are ended with a 421, and new ones get it too")
    ban: Annotated[float, BeforeValidator(_seconds(LONGEST_BAN))] | None = Field(
        None, description="the same for that time, as `1 hour`"
    )

    @model_validator(mode="after")
    def _one(self) -> StepModel:
        if sum(one is not None for one in (self.delay, self.close, self.ban)) != 1:
            raise ValueError("a step needs one of delay, close and ban: {delay: 5}, {close: true} or {ban: 1 hour}")
        return self

    def step(self, most: int) -> Step:
        """Return the step of a ladder that begins at `most`."""
        over = most if self.over is None else self.over
        if self.delay is not None:
            return Step(over, Hardness.DELAY, self.delay)
        return Step(over, Hardness.CLOSE) if self.ban is None else Step(over, Hardness.BAN, self.ban)


class LimitModel(Section):
    """One limit."""

    count: Literal["parallel", "connections", "commands", "probes", "malformed", "recipients", "auth", "slow"] = Field(
        description="what is counted"
    )
    rate: Annotated[Rate, BeforeValidator(_rate)] | None = Field(None, description="how many in what time, as 20/hour")
    most: Annotated[int, Field(ge=1, le=MOST_COUNTED)] | None = Field(None, description="how many at once")
    by: Literal["prefix", "address"] = Field("prefix", description="what is counted together")
    except_: Annotated[list[str], Field(max_length=MOST_EXCEPT), BeforeValidator(listed)] | None = Field(
        None, alias="except", description="networks by name or CIDR whose clients are not counted"
    )
    then: Annotated[
        list[Annotated[StepModel, BeforeValidator(_step)]],
        Field(min_length=1, max_length=MOST_STEPS),
        BeforeValidator(listed),
    ] = Field(description="what follows")
    shadow: bool | None = Field(None, description="only log what would follow; if not set, as the policy")

    @model_validator(mode="after")
    def _consistent(self) -> LimitModel:
        if self.count == PARALLEL:
            if self.rate is not None or self.most is None:
                raise ValueError("parallel is counted at once: write `most: 20` in place of a rate")
            if any(one.delay is not None for one in self.then):
                raise ValueError("parallel: who has too many sessions gets no further one, so nothing can be delayed")
        elif self.most is not None or self.rate is None:
            raise ValueError(f"{self.count} are counted over a time: write `rate: 20/hour`, and no `most`")
        self._climbs([one.step(self.allowed) for one in self.then])
        return self

    def _climbs(self, steps: list[Step]) -> None:
        lowest, before = self.allowed, None
        for step in steps:
            if step.over < lowest:
                raise ValueError(f"{step}: up to {self.allowed} are allowed: nothing can follow from fewer")
            if before is not None and step.over == before.over:
                raise ValueError(f"two steps begin over {step.over}: give the later ones an `over` of their own")
            if before is not None and step.over < before.over:
                raise ValueError(f"{step} stands behind {before}: put the steps in the order of `over`")
            if before is not None and HARDER.index(step.hardness) < HARDER.index(before.hardness):
                raise ValueError(f"{step} is softer than {before}, which it would follow")
            before = step

    @property
    def allowed(self) -> int:
        """How many are allowed."""
        return self.rate.amount if self.rate is not None else self.most or 0

    def limit(self, name: str, except_bits: int, where: str, shadow: bool = False) -> Limit:
        """Return what the guard counts by; `shadow` is the policy's."""
        steps = tuple(one.step(self.allowed) for one in self.then)
        shadow = shadow if self.shadow is None else self.shadow
        return Limit(name, self.count, self.rate, steps, By(self.by), except_bits, where, shadow)


class PrefixesModel(Section):
    """How many bits of an address belong to one customer."""

    ipv4: int = Field(32, ge=8, le=32, description="bits of an IPv4 address")
    ipv6: int = Field(64, ge=16, le=128, description="bits of an IPv6 address")


def _named(limits: dict[str, LimitModel]) -> dict[str, LimitModel]:
    if len(limits) > MOST_LIMITS:
        raise ValueError(f"limits: {len(limits)} are more than {MOST_LIMITS}, and each takes time at every command")
    return limits


LimitsModel = Annotated[dict[str, LimitModel], AfterValidator(_named)]
