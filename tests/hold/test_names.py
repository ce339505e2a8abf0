"""Name servers that do not answer, or answer nonsense slowly, while clients come."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from smtpguard.sessions.resolver import IN_FLIGHT
from tests.rig.client import Talk
from tests.rig.wait import wait_until

from .load import Load
from .mailserver import MailServer
from .process import descriptors, memory
from .support import FORMS, KINDS, HeldGuard, ends, is_quiet, returns, serves

NAME_SERVER = "127.0.0.154"
TIMEOUT = 2
"""dns.timeout."""


class BadNameServer:
    """Listens on port 53, and swallows what it is asked, or answers it late with what is no answer."""

    def __init__(self, garbage: bool) -> None:
        self.asked: list[float] = []
        """When."""
        self._garbage = garbage
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((NAME_SERVER, 53))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (NAME_SERVER, 53))
        self._thread.join(20)
        self._socket.close()

    def _run(self) -> None:
        while True:
            question, asker = self._socket.recvfrom(2000)
            if not question:
                return
            self.asked.append(time.monotonic())
            if self._garbage:
                for answer in (b"", b"\xff" * 600, question[:2] + b"\x84\x00\xff\xff" * 100, question):
                    self._socket.sendto(answer, asker)


@FORMS
@pytest.mark.parametrize("garbage", [False, True], ids=["silent", "garbage"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_session_waits_for_a_name_server(tmp_path: Path, kind: str, garbage: bool, long: bool) -> None:
    """Log lines wait for no longer than dns.timeout, look-ups are bounded, and so are their sockets."""
    clients = 3000 if long else IN_FLIGHT + 200
    settings = {
        "dns": {"servers": [NAME_SERVER], "timeout": TIMEOUT, "cache": 100},
        "limits": {"sessions": 4000},
        "timeouts": {"shutdown": 2},
    }
    with (
        BadNameServer(garbage) as names,
        MailServer() as server,
        HeldGuard(tmp_path, server.address, settings, ["--reactor", kind]) as guard,
    ):
        serves(guard)
        before, had = memory(guard.pid), descriptors(guard.pid)
        sockets = 0
        began = time.monotonic()
        for number in range(clients):
            source = f"127.{2 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"
            with Talk("127.0.0.1", guard.port, source) as client:
                client.send(b"QUIT\r\n")
                assert client.reply().startswith(b"221 ")
            if number % 50 == 0:
                sockets = max(sockets, descriptors(guard.pid) - had)
        took = time.monotonic() - began
        wait_until(lambda: _ended(guard) > clients, "a line for each", TIMEOUT + 3)
        assert sockets <= IN_FLIGHT + 10
        if not garbage:  # which ends a look-up early
            assert len(names.asked) <= (took / TIMEOUT + 1) * IN_FLIGHT
        # A client with a name in the hosts file is served all the while, and nobody is slowed.
        with Load(guard.port, 4) as load:
            wait_until(lambda: load.sessions > 50, "mail")
            load.stop()
        assert not load.failed
        assert not [line for line in guard.lines() if "Traceback" in line or "Unhandled" in line]
        is_quiet(guard)
        wait_until(lambda: descriptors(guard.pid) <= had, "the sockets to be closed")
        returns(guard, before)
        ends(guard, 10)


def _ended(guard: HeldGuard) -> int:
    return sum("disconnect from" in line for line in guard.lines())


def test_a_line_waits_for_a_name_as_long_as_it_may_and_no_longer(tmp_path: Path) -> None:
    """And at the end of the service what waits is written."""
    settings = {"dns": {"servers": [NAME_SERVER], "timeout": TIMEOUT}}
    with (
        BadNameServer(garbage=False),
        MailServer() as server,
        HeldGuard(tmp_path, server.address, settings) as guard,
        ExitStack() as stack,
    ):
        began = time.monotonic()
        with Talk("127.0.0.1", guard.port, "127.9.0.1") as client:
            assert client.say("QUIT").startswith("221 ")
        assert time.monotonic() - began < TIMEOUT / 2
        line = guard.wait_line(r"disconnect from .*127\.9\.0\.1")
        assert TIMEOUT - 0.5 < time.monotonic() - began < TIMEOUT + 5  # later on a busy machine
        assert re.search(r"disconnect from \[127\.9\.0\.1\] quit=1 commands=1$", line)
        client = stack.enter_context(Talk("127.0.0.1", guard.port, "127.9.0.2"))
        assert client.say("QUIT").startswith("221 ")
        ends(guard, 10)
        assert [line for line in guard.lines() if "disconnect from [127.9.0.2] quit=1" in line]
