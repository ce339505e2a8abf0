"""`smtpguard status`, as it is run."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from smtpguard.cli.drawing import bars, drawn
from smtpguard.cli.showing import show
from smtpguard.cli.status import plain
from tests.admin.sample import NOW, status
from tests.admin.serving import Served, served
from tests.rig.guard import ROOT
from tests.rig.wait import wait_until

HOSTILE = "\x1b]0;x\x07\x1b[2J\r\n\t\x00\x7f\x9b\u202eevil\u2066\u200b[bold red]markup[/]\ud800"
REFUSED = {"at": NOW - 180, "ok": False, "faults": ["policy.yaml:3:5: unknown verb"] * 12, "warnings": []}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as another program does."""
    command = [sys.executable, "-m", "smtpguard", "status", *arguments]
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)


@contextmanager
def endpoint(folder: Path, **wishes: Any) -> Iterator[tuple[Served, str]]:
    """Serve, and write settings that say where."""
    place = f"unix:{folder}/admin.sock"
    settings = folder / "smtpguard.yaml"
    settings.write_text(yaml.safe_dump({"admin": [place], "listen": "nonsense"}))
    with served("uvloop", place, **wishes) as running:
        yield running, str(settings)


def test_a_service_that_is_ready_is_shown_in_columns_with_status_0(tmp_path: Path) -> None:
    """What a person asks first stands first; what clients tried stands there as it was."""
    with endpoint(tmp_path) as (_, settings):
        done = run("--config", settings)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "smtpguard 0.9.0 on mx.example.org: ready"
    assert "running      for 1 d 1 h, process 4711" in lines
    assert "turned away  12 for limit, 1 for sessions" in lines
    assert re.search(r"^tcp:192\.0\.2\.4:25 +down +30 s ago +0 +3 +connection refused$", done.stdout, re.M)
    assert re.search(r"^policy\.yaml:12, check_vrfy 2 +reply +12 +40$", done.stdout, re.M)
    assert "root, [bold]admin[/bold]" in done.stdout
    assert done.stdout.isascii()


def test_a_service_that_is_not_ready_has_status_1_and_says_why(tmp_path: Path) -> None:
    """A check for monitoring in one line of shell."""
    with endpoint(tmp_path, status={"ready": False, "ready_because": "stopping"}) as (_, settings):
        done = run("--config", settings)
    assert done.returncode == 1
    assert done.stdout.startswith("smtpguard 0.9.0 on mx.example.org: NOT READY: stopping\n")


def test_a_reload_that_was_refused_has_status_1_and_tells_its_faults(tmp_path: Path) -> None:
    """The service goes on, and somebody believes that it has the new policy."""
    with endpoint(tmp_path, status={"reload": REFUSED}) as (_, settings):
        done = run("--config", settings)
    assert done.returncode == 1
    assert "! the last reload was refused 3 min ago; what was in use before stays in use" in done.stdout
    assert done.stdout.count("! policy.yaml:3:5: unknown verb") == 10
    assert "! and 2 more" in done.stdout


def test_what_a_reload_has_warned_of_is_told(tmp_path: Path) -> None:
    """Keys that wait for the next start: who reads only the status believes that they are in force."""
    warned = {"at": NOW - 180, "ok": True, "faults": [], "warnings": ["smtpguard.yaml:3:1: listen: at the next start"]}
    with endpoint(tmp_path, status={"reload": warned}) as (_, settings):
        done = run("--config", settings)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[1:3] == [
        "! the last reload, 3 min ago, came with 1 warning:",
        "! smtpguard.yaml:3:1: listen: at the next start",
    ]


def test_too_few_descriptors_are_told_with_the_sessions() -> None:
    """For as long as it is so, and not only at the start."""
    sessions = {"now": 0, "limit": 416, "configured": 2000, "total": 1, "turned_away": {}, "live": []}
    written = plain(show(status(sessions=sessions)))
    assert "sessions     0 of 416, 1 in all; too few descriptors for 2000 (limits.sessions)\n" in written


def test_a_policy_in_shadow_is_told_and_so_is_what_the_relay_check_means_for_clients() -> None:
    """Else nobody sees from the status that nothing is refused yet."""
    policy = {"path": "policy.yaml", "version": "1f2e3d4c", "loaded": 0, "rules": 1, "tests": 0}
    waits = {"standing": "wait", "because": "relay check without an answer yet"}
    shadowed = plain(show(status(policy={**policy, "shadow": 1}, relay_check=waits)))
    assert "\nin shadow    the policy, or part of it, is only logged; smtpguard report tells " in shadowed
    assert "\nrelay check  no client is served yet - relay check without an answer yet\n" in shadowed
    acting = plain(show(status(policy={**policy, "shadow": 0})))
    assert "in shadow" not in acting
    assert "\nrelay check  clients are served\n" in acting


