"""Who is told of incidents: a program that is really run, a server that is really asked."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from smtpguard.ledger import hook as module
from smtpguard.ledger.hook import Hook
from tests.rig.wait import wait_until

INCIDENT: dict[str, Any] = {"id": 7, "key": "192.0.2.7", "names": ["root; touch /tmp/owned", "$(id)", "`id`", "\\r\\n"]}


class Said(list[str]):
    """What a hook said."""

    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def said() -> Said:
    """Nothing yet."""
    return Said()


@pytest.fixture
def made() -> Iterator[list[Hook]]:
    """Hooks that are closed at the end."""
    hooks: list[Hook] = []
    yield hooks
    for one in hooks:
        one.close()


def script(folder: Path, text: str) -> list[str]:
    """Return the command of a shell script, whose first argument is a folder."""
    path = folder / "hook.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return [str(path), str(folder)]


def threads() -> int:
    """Return how many threads of hooks there are."""
    return sum(one.name.startswith("hook ") for one in threading.enumerate())


# -- a program --------------------------------------------------------------------------------------------


def test_a_program_reads_the_incident_as_json(tmp_path: Path, said: Said, made: list[Hook]) -> None:
    """As it is, with its arguments as they stand in the settings, and no shell in between."""
    command = script(tmp_path, 'cat >"$1/in"; printf "%s\\n" "$@" >"$1/arguments"; env >"$1/env"; pwd >"$1/done"')
    made.append(Hook(said, [*command, "a b", "$(id)"]))
    made[0].tell("opened", INCIDENT)
    wait_until(lambda: made[0].told, "the program to end")
    assert json.loads((tmp_path / "in").read_text()) == {"event": "opened", **INCIDENT}
    assert (tmp_path / "arguments").read_text() == f"{tmp_path}\na b\n$(id)\n"
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"PATH", "LANG", "PWD", "_", "SHLVL", "OLDPWD"}
    assert (tmp_path / "done").read_text() == "/\n"
    assert said == []


def test_it_begins_with_no_signal_blocked_and_no_descriptor_but_three(
    tmp_path: Path, said: Said, made: list[Hook]
) -> None:
    """It is started in a thread that takes no signals, of a process that has sockets."""
    program = (
        "import os, signal, sys; fds = [fd for fd in range(64) if os.path.exists(f'/proc/self/fd/{fd}')]; "
        "open(sys.argv[1], 'w').write(f'{fds} {signal.pthread_sigmask(signal.SIG_BLOCK, ())}')"
    )
    with socket.socket() as ours:
        ours.set_inheritable(True)
        made.append(Hook(said, [sys.executable, "-c", program, str(tmp_path / "found")]))
        made[0].tell("opened", INCIDENT)
        wait_until(lambda: made[0].told, "the program to end")
    assert (tmp_path / "found").read_text() == "[0, 1, 2] set()"


def test_one_that_hangs_is_killed_with_what_it_started(tmp_path: Path, said: Said, made: list[Hook]) -> None:
    """After its time; the next one is run."""
    made.append(Hook(said, script(tmp_path, 'sleep 600 & echo $! >"$1/child"; echo $$ >"$1/pid"; wait'), timeout=0.5))
    made[0].tell("opened", INCIDENT)
    wait_until(lambda: said, "the program to be killed")
    assert said == [
        f"incidents.hook: command {tmp_path}/hook.sh: killed after 0.5 s; nothing further is said until it works again"
    ]
    for name in ("child", "pid"):
        pid = int((tmp_path / name).read_text())
        wait_until(partial(is_gone, pid), f"the {name} to be gone")


def is_gone(pid: int) -> bool:
    """True if there is no such process, or one that has ended."""
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def test_one_that_does_not_read_is_no_fault(tmp_path: Path, said: Said, made: list[Hook]) -> None:
    """Even if more is sent than a pipe holds."""
    made.append(Hook(said, script(tmp_path, "exit 0")))
    made[0].tell("opened", {**INCIDENT, "names": ["x" * 200_000]})
    wait_until(lambda: made[0].told, "the program to end")
    assert said == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exit 3", "ended with status 3"),
        ("kill -9 $$", "ended with status -9"),
        (None, "cannot be run: No such file or directory"),
    ],
)
def test_what_fails_is_said_once_and_counted(
    tmp_path: Path, said: Said, made: list[Hook], text: str | None, why: str
) -> None:
    """Until one works again, and that is said, too."""
    command = script(tmp_path, f'test -e "$1/works" || {text}')
    if text is None:
        Path(command[0]).rename(tmp_path / "elsewhere")
    made.append(Hook(said, command))
    for _ in range(3):
        made[0].tell("opened", INCIDENT)
    wait_until(lambda: made[0].failed == 3, "three to fail")
    assert said == [f"incidents.hook: command {command[0]}: {why}; nothing further is said until it works again"]
    (tmp_path / "works").touch()
    if text is None:
        (tmp_path / "elsewhere").rename(command[0])
    made[0].tell("opened", INCIDENT)
    wait_until(lambda: made[0].told, "one to work")
    assert said[1:] == [f"incidents.hook: command {command[0]}: works again; 3 in vain so far"]


def test_so_many_are_run_at_once_and_so_many_wait(tmp_path: Path, said: Said, made: list[Hook]) -> None:
    """Of more it is said once that they are not told; an incident is told of in order."""
    (tmp_path / "gate").write_bytes(b"")
    running = (
        'echo $$ >>"$1/running"; while test -e "$1/gate"; do sleep 0.02; done; read -r line; echo "$line" >>"$1/in"'
    )
    made.append(Hook(said, script(tmp_path, running), timeout=60))
    for number in range(2 * module.WAITING + module.AT_ONCE + 60):
        made[0].tell("opened", {"id": number})
        if number == module.AT_ONCE - 1:
            wait_until(lambda: len(read(tmp_path / "running")) == module.AT_ONCE, "as many as may to run")
    wait_until(lambda: made[0].failed == 60, "the rest to be left out")
    assert len(read(tmp_path / "running")) == module.AT_ONCE
    assert said == [
        f"incidents.hook: command {tmp_path}/hook.sh: too many wait; nothing further is said until it works again"
    ]
    (tmp_path / "gate").unlink()
    wait_until(lambda: made[0].told == 2 * module.WAITING + module.AT_ONCE, "all that waited to be told", 60)
    told = [json.loads(line)["id"] for line in read(tmp_path / "in")]
    assert [one for one in told if one % 2 == 0] == sorted(one for one in told if one % 2 == 0)


def read(path: Path) -> list[str]:
    """Return the lines of a file that may not be there yet."""
    return path.read_text().splitlines() if path.exists() else []


def test_nobody_waits_long_for_it_at_the_end(tmp_path: Path, said: Said) -> None:
    """What hangs is left to its time-out; the service ends."""
    one = Hook(said, script(tmp_path, 'echo $$ >"$1/pid"; exec sleep 600'), timeout=60)
    one.tell("opened", INCIDENT)
    pid = wait_until(lambda: read(tmp_path / "pid"), "the program to run")
    began = time.monotonic()
    one.close()
    assert time.monotonic() - began < module.LAST_SECONDS + 1
    one.tell("closed", INCIDENT)  # and is not told of any more
    os.kill(int(pid[0]), signal.SIGKILL)
    wait_until(lambda: not threads(), "its threads to end")


def test_no_thread_is_there_before_there_is_something_to_tell(said: Said) -> None:
    """So that a fork in between finds none."""
    one = Hook(said, ["/bin/true"])
    assert not threads()
    one.close()


# -- a server ---------------------------------------------------------------------------------------------


class Server:
    """An HTTP server that answers as it is told."""

    def __init__(
        self, answer: Callable[[http.server.BaseHTTPRequestHandler], None], tls: tuple[Path, Path] | None
    ) -> None:
        self.got: list[tuple[str, str, bytes, dict[str, str]]] = []
        ours = self

        class Requests(http.server.BaseHTTPRequestHandler):
            """Notes what it gets."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                ours.got.append((self.command, self.path, body, dict(self.headers.items())))
                answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            """Who breaks off is no news."""

            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass

        self.server = Quiet(("127.0.0.1", 0), Requests)
        self.port = self.server.server_address[1]
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers, which end with the test."""
    servers: list[Server] = []

    def start(answer: Callable[[Any], None], tls: tuple[Path, Path] | None = None) -> Server:
        servers.append(Server(answer, tls))
        return servers[-1]

    yield start
    for one in servers:
        one.close()


def status(code: int, **headers: str) -> Callable[[Any], None]:
    """Return what answers with a status."""

    def answer(request: Any) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def test_a_server_gets_the_incident_as_json(
    serve: Callable[..., Server], said: Said, made: list[Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By POST, with the URL's path and query; a proxy of the environment is not asked."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server = serve(status(204))
    made.append(Hook(said, webhook=f"http://127.0.0.1:{server.port}/hooks/mail?key=1"))
    made[0].tell("closed", INCIDENT)
    wait_until(lambda: made[0].told, "the answer")
    (method, path, body, headers) = server.got[0]
    assert (method, path) == ("POST", "/hooks/mail?key=1")
    assert json.loads(body) == {"event": "closed", **INCIDENT}
    assert headers["Content-Type"] == "application/json"
    assert said == []


@pytest.mark.parametrize("code", [301, 307, 404, 500])
def test_another_answer_than_a_good_one_is_a_failure(
    serve: Callable[..., Server], said: Said, made: list[Hook], code: int
) -> None:
    """And where it points to is not asked; nor is it tried again."""
    elsewhere = serve(status(200))
    server = serve(status(code, Location=f"http://127.0.0.1:{elsewhere.port}/"))
    made.append(Hook(said, webhook=f"http://127.0.0.1:{server.port}/"))
    made[0].tell("opened", INCIDENT)
    wait_until(lambda: said, "the answer")
    assert said == [
        f"incidents.hook: webhook: answered with status {code}; nothing further is said until it works again"
    ]
    assert (len(server.got), elsewhere.got) == (1, [])


def test_a_server_that_answers_an_octet_now_and_then_is_given_up(
    serve: Callable[..., Server], said: Said, made: list[Hook]
) -> None:
    """The time is one of it all, not of each octet."""
    over = threading.Event()

    def drip(request: Any) -> None:
        for octet in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
            request.wfile.write(bytes([octet]))
            if over.wait(0.1):
                return

    made.append(Hook(said, webhook=f"http://127.0.0.1:{serve(drip).port}/", timeout=1))
    began = time.monotonic()
    made[0].tell("opened", INCIDENT)
    wait_until(lambda: said, "it to be given up")
    over.set()
    assert time.monotonic() - began < 5
    assert said == ["incidents.hook: webhook: no answer in 1 s; nothing further is said until it works again"]


def test_a_server_that_is_not_there_is_a_failure(said: Said, made: list[Hook]) -> None:
    """And so is one that talks something else."""
    made.append(Hook(said, webhook="http://127.0.0.1:1/"))
    made[0].tell("opened", INCIDENT)
    wait_until(lambda: said, "the failure")
    assert "Connection refused" in said[0]


def test_a_certificate_is_verified(
    serve: Callable[..., Server], said: Said, made: list[Hook], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an authority that OpenSSL trusts, and for the name in the URL."""
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *(
                "-keyout",
                key,
                "-out",
                chain,
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ),
        ],
        check=True,
        capture_output=True,
    )
    server = serve(status(200), (chain, key))
    made.append(Hook(said, webhook=f"https://localhost:{server.port}/"))
    made[0].tell("opened", INCIDENT)
    wait_until(lambda: said, "the refusal")
    assert "CERTIFICATE_VERIFY_FAILED" in said[0]
    assert server.got == []
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    made[0].tell("opened", INCIDENT)
    wait_until(lambda: made[0].told, "the answer")
    made.append(Hook(other := Said(), webhook=f"https://127.0.0.1:{server.port}/"))
    made[1].tell("opened", INCIDENT)
    wait_until(lambda: other, "the refusal")
    assert "CERTIFICATE_VERIFY_FAILED" in other[0]
    assert len(server.got) == 1
