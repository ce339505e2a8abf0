"""`smtpguard audit` as it is typed."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from smtpguard.audit.probes import NAMES, PROBES
from smtpguard.cli.audit import _target
from smtpguard.cli.main import main
from tests.rig.guard import ROOT
from tests.rig.sendmail import free_port

from .scripted import Peer, Scripted, table

HOSTILE = b"220 \x1b[2J\x1b]0;owned\x07\x9b31m\0\xe2\x80\xae mx 2.5\r\n"

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Call the command; returns its status, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(["audit", *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mx.example.org", ("mx.example.org", 0)),
        ("mx.example.org:2525", ("mx.example.org", 2525)),
        ("192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1:25", ("192.0.2.1", 25)),
        ("2001:db8::1", ("2001:db8::1", 0)),
        ("[2001:db8::1]", ("2001:db8::1", 0)),
        ("[2001:DB8:0::1]:2525", ("2001:db8::1", 2525)),
    ],
)
def test_a_target_is_a_name_or_an_address_and_perhaps_a_port(text: str, expected: tuple[str, int]) -> None:
    """0 stands for the usual port."""
    assert _target(text) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("mx:0",),
        ("mx:65536",),
        ("mx:smtp",),
        ("[mx]:25",),
        ("[::1",),
        ("m x",),
        ("mx\r\nVRFY",),
        ("--timeout", "0", "mx"),
        ("--timeout", "nan", "mx"),
        ("--helo", "a b", "mx"),
        ("--known", "a\r\nb", "mx"),
        ("--known", ".", "mx"),
        ("--recipient", "nobody", "mx"),
        ("--recipient", "<a@b>", "mx"),
        ("--source", "here", "mx"),
        ("--only", "nothing", "mx"),
        ("--tls", "always", "mx"),
        ("mx", "mx2"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(typed: Typed, arguments: tuple[str, ...]) -> None:
    """Before anything is looked up; no option gets a line end into a command."""
    status, out, err = typed(*arguments)
    assert (status, out) == (os.EX_USAGE, "")
    assert "Error: " in err


def test_who_cannot_be_reached_is_told_of(typed: Typed) -> None:
    """On stderr, with the status of an unavailable service; in JSON too if that is asked for."""
    port = free_port()
    status, out, err = typed(f"127.0.0.1:{port}")
    assert (status, out) == (os.EX_UNAVAILABLE, "")
    assert err == f"smtpguard: 127.0.0.1 port {port}: Connection refused\n"
    status, out, err = typed("--json", f"127.0.0.1:{port}")
    assert status == os.EX_UNAVAILABLE
    assert json.loads(out)["error"] == f"127.0.0.1 port {port}: Connection refused"


@pytest.mark.parametrize(("reply", "status"), [(b"500 no\r\n", 0), (b"200 Debug set\r\n", 1)])
def test_the_status_is_for_cron(typed: Typed, reply: bytes, status: int) -> None:
    """0 or 1, the same in both forms of the report."""
    with Scripted(table({b"DEBUG": reply})) as server:
        assert typed("--only", "verbs", f"127.0.0.1:{server.port}")[0] == status
        found, out, _ = typed("--only", "verbs", "--json", f"127.0.0.1:{server.port}")
    assert found == json.loads(out)["status"] == status


def test_a_server_without_service_is_no_good_one(typed: Typed) -> None:
    """As if it had not been reached, but with a report."""
    with Scripted(lambda peer: peer.send(b"421 too many connections\r\n")) as server:
        status, out, _ = typed(f"127.0.0.1:{server.port}")
    assert status == os.EX_UNAVAILABLE
    assert "could not be asked: banner: 421 too many connections" in out


def test_the_options_are_what_the_server_hears(typed: Typed) -> None:
    """Its own address by default, since a name may be anybody's."""
    with Scripted(table()) as server:
        at = f"127.0.0.1:{server.port}"
        typed("--only", "vrfy", at)
        typed("--only", "vrfy", "--only", "relay", "--helo", "me.test", "--known", "bob", "--recipient", "a@b.test", at)
        heard = [bytes(session.received) for session in server.sessions]
    assert b"EHLO [127.0.0.1]\r\nVRFY postmaster\r\n" in heard[0]
    assert b"EHLO me.test\r\nVRFY bob\r\n" in b"".join(heard)
    assert b"MAIL FROM:<a@b.test>\r\nRCPT TO:<a@b.test>\r\nRCPT TO:<a%b.test@fake.test>\r\n" in b"".join(heard)


def test_the_probes_are_listed(typed: Typed) -> None:
    """Each with a line, without a host."""
    status, out, _ = typed("--list")
    assert status == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list(NAMES) == [probe.name for probe in PROBES]
    assert all(len(line.split()) > 3 for line in lines)


def test_the_help_says_what_the_status_means(typed: Typed) -> None:
    """And that no mail is delivered."""
    status, out, _ = typed("--help")
    assert status == 0
    assert re.findall(r"^ +(\d+)  ", out, re.MULTILINE) == ["0", "1", "64", "69"]
    assert "no mail is delivered" in " ".join(out.split())


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a process of its own."""
    command = [sys.executable, "-m", "smtpguard", "audit", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output="stdout" not in options, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_nothing_raw_gets_through_to_the_terminal(form: tuple[str, ...]) -> None:
    """Not from the banner, nor from a reply."""

    def script(peer: Peer) -> None:
        peer.send(HOSTILE)
        while (line := peer.line()) is not None:
            peer.send(b"250 ok\r\n" if line.startswith(b"EHLO") else HOSTILE.replace(b"220", b"550"))

    with Scripted(script) as server:
        only = [word for name in ("banner", "help", "vrfy", "expn", "verbs") for word in ("--only", name)]
        done = run(*form, *only, f"127.0.0.1:{server.port}")
    assert done.stderr == b""
    assert re.fullmatch(rb"[\n\x20-\x7e]+", done.stdout)
    assert (rb"220 \\033[2J" if form else rb"220 \033[2J") in done.stdout
    assert done.returncode == 1


def test_a_terminal_gets_colours_and_its_own_width() -> None:
    """A pipe gets neither."""
    with Scripted(table()) as server:
        arguments = ("--only", "banner", "--only", "starttls", f"127.0.0.1:{server.port}")
        ours, theirs = pty.openpty()
        try:
            done = run(*arguments, stdout=theirs, stderr=subprocess.PIPE, env={**os.environ, "COLUMNS": "60"})
            os.close(theirs)
            shown = os.read(ours, 65536).decode()
        finally:
            os.close(ours)
        piped = run(*arguments).stdout.decode()
    assert done.returncode == 1
    assert "\x1b[33m\x1b[1mwarning\x1b[0m" in shown
    assert "\x1b" not in piped
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert len(plain) > len(piped.splitlines())
