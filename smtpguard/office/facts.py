"""What a service is and has been told to be, as the status shows it.

Contract: values that JSON can carry, since with workers they come from the supervisor (smtpguard.workers.clerk).  The
status document is put together in status.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from attrs import asdict, frozen

from ..lifecycle.configuration import Configuration
from ..lifecycle.reloading import LastReload

KEEPING: Final = "keeping the books"
"""The state of the clerk, who serves nobody."""
FAULTS_TOLD: Final = 20
"""Of a reload; the log has all of them."""
FAULT_TOLD: Final = 500
"""Characters of each; it may have a whole value of a file in it, and a message between processes has a length."""
PROCESSES_TOLD: Final = 300
"""Those that serve first; there are 256 workers at most, of a few generations."""


@frozen
class PolicyFacts:
    """The policy that new sessions get."""

    path: str
    version: str
    """A short hash of the file's content."""
    loaded: float
    """Seconds since 1970."""
    rules: int = 0
    tests: int = 0
    shadow: int = 0
    """How much of it is in shadow, counted by the names that `smtpguard check` tells."""


@frozen
class ReloadFacts:
    """The last reload."""

    at: float
    ok: bool
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@frozen
class ListenerFacts:
    """One listener."""

    name: str
    endpoint: str
    address: str


@frozen
class ProcessFacts:
    """One process."""

    name: str
    pid: int
    since: float
    state: str
    """`serving`, `starting`, `retiring`; KEEPING of the clerk."""


@frozen
class Facts:
    """All of it."""

    policy: PolicyFacts
    reload: ReloadFacts | None = None
    listeners: tuple[ListenerFacts, ...] = ()
    processes: tuple[ProcessFacts, ...] = ()
    stopping: bool = False
    started: float = 0.0
    pid: int = 0

    def to_json(self) -> bytes:
        """Return the form that goes from process to process."""
        return json.dumps(asdict(self), separators=(",", ":")).encode("ascii")

    @staticmethod
    def from_json(octets: bytes) -> Facts:
        """Read it back; raises ValueError, TypeError or KeyError on anything else."""
        data: dict[str, Any] = json.loads(octets)
        reload = data.pop("reload")
        return Facts(
            PolicyFacts(**data.pop("policy")),
            None if reload is None else ReloadFacts(**{**reload, **_tuples(reload, "faults", "warnings")}),
            tuple(ListenerFacts(**one) for one in data.pop("listeners")),
            tuple(ProcessFacts(**one) for one in data.pop("processes")),
            **data,
        )


def _tuples(data: dict[str, Any], *keys: str) -> dict[str, tuple[str, ...]]:
    return {key: tuple(data[key]) for key in keys}


def _told(faults: Sequence[str]) -> tuple[str, ...]:
    return tuple(one if len(one) <= FAULT_TOLD else one[: FAULT_TOLD - 3] + "..." for one in faults[:FAULTS_TOLD])


def facts_of(
    configuration: Configuration,
    reload: LastReload | None,
    listeners: Sequence[str],
    processes: Sequence[ProcessFacts],
    started: float,
    pid: int,
    stopping: bool = False,
    clerk: ProcessFacts | None = None,
) -> Facts:
    """Return the facts of a service; `listeners` are the addresses where it listens, in the order of the settings."""
    others = () if clerk is None else (clerk,)
    policy, settings = configuration.policy, configuration.settings
    return Facts(
        PolicyFacts(
            policy.path,
            policy.version,
            configuration.loaded_at,
            len(policy.rules),
            len(policy.tests),
            len(policy.shadow),
        ),
        None if reload is None else ReloadFacts(reload.at, reload.ok, _told(reload.faults), _told(reload.warnings)),
        tuple(
            ListenerFacts(section.label, section.endpoint, address)
            for section, address in zip(settings.listen, listeners, strict=False)
        ),
        (*processes[:PROCESSES_TOLD], *others),
        stopping,
        started,
        pid,
    )
