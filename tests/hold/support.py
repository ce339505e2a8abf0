"""The guard before a mail server that may be told to misbehave, and what each test here looks at behind a fault."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.rig.client import Talk
from tests.rig.wait import wait_until
from tests.sendmail.support import INSIDE, ConfiguredGuard, policy
from tests.workers.support import workers_of

from .process import memory, processor_seconds

KINDS: Final = ("uvloop", pytest.param("stock", marks=pytest.mark.long))
"""Event loops, as --reactor has them; where CI looks at one, it is the one that a site has."""
WAYS: Final = (
    pytest.param(["--reactor", "uvloop"], id="uvloop"),
    pytest.param(["--reactor", "stock"], id="stock", marks=pytest.mark.long),
    pytest.param(["--workers", "2"], id="workers", marks=pytest.mark.long),
)
"""Ways to serve, by their flags."""
ALL_WAYS: Final = tuple(pytest.param(*way.values, id=way.id) for way in WAYS)
"""The same, all of which CI looks at: where they differ."""
CLIENTS_AT_ONCE: Final = 100
"""That connect together: fewer than any queue holds."""
QUIET_SECONDS: Final = 1.0
"""For which a guard with nothing to do is watched."""
QUIET_PART: Final = 0.2
"""Of a processor, which such a guard may use: it has timers, and a machine that is busy counts coarsely."""
LEFT_MB: Final = 16.0
"""What may be left of a fault in memory: an allocator keeps some of what it had, and does not grow by it again."""
FORMS: Final = pytest.mark.parametrize(
    "long", [False, pytest.param(True, marks=pytest.mark.long)], ids=["short", "long"]
)
"""A test in its short form, for CI, and its long one."""


class HeldGuard(ConfiguredGuard):
    """A guard with everybody on 127.0.0.1 inside, and further flags."""

    def __init__(
        self,
        folder: Path,
        backend: tuple[str, int],
        settings: Mapping[str, object] | None = None,
        flags: Sequence[str] = (),
        wrapper: Sequence[str] = (),
        rules: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`environment` is added to the process's own."""
        given = [f"{name}={value}" for name, value in (environment or {}).items()]
        super().__init__(
            folder,
            backend,
            policy() if rules is None else rules,
            settings,
            wrapper=[*(["env", *given] if given else []), *wrapper],
        )
        self._flags = list(flags)

    def command(self) -> list[str]:
        """Return the command line."""
        return [*super().command(), *self._flags]

    @property
    def serving(self) -> list[int]:
        """The processes that serve: the workers, or the only one."""
        return workers_of(self) or [self.pid]


def serves(guard: ConfiguredGuard, source: str = INSIDE) -> None:
    """Hold that a new client is served as if nothing had been."""
    with Talk("127.0.0.1", guard.port, source) as client:
        assert client.banner == "220 backend.test ESMTP"
        for command, code in (
            ("EHLO client.test", "250"),
            ("MAIL FROM:<a@b.test>", "250"),
            ("RCPT TO:<c@d.test>", "250"),
            ("DATA", "354"),
            ("Subject: afterwards\r\n\r\n.", "250"),
            ("QUIT", "221"),
        ):
            assert client.say(command).startswith(code), command


def is_quiet(guard: ConfiguredGuard) -> None:
    """Hold that a guard that has nothing to do soon does nothing: no loop that spins on what it cannot have."""
    before, began = processor_seconds(guard.pid), time.monotonic()

    def quiet() -> bool:
        nonlocal before, began
        now = time.monotonic()
        if now - began < QUIET_SECONDS:
            return False
        used, passed = processor_seconds(guard.pid) - before, now - began
        before, began = before + used, now
        return used < QUIET_PART * passed

    wait_until(quiet, "a second with nothing to do", 20)


def returns(guard: ConfiguredGuard, before: int, allowance_mb: float = LEFT_MB) -> None:
    """Hold that a guard uses no more memory than `before`, or than an allowance more, in the end."""

    def small() -> bool:
        return memory(guard.pid) <= before + allowance_mb * 2**20

    wait_until(
        small, f"no more than {before >> 20} MB and {allowance_mb:g} more", 20, lambda: f"{memory(guard.pid) >> 20} MB"
    )


def ends(guard: ConfiguredGuard, seconds: float) -> None:
    """Hold that SIGTERM ends it in time, in order."""
    guard.signal(signal.SIGTERM)
    assert guard.wait_end(seconds) == 0


def writable(wires: Iterable[socket.socket], seconds: float) -> list[socket.socket]:
    """Wait until some of them take octets, and return these; poll(2), since there may be more than select(2) takes."""
    by_descriptor = {wire.fileno(): wire for wire in wires}
    poll = select.poll()
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLOUT)
    return [by_descriptor[descriptor] for descriptor, _ in poll.poll(seconds * 1000)]


def greeted(guard: ConfiguredGuard, stack: ExitStack, count: int, source: str = INSIDE) -> list[Talk]:
    """Return clients that have said EHLO; they are closed with the stack."""
    found: list[Talk] = []
    while len(found) < count:
        some = [
            stack.enter_context(Talk("127.0.0.1", guard.port, source, greet=False, seconds=60))
            for _ in range(min(CLIENTS_AT_ONCE, count - len(found)))
        ]
        for client in some:
            assert client.reply().startswith(b"220 ")
        for client in some:
            client.send(b"EHLO client.test\r\n")
        for client in some:
            assert client.reply().startswith(b"250")
        found += some
    return found


def transferring(guard: ConfiguredGuard, stack: ExitStack, count: int) -> list[Talk]:
    """Return clients in the middle of a message."""
    clients = greeted(guard, stack, count)
    for client in clients:
        for command in ("MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA"):
            assert client.say(command)[0] in "23"
        client.send(b"Subject: in the middle\r\n\r\n")
    return clients


def finish(clients: Sequence[Talk]) -> None:
    """Hold that messages in transfer get through, and their sessions end in order."""
    for client in clients:
        assert client.say(".") == "250 2.0.0 Accepted"
        assert client.say("QUIT") == "221 2.0.0 Bye"
        assert client.closed()


@contextmanager
def lines_of(guard: ConfiguredGuard) -> Iterator[list[str]]:
    """Yield a list that has what the guard logs from here on, when the block has ended."""
    before = len(guard.lines())
    found: list[str] = []
    yield found
    found += guard.lines()[before:]
