"""Networks from files, in a running guard: a reload reads them again."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.rig.client import Talk

from .sink import Sink
from .support import REFUSED, ReloadedGuard

POLICY: Final = """\
networks: {office: {file: mynetworks, format: postfix}}
rulesets:
  check_vrfy:
    - {from: office, action: reply, reply: 252 2.5.2 office}
    - {action: reply, reply: 252 2.5.2 outside}
"""


def seen_as(guard: ReloadedGuard) -> str:
    """Return what a client at 127.0.0.2 is taken for."""
    with Talk("127.0.0.1", guard.port, source="127.0.0.2") as client:
        client.say("EHLO client.test")
        return client.say("VRFY root").removeprefix("252 2.5.2 ").strip()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_reads_the_files_of_networks_again(sink: Sink, tmp_path: Path, workers: int) -> None:
    """The policy itself has not changed; with a fault in the file, who was in stays in."""
    listed = tmp_path / "mynetworks"
    listed.write_text("!127.0.0.2, 127.0.0.0/8\n")
    with ReloadedGuard(tmp_path, sink, {"workers": workers}) as guard:
        guard.write(POLICY)
        guard.reload()
        assert seen_as(guard) == "outside"
        listed.write_text("127.0.0.0/8\n")
        guard.reload()
        assert seen_as(guard) == "office"
        listed.write_text("127.0.0.1/8\n")
        guard.reload(REFUSED)
        guard.wait_line(f"{listed}:1:1: 127.0.0.1/8 has host bits set")
        assert seen_as(guard) == "office"