def test_a_policy_that_was_changed_and_not_loaded_is_told(tmp_path: Path) -> None:
    """Who has forgotten the reload looks here; what was loaded after the change is in use."""
    file = tmp_path / "policy.yaml"
    file.write_text("rulesets: {}\n")
    for loaded, told in ((NOW - 600, True), (NOW - 60, False)):
        os.utime(file, (NOW - 120, NOW - 120))
        policy = {"path": str(file), "version": "1f2e3d4c", "loaded": loaded, "rules": 1, "tests": 0}
        with endpoint(tmp_path, status={"policy": policy}) as (_, settings):
            done = run("--config", settings)
        words = f"! {file} was changed 2 min ago, after it was loaded, and is not in use yet:"
        assert (words in done.stdout.splitlines()) is told
        assert ("! smtpguard check, then systemctl reload smtpguard" in done.stdout) is told
        assert done.returncode == 0


def test_who_is_slowed_or_sent_away_is_shown_and_counted() -> None:
    """With what is done, for which limit, until when."""
    written = plain(show(status()))
    assert re.search(r"^203\.0\.113\.4 +sent away +guessers +20.* \(in 15 min\)$", written, re.M)
    assert re.search(r"^203\.0\.113\.5 +each command waits 2\.5 s +scanners ", written, re.M)
    assert "\n(1 more)\n" in written


def test_one_of_a_thing_is_one_and_a_thing_has_one_name() -> None:
    """The words of the log: the table has them, too."""
    incident = {"id": 1, "key": "192.0.2.7", "deeds": {"probes": 1, "recipients": 2, "auth": 1}}
    written = plain(show(status(incidents=[incident], log={"lost": 1}, policy={"rules": 1})))
    assert "1 probe, 2 refused recipients, 1 refused AUTH" in written
    assert re.search(r"^log +1 line lost$", written, re.M)
    assert "1 rule, loaded" in written


def test_with_json_the_document_comes_as_it_is(tmp_path: Path) -> None:
    """And the exit status is the same as without."""
    with endpoint(tmp_path, status={"reload": REFUSED}) as (_, settings):
        done = run("--config", settings, "--json")
    document = json.loads(done.stdout)
    del document["made"]
    assert document == status(reload=REFUSED)
    assert done.returncode == 1


def test_the_endpoint_may_be_named(tmp_path: Path) -> None:
    """A port too."""
    with served("uvloop", f"unix:{tmp_path}/x.sock", "tcp:0:interface=127.0.0.1") as site:
        port = site.places[1][1]
        assert run("--admin", f"unix:{tmp_path}/x.sock").returncode == 0
        assert run("--admin", f"tcp:{port}:interface=127.0.0.1").returncode == 0
        for as_typed in (
            f"{tmp_path}/x.sock",
            f"tcp:127.0.0.1:{port}",
            f"localhost:{port}",
            f"http://127.0.0.1:{port}/",
        ):
            assert run("--admin", as_typed).returncode == 0, as_typed


