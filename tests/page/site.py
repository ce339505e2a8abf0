"""The site of the admin endpoint, in a process of its own, with a service behind it that says what a file says.

`python -m tests.page.site ENDPOINT FILE` serves the status document in FILE, as it is at each request, and tells the
port in a line when it listens.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from twisted.internet.endpoints import serverFromString

from smtpguard.admin import answers
from smtpguard.admin import site as admin
from smtpguard.admin.answers import Answers
from tests.rig.guard import ROOT

START_SECONDS = 20


class Written:
    """A View."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._path.read_text())
        return document

    def ready(self) -> tuple[bool, str]:
        return True, ""

    def exposition(self, openmetrics: bool) -> bytes:
        return b""

    def incidents(self) -> list[dict[str, Any]]:
        return []

    def bans(self) -> list[dict[str, Any]]:
        return []

    def shadow(self) -> list[list[Any]]:
        """Nothing is in shadow."""
        return []

    def lift(self, address: str) -> list[str]:
        return []


class Site:
    """Serves a document for the time of a `with` block."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="smtpguard-page-")
        self._file = Path(self._folder.name, "status.json")
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self.says(document)

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self._port}/"

    def says(self, document: dict[str, Any] | None) -> None:
        """From now on it tells this, or fails."""
        new = self._file.with_suffix(".new")
        new.write_text("" if document is None else json.dumps(document))
        new.replace(self._file)

    def start(self) -> None:
        """Listen, at the port of before if there was one."""
        place = f"tcp:{self._port}:interface=127.0.0.1"
        command = [sys.executable, "-m", "tests.page.site", place, str(self._file)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        there, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        line = self._process.stdout.readline() if there else ""
        assert line, "it did not start"
        self._port = int(line)

    def stop(self) -> None:
        """Be gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()


def main(place: str, path: str) -> None:
    """Serve until killed."""
    from twisted.internet import reactor as installed  # noqa: TID251 - a process of its own

    reactor: Any = installed
    # Its clock makes every answer too old to be given again.
    answers = Answers(Written(Path(path)), count().__next__, "127.0.0.1")
    listening: Any = serverFromString(reactor, place).listen(admin.Site(reactor, answers))
    listening.addCallback(lambda port: print(port.getHost().port, flush=True))  # noqa: T201
    reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    answers.FRESH_SECONDS = answers.FRESH_SHARE = 0.0  # type: ignore[misc]  # what is said now is what is shown now
    main(sys.argv[1], sys.argv[2])
