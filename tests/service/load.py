"""Clients that send mail without pause, and know what became of every message."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.rig.client import NotSmtp, Talk
from tests.rig.wait import wait_until

MESSAGES_A_SESSION = 3


class TurnedAway(Exception):
    """The guard said 421, at the beginning or between transactions."""


class Load:
    """So many clients, each in a thread, for the time of a `with` block."""

    def __init__(
        self,
        port: int,
        clients: int = 4,
        verdict: Callable[[Talk], None] | None = None,
        talk: Callable[[str, int], Talk] = Talk,
    ) -> None:
        """`verdict` is called at the beginning of every session, and may raise AssertionError; `talk` connects."""
        self._talk = talk
        self.accepted: set[str] = set()
        """Messages that got a 250."""
        self.unsure: set[str] = set()
        """Whose final dot got no reply."""
        self.turned_away = 0
        self.sessions = 0
        self.faults: list[str] = []
        self._port = port
        self._verdict = verdict
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self.end()

    def end(self) -> None:
        """Let each finish its session."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads), "a client waits for ever"

    def go_on(self, sessions: int = 4) -> None:
        """Wait until so many more sessions have ended."""
        wanted = self.sessions + sessions
        wait_until(lambda: self.sessions >= wanted or self.faults, f"{wanted} sessions", 30, lambda: str(self.faults))
        assert not self.faults, self.faults

    def _run(self, client: int) -> None:
        number = 0
        while not self._over.is_set() and not self.faults:
            number += 1
            try:
                self._session(f"{client}-{number}")
            except TurnedAway:
                with self._lock:
                    self.turned_away += 1
            except (OSError, NotSmtp, AssertionError) as error:
                with self._lock:
                    self.faults.append(f"session {client}-{number}: {type(error).__name__}: {error}")
            with self._lock:
                self.sessions += 1

    def _session(self, name: str) -> None:
        with self._talk("127.0.0.1", self._port) as client:
            _good(client.banner)
            _good(client.say("EHLO me.test"))
            if self._verdict is not None:
                self._verdict(client)
            for place in range(MESSAGES_A_SESSION):
                self._message(client, f"{name}-{place}")
            _good(client.say("QUIT"))

    def _message(self, client: Talk, number: str) -> None:
        for command in ("MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "DATA"):
            _good(client.say(command))
        client.send(f"X-Number: {number}\r\nSubject: s\r\n\r\n".encode() + b"text\r\n" * 20)
        with self._lock:
            self.unsure.add(number)
        reply = client.say(".")
        with self._lock:
            self.unsure.discard(number)
        _good(reply)
        with self._lock:
            self.accepted.add(number)


def _good(reply: str) -> None:
    if reply.startswith("421 "):
        raise TurnedAway(reply)
    assert reply[0] in "23", reply
