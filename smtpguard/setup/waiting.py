"""Waiting for ports, and telling how long one had no listener.

Contract: `wait_for_ports` returns when all of them listen, or raises Failed.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from .machine import Machine
from .refusals import Failed

PORT_SECONDS: Final = 90.0
"""For a service that was started to listen; a sendmail without a name server takes its time."""
_LOOK: Final = 0.02
"""Seconds between two looks: short beside what is measured, and light."""


def wait_for_ports(machine: Machine, wanted: Iterable[tuple[str, int]], who: str) -> None:
    """Wait until somebody listens at all of these."""
    places = set(wanted)
    deadline = time.monotonic() + PORT_SECONDS
    while missing := {place for place in places if not listens(machine, place)}:
        if time.monotonic() > deadline:
            at = ", ".join(f"{address} port {port}" for address, port in sorted(missing))
            raise Failed(f"{who} does not listen at {at} after {PORT_SECONDS:.0f} seconds.")
        time.sleep(_LOOK)


def listens(machine: Machine, place: tuple[str, int]) -> bool:
    """True if somebody listens there, or at all addresses of its family."""
    address, port = place
    everywhere = "::" if ":" in address else "0.0.0.0"
    return bool({(address, port), (everywhere, port)} & machine.listening())


def is_here(address: str) -> bool:
    """True if this host has an address, so that somebody could listen there; no port is taken."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as one:
            one.bind((address, 0))
    except OSError:  # as where the kernel has no IPv6
        return False
    return True


class Gap:
    """Measures, for the time of a `with` block, how long nobody listened at a port."""

    def __init__(self, machine: Machine, port: int) -> None:
        self._machine = machine
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="setup-gap", daemon=True)
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        last = time.monotonic()
        while not self._over.wait(_LOOK):
            now = time.monotonic()
            if all(port != self._port for _, port in self._machine.listening()):
                self.seconds += now - last
            last = now
