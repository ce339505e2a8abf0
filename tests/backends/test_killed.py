"""Real sendmails are killed and started again under load: what becomes of every message is known."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random  # noqa: TID251 - seeded

import pytest
from attrs import define, field, frozen

from tests.rig.client import NotSmtp, Talk

from .support import Mortal, guard_for, wait_log

SECONDS = 20
CLIENTS = 4
AFTER_A_KILL = 5.0
"""Seconds within which a session notices that its sendmail was killed, on a busy machine."""
UNLIKE_EACH_OTHER = {"interval": 1, "timeout": 5}
_NUMBER = re.compile(r"^number (\d+)-(\d+) ends$", re.MULTILINE)


@frozen
class Fate:
    """What the client of one message knows."""

    number: tuple[int, int]
    reply: str
    """The last one; empty if there was none."""
    dotted: bool
    """The final dot was sent."""
    at: float

    @property
    def accepted(self) -> bool:
        return self.dotted and self.reply.startswith("250 ")

    @property
    def in_doubt(self) -> bool:
        """RFC 1047: the dot was sent, and its reply was lost with the server, of which the guard tells by 421."""
        return self.dotted and (not self.reply or self.reply.startswith("421 "))


@define
class Client:
    """Sends one message after the other."""

    name: int
    port: int
    fates: list[Fate] = field(factory=list)

    def run(self, until: float) -> None:
        count = 0
        while time.monotonic() < until:
            count += 1
            self.fates.append(self._send((self.name, count)))

    def _send(self, number: tuple[int, int]) -> Fate:
        reply, dotted = "", False
        try:
            with Talk("127.0.0.1", self.port) as client:
                reply = client.banner
                dialogue = ["EHLO me.test", "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "DATA"]
                for line in dialogue:
                    if reply[0] != "2":
                        return Fate(number, reply, dotted, time.monotonic())
                    reply = client.say(line)
                if reply[0] != "3":
                    return Fate(number, reply, dotted, time.monotonic())
                body = f"Subject: {number}\r\n\r\nnumber {number[0]}-{number[1]} ends\r\n"
                client.send(body.encode() + b"filling\r\n" * 200)
                reply, dotted = "", True
                reply = client.say(".")
                client.say("QUIT")
        except (OSError, NotSmtp):
            pass  # the connection ended: `reply` is the last there was
        return Fate(number, reply, dotted, time.monotonic())


def _kill_by_turns(servers: Sequence[Mortal], until: float, lot: Random) -> list[float]:
    """Kill one after the other, and start it again; now and then all of them.  Return when."""
    kills = []
    turn = 0
    while time.monotonic() < until - 3:
        time_to_next = threading.Event()
        time_to_next.wait(lot.uniform(0.5, 1.5))
        by = signal.SIGKILL if turn % 3 else signal.SIGTERM
        dying = servers if turn % 5 == 4 else [servers[turn % len(servers)]]
        for server in dying:
            kills.append(time.monotonic())
            server.end(by)
            kills.append(time.monotonic())
        time_to_next.wait(lot.uniform(0.0, 1.0))
        for server in dying:
            server.begin_again()
        turn += 1
    return kills


@pytest.mark.parametrize("balance", ["order", "round-robin"])
def test_every_message_that_got_a_250_is_there_once_and_no_other(tmp_path: Path, balance: str) -> None:
    """At one backend, whichever was killed when; those whose reply was lost with a server apart (RFC 1047)."""
    servers = [Mortal() for _ in range(3)]
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        guard = stack.enter_context(
            guard_for(
                tmp_path,
                [(one.address, one.port) for one in servers],
                {"relay_check": "enforce", "limits": {"sessions_per_address": 100}},
                balance=balance,
                health=UNLIKE_EACH_OTHER,
                profile="sendmail",
                bind="127.0.0.25",
            )
        )
        until = time.monotonic() + SECONDS
        clients = [Client(name, guard.port) for name in range(CLIENTS)]
        threads = [threading.Thread(target=client.run, args=(until,)) for client in clients]
        for thread in threads:
            thread.start()
        kills = _kill_by_turns(servers, until, Random(41))
        for thread in threads:
            thread.join(60)
        fates = [fate for client in clients for fate in client.fates]
        queues = [Counter(_NUMBER.findall("\n".join(server.queued()))) for server in servers]

        found = sum(queues, Counter())
        times = {fate.number: found[(str(fate.number[0]), str(fate.number[1]))] for fate in fates}
        accepted = [fate for fate in fates if fate.accepted]
        doubtful = [fate for fate in fates if fate.in_doubt]
        refused = [fate for fate in fates if not fate.accepted and not fate.in_doubt]
        told = f"{len(accepted)} accepted, {len(doubtful)} in doubt, {len(refused)} refused, {len(kills) // 2} kills"
        assert [fate for fate in accepted if times[fate.number] != 1] == [], told
        assert [fate for fate in refused if times[fate.number]] == [], told
        assert [fate for fate in doubtful if times[fate.number] > 1] == [], told
        # Each that is in doubt had its server killed a moment before.
        lonely = [fate for fate in doubtful if not any(0 <= fate.at - kill <= AFTER_A_KILL for kill in kills)]
        assert lonely == [], told
        assert len(doubtful) <= CLIENTS * len(kills) // 2, told
        assert len(accepted) > 20, told
        assert sum(bool(queue) for queue in queues) > 1, told
        assert len(found) == sum(map(bool, times.values()))  # and nothing that nobody has sent
        wait_log(guard, "is up again after ")
