"""How hypothesis behaves in all tests, signals in the programs that they run, and in which order the files go.

No deadlines: the machine is shared, and time is measured where time is meant.  In CI the examples are
the same at every run, so that a landing does not depend on luck; `make test-long` looks for new ones.

Who starts the tests in the background, or under nohup, has some signals ignored, and so would be all programs that the
tests start; a signal that has a handler here is one that those begin with as usual.  A command that is called in
this process, as `run` is with settings that have faults, may leave signals blocked, as it is about to end; the programs
of the next test would have them blocked too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "smtpguard",
    deadline=None,
    derandomize="CI" in os.environ and "LONG" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("smtpguard")

for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


LONGEST_FIRST: Final = (
    "packaging/test_debian.py",
    "setup/test_debian.py",
    "documented/test_commands.py",
    "guided/test_guided.py",
    "service/test_reload.py",
    "logs/test_fail2ban.py",
)
"""Files of more than a minute; where files go side by side, one of these must not be the last to begin."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}

    def rank(item: pytest.Item) -> int:
        return place.get("/".join(item.path.parts[-2:]), len(place))

    items.sort(key=rank)
