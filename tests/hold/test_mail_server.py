"""A mail server that says nothing, breaks off anywhere, or is half there."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.wait import wait_until

from .load import Load, marks
from .mailserver import AtRandom, MailServer, silently, well
from .process import memory
from .support import (
    CLIENTS_AT_ONCE,
    FORMS,
    KINDS,
    WAYS,
    HeldGuard,
    ends,
    is_quiet,
    lines_of,
    returns,
    serves,
    transferring,
)

BANNER_SECONDS = 3
"""timeouts.banner."""
LATE = re.compile(r"421 4\.4\.2 \S+ Time-out waiting for the mail server")
UNSERVED = re.compile(
    r"421 4\.4\.2 \S+ Connection to the mail server was lost to .*"
    r"|421 4\.3\.2 \S+ Mail server not available, try again later to .*"
    r"|the end, to QUIT"  # which is all that it asked for
)


@FORMS
@pytest.mark.parametrize("flags", WAYS)
def test_a_server_that_never_speaks(tmp_path: Path, flags: Sequence[str], long: bool) -> None:
    """Every client gets 421 when timeouts.banner is over; the log has a line each, and the next client is served."""
    count = 1500 if long else 300
    settings = {"timeouts": {"banner": BANNER_SECONDS + (10 if long else 0), "shutdown": 2}}
    with MailServer() as server, HeldGuard(tmp_path, server.address, settings, flags) as guard:
        serves(guard)
        before = memory(guard.pid)
        server.manner = silently
        with ExitStack() as stack, lines_of(guard) as lines:
            clients: list[Talk] = []
            began = time.monotonic()
            while len(clients) < count:
                clients += [
                    stack.enter_context(Talk("127.0.0.1", guard.port, "127.0.0.1", greet=False, seconds=60))
                    for _ in range(CLIENTS_AT_ONCE)
                ]
            for client in clients:
                assert LATE.fullmatch(client.reply().decode("ascii").rstrip("\r\n"))
                assert client.closed()
            assert settings["timeouts"]["banner"] - 0.5 < time.monotonic() - began < settings["timeouts"]["banner"] + 15
            wait_until(lambda: _told(guard, "(time-out)") >= count, "all to be told")
        assert sum("mail server: no reply in time (banner)" in line for line in lines) == count
        assert len(lines) <= 2 * count + 5
        is_quiet(guard)
        server.manner = well
        serves(guard)
        returns(guard, before)
        wait_until(lambda: server.open == 0, "the server's end of all of them to be closed")


def _told(guard: HeldGuard, what: str) -> int:
    return sum(what in line for line in guard.lines())


@pytest.mark.parametrize("flags", WAYS)
def test_it_ends_in_order_before_a_server_that_never_speaks(tmp_path: Path, flags: Sequence[str]) -> None:
    """Clients that wait for a banner are told at once."""
    with (
        MailServer(silently) as server,
        HeldGuard(tmp_path, server.address, None, flags) as guard,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(Talk("127.0.0.1", guard.port, greet=False)) for _ in range(50)]
        wait_until(lambda: server.open == 50, "the server to have them")
        ends(guard, 10)
        for client in clients:
            assert re.fullmatch(rb"421 4\.3\.2 \S+ Service is shutting down, try again later\r\n", client.reply())


@FORMS
@pytest.mark.parametrize("flags", WAYS)
def test_a_server_that_resets_connections_anywhere(tmp_path: Path, flags: Sequence[str], long: bool) -> None:
    """No message twice, none that got its 250 lost, none that did not accepted without doubt; clients are told why."""
    sessions = 20_000 if long else 400
    with MailServer(AtRandom(seed=1)) as server, HeldGuard(tmp_path, server.address, None, flags) as guard:
        before = memory(guard.pid)
        with Load(guard.port, 8) as load, lines_of(guard) as lines:
            wait_until(lambda: load.sessions >= sessions, "sessions", 600)
            load.stop()
        found = marks(server.accepted)
        assert not [mark for mark, count in found.items() if count > 1], "a message twice"
        assert load.told <= set(found), "a 250, and no message"
        assert set(found) - load.told <= load.unsure, "a message without a 250, whose client knows that it has none"
        assert len(load.told) > sessions / 20
        wrong = {text for text in load.failed if not UNSERVED.fullmatch(text)}
        assert not wrong
        faults = [line for line in lines if "mail server: connection lost" in line]
        assert 0 < len(faults) <= load.sessions
        assert not [line for line in lines if "Traceback" in line]
        server.manner = well
        serves(guard)
        is_quiet(guard)
        returns(guard, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_gone_and_has_not_said_so(tmp_path: Path, kind: str) -> None:
    """Half-open: it answers nothing in the middle of sessions.  timeouts.reply ends them, and then all is as before."""
    settings = {"timeouts": {"reply": 2, "data_end": 2, "shutdown": 2}}
    with MailServer() as server, HeldGuard(tmp_path, server.address, settings, ["--reactor", kind]) as guard:
        serves(guard)
        with ExitStack() as stack, lines_of(guard) as lines:
            clients = transferring(guard, stack, 20)
            with server.frozen():
                for client in clients:
                    client.send(b".\r\n")
                for client in clients:
                    assert LATE.fullmatch(client.reply().decode("ascii").rstrip("\r\n"))
                    assert client.closed()
            wait_until(lambda: _told(guard, "(time-out)") >= 20, "all to be told")
        assert sum("mail server: no reply in time (data_end): ." in line for line in lines) == 20
        serves(guard)
        ends(guard, 10)
