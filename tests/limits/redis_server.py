"""A real redis-server of the test's own, on a unix socket."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.rig.wait import wait_until


class RedisServer:
    """A Redis in a folder, for the time of a `with` block; it can be killed and started again."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        """`options` are further ones of redis-server."""
        self._folder = folder
        self._options = tuple(options)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> Path:
        """The socket."""
        return self._folder / "redis.sock"

    @property
    def url(self) -> str:
        """As `state` has it."""
        return f"redis+unix://{self.path}"

    def client(self) -> redis.Redis:
        """Return a client of its own."""
        return redis.Redis(unix_socket_path=str(self.path), socket_timeout=5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.path), "--save", "", "--dir"]
        command += [str(self._folder), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

        def answers() -> bool:
            try:
                return bool(self.client().ping())
            except redis.RedisError:
                assert self._process is None or self._process.poll() is None, "redis-server has ended"
                return False

        try:
            wait_until(answers, "redis-server to answer")
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def stop_answering(self) -> None:
        """Keep its connections, and answer nothing any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
