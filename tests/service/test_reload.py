"""Reloads under load: nothing is lost, and what has changed is what was asked for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from smtpguard.workers.crew import MOST_RETIRING
from tests.rig.client import Talk
from tests.rig.wait import wait_until
from tests.sendmail.support import resident
from tests.workers.support import client_of, stopped, two_workers, workers_of

from .load import Load
from .sink import Sink
from .support import REFUSED, RELOADED, ReloadedGuard, faulty, new_policy, numbered, policy_of

WORKERS = pytest.mark.parametrize("workers", [1, 2])
RELOADS = 10
"""Good ones, with a bad one behind each."""


@pytest.mark.parametrize(("workers", "reactor"), [(1, "uvloop"), (1, "stock"), (2, "uvloop"), (2, "stock")])
def test_twenty_reloads_under_load_lose_nothing(sink: Sink, tmp_path: Path, workers: int, reactor: str) -> None:
    """Good and bad in turns: every message arrives once, and every session has the policy of its beginning."""
    done = asked = 0

    def as_it_should_be(client: Talk) -> None:
        low = lows[id(client)]
        assert low <= policy_of(client) <= asked

    lows: dict[int, int] = {}

    class Watched(Talk):
        """Notes, before it connects, which policy is in use at least."""

        def __init__(self, *arguments: object) -> None:
            lows[id(self)] = done
            super().__init__(*arguments)  # type: ignore[arg-type]

    with ReloadedGuard(tmp_path, sink, {"workers": workers}, reactor) as guard, ExitStack() as stack:
        load = stack.enter_context(Load(guard.port, verdict=as_it_should_be, talk=Watched))
        old: list[tuple[int, Talk]] = []
        for number in range(1, RELOADS + 1):
            load.go_on()
            old.append((done, stack.enter_context(Talk("127.0.0.1", guard.port))))
            asked = number
            guard.write(numbered(number))
            guard.reload()
            done = number
            assert new_policy(guard) == number
            guard.write(faulty(number))
            guard.reload(REFUSED)
            assert new_policy(guard) == number
            # Of workers, as many generations go on as may.
            for began_with, client in old[-MOST_RETIRING:] if workers > 1 else old:
                assert policy_of(client) == began_with
        load.go_on()
    assert load.faults == []
    assert load.turned_away == 0
    assert load.unsure == set()
    assert set(sink.taken()) == load.accepted
    assert set(sink.taken().values()) == {1}
    assert guard.count(RELOADED) == guard.count(REFUSED) == RELOADS


@WORKERS
def test_every_fault_is_told_with_its_place_and_the_old_stays(sink: Sink, tmp_path: Path, workers: int) -> None:
    """Of settings, policy and certificates together, as `check` tells them; one line says what stays in use."""
    with ReloadedGuard(tmp_path, sink, {"workers": workers}) as guard:
        line = guard.wait_line(r"\(version \w+\)")
        version = line.partition("(version ")[2].partition(")")[0]
        guard.write(numbered(1).replace("check_vrfy", "check_vfry").replace("expect: 252", "expect: never"))
        settings = yaml.safe_load((tmp_path / "smtpguard.yaml").read_text())
        settings["listen"] = [{"endpoint": settings["listen"][0], "starttls": {"certificates": "none.pem"}}]
        (tmp_path / "smtpguard.yaml").write_text(yaml.safe_dump(settings))
        guard.reload(REFUSED)
        told = "\n".join(guard.lines())
        for fault in (r"policy\.yaml:\d+:\d+: .*check_vrfy", r"policy\.yaml:\d+:\d+: .*never", r"none\.pem:1:1: "):
            assert len(re.findall(fault, told)) == 1, (fault, told)
        assert f"reload refused, 3 faults: policy {version} of {tmp_path}/policy.yaml stays in use" in told
        (tmp_path / "smtpguard.yaml").unlink()
        guard.reload(REFUSED)
        assert f"{tmp_path}/smtpguard.yaml: No such file or directory" in "\n".join(guard.lines())
        assert new_policy(guard) == 0


@WORKERS
def test_a_reload_tells_what_check_tells(sink: Sink, tmp_path: Path, workers: int) -> None:
    """All of it, with faults in the settings as well; and of a policy that is gone, where it was looked for."""
    with ReloadedGuard(tmp_path, sink, {"workers": workers}) as guard:
        path = tmp_path / "smtpguard.yaml"
        settings = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({**settings, "policy": "policy.yaml", "workrs": 2, "timeouts": {"banner": 0}}))
        guard.write(numbered(1).replace("check_vrfy", "check_vfry").replace("expect: 252", "expect: never"))
        checked = _checked(path)
        assert len(checked) == 4
        guard.reload(REFUSED)
        guard.wait_line("reload refused, 4 faults: ")
        assert _told(guard, checked) == checked
        (tmp_path / "policy.yaml").unlink()
        checked = _checked(path)
        assert len(checked) == 3
        assert re.fullmatch(rf"{path}:\d+:\d+: policy: {tmp_path}/policy\.yaml: no such policy file, .*", checked[-1])
        guard.reload(REFUSED)
        guard.wait_line("reload refused, 3 faults: ")
        assert _told(guard, checked) == checked


def _checked(path: Path) -> list[str]:
    """Return the faults that `check` has."""
    command = [sys.executable, "-m", "smtpguard", "check", "--config", str(path)]
    return subprocess.run(command, capture_output=True, text=True).stderr.splitlines()


def _told(guard: ReloadedGuard, faults: list[str]) -> list[str]:
    """Return those of the faults that the log has."""
    return [fault for fault in faults if any(line.endswith(fault) for line in guard.lines())]


@WORKERS
def test_settings_are_taken_but_for_those_that_need_a_restart(sink: Sink, tmp_path: Path, workers: int) -> None:
    """Limits, the log and time-outs at once; a port that is not open yet is named."""
    with ReloadedGuard(tmp_path, sink, {"workers": workers}) as guard:
        settings = yaml.safe_load((tmp_path / "smtpguard.yaml").read_text())
        settings["limits"] = {"sessions_per_address": 1}
        settings["log"] = {"level": 11}
        settings["workers"] = 3
        settings["listen"] = [settings["listen"][0], "tcp:1:interface=127.0.0.1"]
        (tmp_path / "smtpguard.yaml").write_text(yaml.safe_dump(settings))
        guard.reload()
        with Talk("127.0.0.1", guard.port, "127.0.0.7") as client, Talk("127.0.0.1", guard.port, "127.0.0.7") as other:
            assert client.banner.startswith("220 ")
            assert other.banner.startswith("421 ")
        guard.wait_line("connect from ")
        place = re.escape(f"{tmp_path}/smtpguard.yaml")
        lines = (tmp_path / "smtpguard.yaml").read_text().splitlines()
        number = next(number for number, line in enumerate(lines, 1) if line.startswith("workers:"))
        guard.wait_line(f"{place}:{number}:1: warning: workers: what the settings say now holds from the next start on")
        number = lines.index("- tcp:1:interface=127.0.0.1") + 1
        new = "listen: tcp:1:interface=127.0.0.1 is listened on from the next start on"
        guard.wait_line(f"{place}:{number}:3: warning: {new}")


@WORKERS
def test_what_is_not_there_is_said_at_the_start_and_at_every_reload(sink: Sink, tmp_path: Path, workers: int) -> None:
    """At its place in the settings, as `check` says it."""
    hook = {"hook": {"command": [f"{tmp_path}/gone"]}}
    with ReloadedGuard(tmp_path, sink, {"workers": workers, "incidents": hook}) as guard:
        said = f"warning: command: {tmp_path}/gone: No such file or directory"
        assert guard.count(said) == 1
        guard.reload()
        assert guard.count(said) == 2


@WORKERS
def test_a_change_that_takes_a_restart_as_a_whole_is_refused(sink: Sink, tmp_path: Path, workers: int) -> None:
    """The listener whose clients could not be shown to the mail server stays open until the guard is started anew."""
    listen = ["tcp:0:interface=127.0.0.1", f"unix:{tmp_path}/smtp.sock"]
    with ReloadedGuard(tmp_path, sink, {"workers": workers, "listen": listen}) as guard:
        settings = yaml.safe_load((tmp_path / "smtpguard.yaml").read_text())
        settings["listen"] = listen[:1]
        (tmp_path / "smtpguard.yaml").write_text(yaml.safe_dump(settings))
        guard.reload()
        guard.wait_line(rf"listen: unix:{tmp_path}/smtp\.sock is listened on until the next start, as it was")
        settings["backend"] = {"endpoint": settings["backend"], "identity": "proxy-v1"}
        (tmp_path / "smtpguard.yaml").write_text(yaml.safe_dump(settings))
        guard.reload(REFUSED)
        guard.wait_line(rf"this takes a restart: .*clients of unix:{tmp_path}/smtp\.sock have no address")
        assert new_policy(guard) == 0


@WORKERS
def test_a_mail_server_that_would_relay_is_not_taken(sink: Sink, tmp_path: Path, workers: int) -> None:
    """The one in use goes on being used, and its sessions with it; the reload is refused for that reason."""
    with (
        Sink(relays=True) as relay,
        ReloadedGuard(tmp_path, sink, {"workers": workers, "relay_check": "enforce"}) as guard,
        Talk("127.0.0.1", guard.port) as old,
    ):
        settings = yaml.safe_load((tmp_path / "smtpguard.yaml").read_text())
        whole = {**settings, "backend": f"tcp:127.0.0.1:{relay.port}"}
        (tmp_path / "smtpguard.yaml").write_text(yaml.safe_dump(whole))
        guard.reload(REFUSED)
        guard.wait_line("would relay mail from .* to anywhere")
        assert old.say("NOOP") == "250 2.0.0 ok"
        assert new_policy(guard) == 0
        (tmp_path / "smtpguard.yaml").write_text(yaml.safe_dump(settings))
        guard.write(numbered(1))
        guard.reload()
        assert new_policy(guard) == 1
        assert policy_of(old) == 0


@WORKERS
def test_another_mail_server_is_taken(sink: Sink, tmp_path: Path, workers: int) -> None:
    """New sessions come to it, when it has been asked; the others stay where they are."""
    with (
        Sink() as other,
        ReloadedGuard(tmp_path, sink, {"workers": workers, "relay_check": "enforce"}) as guard,
        Talk("127.0.0.1", guard.port),
    ):
        before = sink.connections
        settings = yaml.safe_load((tmp_path / "smtpguard.yaml").read_text())
        whole = {**settings, "backend": f"tcp:127.0.0.1:{other.port}"}
        (tmp_path / "smtpguard.yaml").write_text(yaml.safe_dump(whole))
        guard.reload()
        asked = other.connections
        assert asked >= 1
        with Talk("127.0.0.1", guard.port) as client:
            assert client.banner.startswith("220 ")
        assert other.connections == asked + 1
        assert sink.connections == before


@WORKERS
def test_a_mail_server_that_was_found_not_to_relay_is_used_while_it_gives_no_clear_answer(
    sink: Sink, tmp_path: Path, workers: int
) -> None:
    """The policy changes, and it is asked again; that it does not say is no reason to turn everybody away."""
    with ReloadedGuard(tmp_path, sink, {"workers": workers, "relay_check": "enforce"}) as guard:
        sink.unclear = True
        guard.write(numbered(1))
        guard.reload()
        guard.wait_line("gave no clear answer: .*serving all the same")
        assert new_policy(guard) == 1


@WORKERS
def test_a_mail_server_that_becomes_a_relay_behind_a_reload_ends_no_service(
    sink: Sink, tmp_path: Path, workers: int
) -> None:
    """It was in use: clients get 421 until it relays no more, whether or not there was a reload."""
    settings = {"workers": workers, "relay_check": "enforce", "relay_check_interval": 1}
    with ReloadedGuard(tmp_path, sink, settings) as guard:
        guard.write(numbered(1))
        guard.reload()
        sink.relays = True
        guard.wait_line("would relay mail from .* to anywhere")
        wait_until(lambda: not any(_serves(guard) for _ in range(8)), "421 of all workers")
        sink.relays = False
        wait_until(lambda: _serves(guard), "the end of it", 30, lambda: "\n".join(guard.lines()))


def test_a_relay_that_comes_after_a_reload_without_an_answer_ends_no_service(tmp_path: Path) -> None:
    """The service was there before: new workers have taken nobody yet, and still it stays."""
    with (
        Sink() as sink,
        ReloadedGuard(tmp_path, sink, {"workers": 2, "relay_check": "enforce"}) as guard,
    ):
        sink.close()
        wait_until(lambda: not _serves(guard), "421")
        guard.write(numbered(1))
        guard.reload()
        with Sink(relays=True, port=sink.port) as relay:
            guard.wait_line("would relay mail from .* to anywhere", 40)
            assert not _serves(guard)
            relay.relays = False
            wait_until(lambda: _serves(guard), "the end of it", 60, lambda: "\n".join(guard.lines()))


def _serves(guard: ReloadedGuard) -> bool:
    with Talk("127.0.0.1", guard.port) as client:
        return client.banner.startswith("220 ")


@WORKERS
def test_a_storm_of_reloads_is_calm(sink: Sink, tmp_path: Path, workers: int) -> None:
    """A hundred at once are a few; and many, one after the other, leave nothing behind in memory."""
    with ReloadedGuard(tmp_path, sink, {"workers": workers}) as guard, Load(guard.port, clients=2) as load:
        for _ in range(3):
            guard.reload()
        before, size, descriptors = guard.count(RELOADED), resident(guard.pid), open_in(guard.pid)
        guard.write(numbered(1))
        for _ in range(100):
            os.kill(guard.pid, signal.SIGHUP)
        wait_until(lambda: new_policy(guard) == 1, "the new policy")
        load.go_on()
        # One that ran, and one for all that were asked for meanwhile; or some, where they came slowly.
        assert guard.count(RELOADED) - before < 100
        for _ in range(40 if workers == 1 else 8):
            guard.reload()
        grown = resident(guard.pid) - size
        assert grown < 4 << 20, grown
        load.end()
        if workers > 1:
            two_workers(guard)
        wait_until(lambda: open_in(guard.pid) <= descriptors, "no more descriptors than before")
    assert load.faults == []
    assert load.turned_away == 0


def open_in(pid: int) -> int:
    """Return how many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_old_workers_go_when_their_last_session_has_ended_or_there_are_too_many(sink: Sink, tmp_path: Path) -> None:
    """The oldest has to finish its transaction, and its idle sessions hear that the service is not available."""
    with ReloadedGuard(tmp_path, sink, {"workers": 2}) as guard, ExitStack() as stack:
        first = workers_of(guard)
        idle, busy = (stack.enter_context(client_of(guard, first[0])) for _ in range(2))
        for command in ("EHLO me.test", "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "DATA"):
            assert busy.say(command)[0] in "23"
        for _ in range(MOST_RETIRING):
            guard.reload()
            stack.enter_context(Talk("127.0.0.1", guard.port)).say("NOOP")
        wait_until(lambda: first[1] not in workers_of(guard), "the one without a session to end")
        assert first[0] in workers_of(guard)
        assert idle.say("NOOP") == "250 2.0.0 ok"
        guard.reload()
        assert re.fullmatch(rb"421 4\.[34]\.\d \S+ [^\r\n]+\r\n", idle.rest())
        assert busy.say("X-Number: last\r\n\r\ntext\r\n.") == "250 2.0.0 taken"
        wait_until(lambda: first[0] not in workers_of(guard), "the oldest to end")
        assert len(workers_of(guard)) <= 2 * (1 + MOST_RETIRING)
        assert sink.taken()["last"] == 1


def test_limits_hold_for_old_and_new_workers_together(sink: Sink, tmp_path: Path) -> None:
    """Five sessions, of which three are with workers that retire."""
    limits = {"limits": {"sessions": 5}}
    with ReloadedGuard(tmp_path, sink, {"workers": 2, **limits}) as guard, ExitStack() as stack:
        for _ in range(3):
            assert stack.enter_context(Talk("127.0.0.1", guard.port)).banner.startswith("220 ")
        guard.reload()
        for _ in range(2):
            assert stack.enter_context(Talk("127.0.0.1", guard.port)).banner.startswith("220 ")
        with Talk("127.0.0.1", guard.port) as client:
            assert client.banner.startswith("421 ")


def test_a_worker_that_hangs_is_killed_and_replaced(sink: Sink, tmp_path: Path) -> None:
    """Its event loop does not turn; the other one serves meanwhile."""
    with ReloadedGuard(tmp_path, sink, {"workers": 2}) as guard:
        hanging, _ = workers_of(guard)
        with stopped(hanging):
            guard.wait_line(rf"worker \d \(process {hanging}\) hangs: killed", 40)
            two_workers(guard, other_than=hanging)
        assert new_policy(guard) == 0
