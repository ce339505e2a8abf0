"""A real HAProxy, a balancer in front of one server, out of Debian's package haproxy.

It runs with a configuration of its own as long as the `with` block lasts; of the machine's own HAProxy,
which need not run, nothing but the program is used.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from .sendmail import RigError, choose_ports, find_tool, listening_ports, run_directory
from .wait import wait_until


class RealHaproxy:
    """HAProxy, listening at `listen`, each address with a port of its own, for the server at `target`.

    `header` is `send-proxy` (version 1) or `send-proxy-v2`.  With `checked` it asks every 200 ms whether the
    server is there, by SMTP and behind a header too, and `state` tells what it found.
    """

    def __init__(self, target: tuple[str, int], header: str, listen: Sequence[str], checked: bool = False) -> None:
        """Only take the settings."""
        self._target = target
        self._header = header
        self._wanted = tuple(listen)
        self._checked = checked
        self._listen: list[tuple[str, int]] = []
        self._dir: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it; raise RigError with its own words if it does not listen."""
        if find_tool("haproxy") is None:
            raise RigError("cannot run haproxy: missing: haproxy")
        self._dir = run_directory("haproxy")
        try:
            self._listen = choose_ports([(address, 0) for address in self._wanted])
            self._start(self._dir)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and remove its files."""
        self.stop()

    def stop(self) -> None:
        """End it and remove its files; harmless twice."""
        process, self._process = self._process, None
        if process is not None:
            # Not gently: it would wait for its clients.
            process.kill()
            process.wait(5)
        directory, self._dir = self._dir, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)

    @property
    def ports(self) -> list[int]:
        """The port of each address, in their order."""
        return [port for _, port in self._listen]

    @property
    def state(self) -> str:
        """What it says of its server: `UP`, `DOWN`, or on the way from one to the other as `UP 1/2`."""
        columns, server = (line.split(",") for line in self._ask("show stat").splitlines() if ",BACKEND," not in line)
        return server[columns.index("status")]

    def log(self) -> str:
        """Return what it has written."""
        assert self._dir is not None, "haproxy is not running"
        return (self._dir / "output").read_text("latin-1")

    def _ask(self, command: str) -> str:
        assert self._dir is not None, "haproxy is not running"
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(10)
            asking.connect(str(self._dir / "stats"))
            # The third column says what a row is about: 4 is a server.
            asking.sendall(f"{command} -1 4 -1\n".encode())
            return b"".join(iter(lambda: asking.recv(65536), b"")).decode("ascii").strip()

    def _configuration(self, run: Path) -> str:
        target = f"{self._target[0]}:{self._target[1]}"
        check = "check inter 200ms check-send-proxy" if self._checked else ""
        return "\n".join(
            [
                "global",
                "  maxconn 500",
                f"  stats socket {run}/stats",
                "  log stdout format raw local0",
                "defaults",
                "  mode tcp",
                "  log global",
                "  timeout connect 5s",
                "  timeout client 60s",
                "  timeout server 60s",
                "listen smtp",
                *(f"  bind {address}:{port}" for address, port in self._listen),
                *(["  option smtpchk EHLO balancer.test"] if self._checked else []),
                f"  server guard {target} {self._header} {check}",
                "",
            ]
        )

    def _start(self, run: Path) -> None:
        (run / "haproxy.cfg").write_text(self._configuration(run))
        with (run / "output").open("wb") as output:
            process = subprocess.Popen(
                # As RealSendmail: it ends with the thread that starts it.
                ["setpriv", "--pdeathsig=KILL", str(find_tool("haproxy")), "-db", "-f", str(run / "haproxy.cfg")],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._process = process

        def ready() -> bool:
            if process.poll() is not None:
                raise RigError(f"haproxy ended with {process.returncode} at start\n{self.log()}")
            return set(self.ports) <= listening_ports()

        wait_until(ready, "haproxy to listen", 20, self.log)
