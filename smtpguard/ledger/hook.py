"""Tells a program or a URL of incidents, as JSON.

Contract: nobody waits for it.  A few are told at once, each in a thread of its own; a bounded number wait, and what has
no room is counted.  Each is told once, and given up after its time; a program is killed then, with all that it started.
What fails is logged once until one succeeds again.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from .. import __version__
from .thread import WorkThread

AT_ONCE: Final = 2
"""Programs, or requests, at once."""
WAITING: Final = 100
"""Messages that wait for each of them."""
LAST_SECONDS: Final = 2.0
"""For what waits, when the service ends."""
ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
"""All that a program finds in its environment; nothing in it comes from a client."""


class _Failed(Exception):
    """It was not told; the text says why."""


class Hook:
    """A program or a URL."""

    def __init__(
        self,
        say: Callable[[str], None],
        command: list[str] | None = None,
        webhook: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        """`say` is called in threads."""
        self._say = say
        self._timeout = timeout
        self._send: Callable[[bytes], None] = (
            partial(_run, command, timeout) if command is not None else partial(_post, webhook or "", timeout)
        )
        self._name = f"command {command[0]}" if command is not None else "webhook"
        self._threads = [WorkThread(f"hook {number}", self._broken, WAITING) for number in range(AT_ONCE)]
        self._lock = threading.Lock()
        self._failing = False
        self.told = 0
        self.failed = 0
        """How many were not told, or in vain."""

    def tell(self, event: str, incident: Mapping[str, Any]) -> None:
        """Tell of an incident, soon; the same incident by the same thread, so that it hears of its end last."""
        document = json.dumps({"event": event, **incident}).encode("ascii") + b"\n"
        thread = self._threads[int(incident["id"]) % AT_ONCE]
        if not thread.put(partial(self._tell, document)):
            self._note("too many wait")

    def close(self, seconds: float = LAST_SECONDS) -> None:
        """Take no more; tell what waits, and wait so long for it."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.close(max(0.0, deadline - time.monotonic()))

    def _tell(self, document: bytes) -> None:
        try:
            self._send(document)
        except _Failed as error:
            self._note(str(error))
        else:
            with self._lock:
                self.told += 1
                again, self._failing = self._failing, False
            if again:
                self._say(f"incidents.hook: {self._name}: works again; {self.failed} in vain so far")

    def _note(self, why: str) -> None:
        with self._lock:
            self.failed += 1
            first, self._failing = not self._failing, True
        if first:
            self._say(f"incidents.hook: {self._name}: {why}; nothing further is said until it works again")

    def _broken(self, error: Exception) -> None:
        self._note(f"{type(error).__name__}: {error}")


def _run(command: list[str], timeout: float, document: bytes) -> None:
    before = signal.pthread_sigmask(signal.SIG_SETMASK, ())  # or the program would begin with all signals blocked
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise _Failed(f"cannot be run: {error.strerror}") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        process.communicate(document, timeout)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise _Failed(f"killed after {timeout:g} s") from None
    if process.returncode:
        raise _Failed(f"ended with status {process.returncode}")


def _post(url: str, timeout: float, document: bytes) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        # Made anew each time: the authorities that are trusted may have been renewed.
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=timeout, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    # The time-out of a socket is one of each octet; this is one of them all.
    late = threading.Event()
    timer = threading.Timer(timeout, _cut, (connection, late))
    timer.daemon = True
    timer.start()
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Content-Type": "application/json", "User-Agent": f"smtpguard/{__version__}", "Connection": "close"}
        connection.request("POST", target, document, headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise _Failed(f"no answer in {timeout:g} s") from None
        raise _Failed(str(error) or type(error).__name__) from None
    finally:
        timer.cancel()
        connection.close()
    if not 200 <= status < 300:
        raise _Failed(f"answered with status {status}")


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(2)
