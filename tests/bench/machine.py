"""What the numbers were measured on: processor, kernel, versions."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .bench import Bench
from .places import postfix_version
from .systems import DIRECT, PROXIES


def machine() -> dict[str, Any]:
    """Return the machine as JSON data."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def versions(bench: Bench) -> dict[str, str]:
    """Return the version of everything that took part."""
    taken = [name for name in bench.systems if name != DIRECT and name not in bench.absent]
    return {"postfix": postfix_version(), **{name: PROXIES[name].version(bench.guard) for name in taken}}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