def test_who_does_not_answer_has_status_69_and_the_reason(tmp_path: Path) -> None:
    """Nobody there, a socket left behind, somebody else there, a settings file without an endpoint."""
    path = tmp_path / "x.sock"
    place = f"unix:{path}"
    assert_no_answer(run("--admin", place), f"no answer at {place}: there is no such socket: does the service run?")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert_no_answer(run("--admin", place), f"no answer at {place}: nobody listens there: does the service run?")
    settings = tmp_path / "smtpguard.yaml"
    settings.write_text("listen: tcp:25\n")
    done = run("--config", str(settings))
    assert_no_answer(
        done, f"{settings} names no admin endpoint: add `admin: unix:/run/smtpguard/admin.sock` and restart"
    )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"220 mx.example.org ESMTP\x1b[2J\r\n", "is no admin endpoint: BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "is no admin endpoint: its answer is no JSON"),
        (b"HTTP/1.1 200 OK\r\n\r\n[]", "is no admin endpoint: its answer is no status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "is no admin endpoint: its answer is no JSON"),
        (b"HTTP/1.1 403 No\r\n\r\n\x1b[2Jno\x9b", r"answers 403: \x1b[2Jno\x9b"),
        (b"", "no answer at"),
    ],
)
def test_what_is_no_admin_endpoint_has_status_69_and_does_nothing_to_the_terminal(
    tmp_path: Path, said: bytes, why: str
) -> None:
    """A mail server at that port, say."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            made, _ = server.accept()
            with made:
                made.recv(4096)
                made.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        done = run("--admin", f"tcp:{server.getsockname()[1]}:interface=127.0.0.1")
        thread.join()
    assert_no_answer(done, why)


def assert_no_answer(done: subprocess.CompletedProcess[str], why: str) -> None:
    assert done.returncode == 69, done
    assert done.stdout == ""
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr[:-1].isprintable()


def test_a_wrong_endpoint_is_a_usage_error_and_a_missing_file_is_one_too() -> None:
    """64 and 66, as with the other commands."""
    done = run("--admin", "tcp:25")
    assert done.returncode == 64
    assert "without interface= it is on all of them" in done.stderr
    assert run("--config", "/nonexistent/smtpguard.yaml").returncode == 66


# -- on a terminal -----------------------------------------------------------------------------------


def test_on_a_terminal_watch_draws_again_and_says_when_nobody_answers(tmp_path: Path) -> None:
    """Until somebody interrupts; the exit status is that of the last answer."""
    with endpoint(tmp_path) as (site, settings):
        master, slave = pty.openpty()
        command = [sys.executable, "-m", "smtpguard", "status", "--config", settings, "--watch", "0.2"]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "60"}
        with subprocess.Popen(command, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, env=environment) as watching:
            os.close(slave)
            seen = ""

            def sees(text: str) -> bool:
                nonlocal seen
                with suppress(OSError):  # it has ended
                    while select.select([master], [], [], 0)[0]:
                        seen += os.read(master, 65536).decode("utf-8", "replace")
                return text in seen

            try:
                wait_until(lambda: not sees("\0") and seen.count("mx.example.org: ready") > 1, "two pictures")
                site.process.terminate()
                wait_until(lambda: sees("no news: no answer at"), "it to say that nobody answers")
                assert sees("mx.example.org: ready")
                watching.send_signal(signal.SIGINT)
                # What it writes last has to be read, or it waits for that for ever.
                wait_until(lambda: not sees("\0") and watching.poll() is not None, "the end")
                assert watching.returncode == 69
            finally:
                watching.kill()
                os.close(master)


def test_watch_without_a_terminal_is_one_status_after_the_other(tmp_path: Path) -> None:
    """As JSON one a line."""
    with endpoint(tmp_path) as (_, settings):
        command = [sys.executable, "-m", "smtpguard", "status", "--config", settings, "--watch", "0.2", "--json"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as watching:
            try:
                assert watching.stdout is not None
                documents = [json.loads(watching.stdout.readline()) for _ in range(2)]
                watching.send_signal(signal.SIGINT)
                assert watching.wait(20) == 0
            finally:
                watching.kill()
    assert documents[0]["made"] <= documents[1]["made"]


# -- what is shown ---------------------------------------------------------------------------------

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(HOSTILE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def everywhere(value: object, text: str) -> Any:
    """Return a copy in which every text is this one."""
    if isinstance(value, dict):
        return {key: everywhere(inner, text) for key, inner in value.items()}
    if isinstance(value, list):
        return [everywhere(inner, text) for inner in value]
    return text if isinstance(value, str) else value


def on_a_terminal(document: dict[str, Any]) -> str:
    """Return what a terminal without colours is sent."""
    console = Console(force_terminal=True, color_system=None, width=200, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(drawn(show(document), "no answer"))
    return captured.get()


def test_hostile_text_reaches_no_terminal_as_it_is() -> None:
    """Neither control characters nor what turns the direction of text around, nor rich's markup."""
    document = everywhere(status(reload=REFUSED), HOSTILE)
    for written in (plain(show(document)), on_a_terminal(document)):
        assert all(line.isprintable() for line in written.splitlines()), written
        assert "[bold red]markup[/]" in written
        assert "\\x1b" in written


@given(st.dictionaries(st.sampled_from(sorted(status())), _values))
def test_a_document_of_another_form_is_shown_as_far_as_it_goes(parts: dict[str, Any]) -> None:
    """A newer or older service may answer."""
    document = status(**parts)
    for written in (plain(show(document)), on_a_terminal(document)):
        assert all(line.isprintable() for line in written.splitlines())


def test_bars_show_where_something_was() -> None:
    """Three minutes each; what is not nothing can be seen."""
    assert bars([0] * 57 + [100, 0, 0]) == " " * 19 + "█"
    assert bars([1, 0, 0] + [0] * 54 + [1000, 0, 0]) == "▁" + " " * 18 + "█"
    assert bars([0] * 60) == " " * 20
