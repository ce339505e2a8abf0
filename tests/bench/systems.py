"""Everything that mail can go through: the guard, beside its peers."""

from __future__ import annotations

import sys
from typing import Final

from attrs import evolve

from tests.rig.sendmail import free_port

from .peers import HAPROXY, HARAKA_PROXY, NGINX_MAIL, PORTFORWARD
from .places import QUEUE, SESSIONS, GuardOptions, Place, System, said_by
from .running import Running

DIRECT: Final = "direct"
"""Nothing between the load and its sink."""


def _guard(place: Place) -> Running:
    guard = place.guard
    running = Running("guard", [], free_port(), {"PYTHONPATH": str(guard.tree)}, folder=guard.tree, core=place.core)
    file = running.directory / "smtpguard.yaml"
    file.write_text(
        f'listen: ["tcp:{running.port}:interface=127.0.0.1:backlog={QUEUE}"]\n'
        f"backend: tcp:127.0.0.1:{place.sink}\n"
        f"policy: {guard.policy}\n"
        "relay_check: off\n"  # the sink takes mail for everybody
        f"limits: {{sessions: {SESSIONS}, sessions_per_address: {SESSIONS}}}\n"
        f"{guard.settings}"
    )
    command = [sys.executable, "-m", "smtpguard", "run", "--config", str(file), *guard.arguments]
    return running.with_command(command)


def _guard_stock(place: Place) -> Running:
    arguments = (*place.guard.arguments, "--reactor", "stock")
    return _guard(evolve(place, guard=evolve(place.guard, arguments=arguments)))


def _guard_version(guard: GuardOptions) -> str:
    said = said_by(sys.executable, "-c", _VERSIONS, environment={"PYTHONPATH": str(guard.tree)})
    commit = said_by("git", "-C", str(guard.tree), "describe", "--always", "--dirty")
    return f"{said} ({commit})" if "fatal" not in commit else said


_VERSIONS: Final = """
import importlib.util, smtpguard, twisted
loop = __import__("uvloop").__version__ if importlib.util.find_spec("uvloop") else "none"
print(f"{smtpguard.__version__}, Twisted {twisted.__version__}, uvloop {loop}")
"""


def guard_knows(guard: GuardOptions, flag: str) -> bool:
    """Tell whether `smtpguard run` has a flag."""
    help_ = said_by(sys.executable, "-m", "smtpguard", "run", "--help", environment={"PYTHONPATH": str(guard.tree)})
    return flag in help_


GUARD: Final = System("guard", _guard, _guard_version)
STOCK: Final = System(
    "guard-stock",
    _guard_stock,
    _guard_version,
    lambda guard: "" if guard_knows(guard, "--reactor") else "smtpguard run has no --reactor",
    optional=True,
)
PROXIES: Final = {one.name: one for one in (HAPROXY, NGINX_MAIL, PORTFORWARD, HARAKA_PROXY, GUARD, STOCK)}
"""By name; `DIRECT` is none of them."""
