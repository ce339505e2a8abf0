"""The file of the log, moved away by the real logrotate with the rules that are shipped, while clients go on."""

from __future__ import annotations

import gzip
import os
import re
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard
from tests.workers.support import children_of

from .reading import SHARE
from .support import guard, mail_server

ROTATIONS = 6
_SYSTEMCTL = """#!/bin/sh
[ "$*" = "kill --kill-who=main --signal=USR1 smtpguard.service" ] || exit 1
exec kill -USR1 {pid}
"""


class Load:
    """Clients that ask numbered questions until they are stopped."""

    def __init__(self, port: int, clients: int) -> None:
        self._port = port
        self._over = threading.Event()
        self.asked: list[int] = [0] * clients
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, client: int) -> None:
        while not self._over.is_set():
            with Talk("127.0.0.1", self._port) as talk:
                for _ in range(20):
                    assert talk.say(f"VRFY {client}-{self.asked[client]}-").startswith("252 ")
                    self.asked[client] += 1

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()


def holds(running: ConfiguredGuard, path: Path) -> bool:
    """Tell if any process of the guard has a file open."""
    for pid in (running.pid, *children_of(running.pid)):
        for one in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if os.readlink(one) == str(path):
                    return True
            except FileNotFoundError:
                continue
    return False


@contextmanager
def asked(running: ConfiguredGuard) -> Iterator[Load]:
    load = Load(running.port, 4)
    try:
        yield load
    finally:
        load.stop()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_rotation_under_load_loses_no_line_and_writes_none_twice(tmp_path: Path, workers: int) -> None:
    """Each question is in one of the files, once; the files are complete lines; none stays open."""
    folder = tmp_path / "log"
    folder.mkdir(mode=0o755)
    log = folder / "smtpguard.log"
    tools = tmp_path / "tools"
    tools.mkdir()
    rules = tmp_path / "logrotate.conf"
    rules.write_text((SHARE / "logrotate/smtpguard").read_text().replace("/var/log/smtpguard/", f"{folder}/"))
    rules.chmod(0o644)
    settings = {"to": ["stderr", "file"], "file": str(log), "level": 6}
    with mail_server() as backend, guard(tmp_path, backend, settings, workers=workers) as running:
        (tools / "systemctl").write_text(_SYSTEMCTL.format(pid=running.pid))
        (tools / "systemctl").chmod(0o755)
        surroundings = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
        command = ["logrotate", "--force", "--state", str(tmp_path / "state"), str(rules)]
        with asked(running) as load:
            for _ in range(ROTATIONS):
                before = sum(load.asked)
                wait_until(lambda before=before: sum(load.asked) > before + 200, "more questions")  # type: ignore[misc]
                done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
                assert (done.returncode, done.stderr) == (0, "")
                moved = folder / "smtpguard.log.1"
                wait_until(lambda moved=moved: not holds(running, moved), "all to let go")  # type: ignore[misc]
                assert log.exists()
    texts = [gzip.decompress(one.read_bytes()).decode() for one in folder.glob("*.gz")]
    texts += [one.read_text() for one in (log, folder / "smtpguard.log.1")]
    assert len(texts) == ROTATIONS + 1
    assert all(text.endswith("\n") for text in texts)
    found = Counter(re.findall(r": VRFY (\d+-\d+)- \[rejected\]$", "".join(texts), re.MULTILINE))
    assert found == Counter(f"{client}-{number}" for client, count in enumerate(load.asked) for number in range(count))


def test_a_reload_opens_the_file_again_too(tmp_path: Path) -> None:
    """For who rotates with `systemctl reload`; and a file that cannot be made is told, in the one that stays in use."""
    folder = tmp_path / "log"
    folder.mkdir()
    log = folder / "guard.log"
    settings = {"to": ["stderr", "file"], "file": str(log)}
    with mail_server() as backend, guard(tmp_path, backend, settings) as running:
        log.rename(folder / "first")
        running.signal(signal.SIGHUP)
        wait_until(log.exists, "a new file", 20)
        folder.rename(tmp_path / "away")
        running.signal(signal.SIGUSR1)
        running.wait_line("log: cannot be opened again: No such file or directory; what was open stays in use")
        with Talk("127.0.0.1", running.port) as client:
            client.say("VRFY still-told")
        wait_until(lambda: "still-told" in (tmp_path / "away/guard.log").read_text(), "the line")
    assert "serves" in (tmp_path / "away/first").read_text()
