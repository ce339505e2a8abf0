"""What an administrator tells a service of several workers, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.encryption.support import MX, Certified, listener, listening, starttls
from tests.rig.client import Talk
from tests.rig.guard import ROOT
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard, delivered, policy

from .support import accepts, children_of, client_of, stopped, two_workers, workers_guard, workers_of

TRANSACTION = ("MAIL FROM:<{}@b.example>", "RCPT TO:<george@x.test>", "DATA")


def begin_mail(client: Talk, sender: str) -> None:
    """Go as far as the first half of a message."""
    for command in ("EHLO me.test", *TRANSACTION):
        assert client.say(command.format(sender))[0] in "23", command
    client.send(b"Subject: s\r\n\r\nthe first half ")


def lost(reply: bytes) -> bool:
    """Tell if this is all that a client should hear of the end."""
    return re.fullmatch(rb"421 4\.[34]\.\d \S+ [^\r\n]+\r\n", reply) is not None


# -- the end ---------------------------------------------------------------------------------------


def test_all_workers_let_transactions_finish_and_then_end(server: RealSendmail, tmp_path: Path) -> None:
    """One is amid a message in each of them; the idle are turned away, and nobody can connect any more."""
    with workers_guard(tmp_path, server) as guard, ExitStack() as stack:
        pids = workers_of(guard)
        idle, busy = ([stack.enter_context(client_of(guard, pid)) for pid in pids] for _ in range(2))
        for client in busy:
            begin_mail(client, "drain")
        guard.signal(signal.SIGTERM)
        for client in idle:
            assert lost(client.rest())
        guard.wait_line("stopping; 4 sessions")
        wait_until(lambda: not accepts(guard.port), "nobody to listen")
        for client in busy:
            client.send(b"and the other")
            assert client.say("\r\n.").startswith("250 2.0.0 ")
            assert lost(client.rest())
        assert guard.wait_end() == os.EX_OK
        assert len(delivered(server, "drain@b.example", 2)) == 2
        assert sum("stopping" in line for line in guard.lines()) == 1


def test_a_second_signal_cuts_all_of_them_off(server: RealSendmail, tmp_path: Path) -> None:
    """But those of a terminal, which come to the workers too, are not counted twice."""
    with workers_guard(tmp_path, server) as guard, ExitStack() as stack:
        pids = workers_of(guard)
        busy = [stack.enter_context(client_of(guard, pid)) for pid in pids]
        for client in busy:
            begin_mail(client, "cut-off")
        # As Ctrl-C, or systemd with KillMode=control-group: to all of them at once.
        os.killpg(guard.pid, signal.SIGINT)
        guard.wait_line("stopping; 2 sessions")
        wait_until(lambda: not accepts(guard.port), "nobody to listen")
        for client in busy:
            client.send(b"and more ")
        os.killpg(guard.pid, signal.SIGINT)
        for client in busy:
            assert lost(client.rest())
        assert guard.wait_end() == os.EX_OK
    assert not [one for one in server.deliveries(0) if one.sender == "cut-off@b.example"]


def test_a_worker_that_does_not_end_is_killed(server: RealSendmail, tmp_path: Path) -> None:
    """It is stopped, as one that hangs; the other one's transaction has had its time."""
    with workers_guard(tmp_path, server, {"timeouts": {"shutdown": 0.2}}) as guard:
        hanging, _ = workers_of(guard)
        with stopped(hanging):
            guard.signal(signal.SIGTERM)
            assert guard.wait_end(20) == os.EX_OK
        guard.wait_line(rf"process {hanging}\) does not end: killed")


# -- certificates ----------------------------------------------------------------------------------


def test_all_workers_show_new_certificates_when_it_is_said_and_their_replacements_do(
    server: RealSendmail, tmp_path: Path
) -> None:
    """And with a fault, which is told once, none of them does."""
    certified = Certified(tmp_path / "certified")
    context = certified.trusting()
    context.check_hostname = False
    chain, key = certified.authority.issue((MX, "old.test")).write(tmp_path, "mx")
    one = listener("mx", starttls={"certificates": {"chain": "mx.crt", "key": "mx.key"}})
    backend = server.address, server.port
    with ConfiguredGuard(tmp_path, backend, policy(), **listening(one, workers=2)) as guard:

        def shown() -> set[str]:
            """Return the second name in the certificate, as 20 clients see it."""
            found = set()
            for _ in range(20):
                with starttls(guard.port, context) as client:
                    found.add(client.host_names[1])
            return found

        def times(line: str) -> int:
            return sum(line in one for one in guard.lines())

        assert shown() == {"old.test"}
        issued = certified.authority.issue((MX, "new.test"))
        key.write_bytes(issued.key_pem)
        guard.signal(signal.SIGHUP)
        guard.wait_line("reload refused, 1 fault: ")
        assert times("reload refused") == 1
        assert shown() == {"old.test"}
        chain.write_bytes(issued.chain_pem)
        guard.signal(signal.SIGHUP)
        guard.wait_line("reloaded: ")
        assert shown() == {"new.test"}
        assert times("reloaded: ") == 1
        dying, _ = two_workers(guard)
        os.kill(dying, signal.SIGKILL)
        two_workers(guard, other_than=dying)
        assert shown() == {"new.test"}


