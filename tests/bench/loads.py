"""The loads of Postfix's smtp-source(1): sessions, messages on kept connections, large messages.

Contract: a load is done when every message of it was taken; anything else is a BenchError.  smtp-source greets with
HELO, and with `kept` it sends its messages on as many connections as there are sessions at once.
"""

from __future__ import annotations

import os
import subprocess
import time

from attrs import frozen

from .running import BenchError, postfix

_SECONDS = 600
"""For one load; what takes longer hangs."""


@frozen
class Load:
    """What smtp-source is told."""

    messages: int
    octets: int
    """Of the body of each message."""
    at_once: int = 50
    """Sessions at once."""
    kept: bool = False
    """Many messages on one connection."""

    @property
    def connections(self) -> int:
        """How many connections it opens."""
        return min(self.at_once, self.messages) if self.kept else self.messages


def run(load: Load, port: int) -> float:
    """Send all of it to a port of 127.0.0.1; return the seconds it took."""
    command, environment = postfix("smtp-source")
    flags = ["-s", str(load.at_once), "-m", str(load.messages), "-l", str(load.octets), *(["-d"] if load.kept else [])]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, *flags, "-f", "from@bench.test", "-t", "to@bench.test", f"127.0.0.1:{port}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **environment},
        timeout=_SECONDS,
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0 or done.stderr:
        raise BenchError(f"smtp-source ended with {done.returncode}: {done.stderr.decode('latin-1').strip()}")
    return seconds