def test_settings_and_policy_of_a_replacement_are_those_that_are_in_use(server: RealSendmail, tmp_path: Path) -> None:
    """Files that have changed without a reload, or are faulty now, make no worker differ from the others."""
    with workers_guard(tmp_path, server) as guard, ExitStack() as stack:
        (tmp_path / "policy.yaml").write_text("rulesets: {check_vrfy: [{action: forward}]}\n")
        (tmp_path / "smtpguard.yaml").write_text("nonsense")
        dying, living = workers_of(guard)
        os.kill(dying, signal.SIGKILL)
        (new,) = set(two_workers(guard, other_than=dying)) - {living}
        client = stack.enter_context(client_of(guard, new))
        assert client.say("VRFY george").startswith("252 ")


# -- exit statuses ---------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a guard of two workers with a command line that must make it end by itself."""
    command = [sys.executable, "-m", "smtpguard", "run", "--workers", "2", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize("number", ["0", "257", "some", "-1", "1.5"])
def test_a_number_that_is_none_ends_with_64(number: str) -> None:
    done = run("--workers", number, "--listen", "tcp:0", "--backend", "tcp:127.0.0.1:1")
    assert done.returncode == os.EX_USAGE
    assert "--workers" in done.stderr


def test_a_port_in_use_ends_with_69(server: RealSendmail) -> None:
    """Told as one process tells it."""
    listen = f"tcp:{server.port}:interface=127.0.0.1"
    done = run("--listen", listen, "--backend", "tcp:127.0.0.1:1", "--relay-check", "off")
    assert done.returncode == os.EX_UNAVAILABLE
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"cannot listen at {listen}: [Errno 98] Address already in use; `ss -ltnp` shows who")


def test_a_guard_that_is_started_twice_does_not_share_the_port(server: RealSendmail, tmp_path: Path) -> None:
    """Though it could: the sockets of the workers share it among themselves."""
    with workers_guard(tmp_path, server) as guard:
        listen = f"tcp:{guard.port}:interface=127.0.0.1"
        done = run("--listen", listen, "--backend", "tcp:127.0.0.1:1", "--relay-check", "off")
        assert done.returncode == os.EX_UNAVAILABLE
        assert f"cannot listen at {listen}: " in done.stderr


def test_an_open_relay_is_not_made(server: RealSendmail) -> None:
    """The worker that has found it ends the service, and it is told once."""
    backend = f"tcp:{server.address}:{server.port}"
    done = run("--listen", "tcp:0:interface=127.0.0.1", "--backend", backend)
    assert done.returncode == os.EX_CONFIG
    assert len(re.findall("would relay mail from", done.stderr)) == 1
    assert "listening" not in done.stderr


def test_a_backend_that_turns_out_to_relay_ends_all_with_78(tmp_path: Path) -> None:
    """Clients got 421 until then."""
    with RealSendmail() as gone:
        port = gone.port
    with workers_guard(tmp_path, gone, {"relay_check": "enforce"}) as guard:
        with Talk("127.0.0.1", guard.port) as client:
            assert client.banner.startswith("421 ")
        with RealSendmail(listen=[("127.0.0.1", port)]):
            assert guard.wait_end() == os.EX_CONFIG


def test_a_mail_server_that_does_not_answer_keeps_all_workers_at_once_and_no_signal() -> None:
    """Not one after the other, as each may wait for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        command = [sys.executable, "-m", "smtpguard", "run", "--workers", "2", "--listen", "tcp:0:interface=127.0.0.1"]
        command += ["--backend", f"tcp:127.0.0.1:{mute.getsockname()[1]}"]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            mute.settimeout(20)
            asked = [mute.accept()[0] for _ in range(2)]
            assert len(children_of(process.pid)) == 3  # and the clerk
            process.terminate()
            _, said = process.communicate(timeout=20)
            for one in asked:
                one.close()
        finally:
            process.kill()
            process.wait()
        assert process.returncode == os.EX_OK
        assert "listening" not in said


def test_a_reactor_that_is_not_there_ends_with_69(tmp_path: Path) -> None:
    """With what to do about it; there is no uvloop where it cannot be imported."""
    (tmp_path / "uvloop.py").write_text("raise ImportError('none here')\n")
    command = [sys.executable, "-m", "smtpguard", "run", "--reactor", "uvloop", "--relay-check", "off"]
    command += ["--listen", "tcp:0:interface=127.0.0.1", "--backend", "tcp:127.0.0.1:1"]
    for workers in ("1", "2"):
        done = subprocess.run(
            [*command, "--workers", workers],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
        assert done.returncode == os.EX_UNAVAILABLE
        (line,) = done.stderr.splitlines()
        assert "pip install uvloop, or --reactor stock" in line
