"""`smtpguard replay` as it is called: what it prints, how it ends, what it says when it cannot."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from .made import CLIENT, pcap, talk, written
from .test_captures import SAID
from .test_transcripts import MARKED

COMMAND = (sys.executable, "-m", "smtpguard", "replay")
POLICY = "networks: {internal: [10.0.0.0/8]}\nrulesets:\n  check_vrfy:\n    - {action: reply}\n"


def run(*words: str | Path) -> tuple[int, list[str], str]:
    """Run the command; return its status, the lines of stdout, and stderr."""
    done = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines(), done.stderr


def sessions(lines: Sequence[str]) -> list[str]:
    """Return the first words of the lines that begin a session."""
    return [
        line.split()[0]
        for line in lines
        if line[:1].isdigit() and " refused" in line and " line" in line and " in " not in line
    ]


@pytest.fixture(name="capture")
def two_sessions(tmp_path: Path) -> Path:
    """A capture with a session that begins first and ends last, and one within it."""
    outer, inner = talk(SAID), talk(SAID[:3], client="10.1.2.3", port=40001)
    return written(tmp_path, pcap([*outer[:6], *inner, *outer[6:]]))


@pytest.fixture(name="policy")
def policy_file(tmp_path: Path) -> Path:
    """A policy with one rule."""
    path = tmp_path / "site.yaml"
    path.write_text(POLICY)
    return path


def test_sessions_are_told_in_the_order_they_began(capture: Path, policy: Path) -> None:
    """The first with what is refused, the rule, and what the server said then."""
    status, lines, errors = run(capture, "--policy", policy)
    assert (status, errors) == (0, "")
    assert sessions(lines) == ["1", "2"]
    text = "\n".join(lines)
    assert f"{CLIENT}:40000 -> 25  3 lines, 1 refused" in text
    assert "then   250 2.1.5 George <george@x.test>" in text
    assert f"252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)  [{policy}:4 check_vrfy" in text
    assert "1 line refused in 2 sessions" in text


def test_only_changes_leaves_the_other_sessions_out(capture: Path, policy: Path) -> None:
    """The totals are those of all."""
    _, lines, _ = run(capture, "--policy", policy, "--only-changes")
    assert sessions(lines) == ["1"]
    assert "1 line refused in 2 sessions" in lines


def test_two_policies_that_differ_end_with_status_1(capture: Path, policy: Path, tmp_path: Path) -> None:
    """And with 0 if they come to the same on this recording, whatever else they say."""
    other = tmp_path / "other.yaml"
    other.write_text(POLICY.replace("reply", "close"))
    status, lines, _ = run(capture, "--policy", policy, "--against", other)
    assert status == 1
    assert "1 difference in 1 session" in lines
    assert any(
        line.split()[:3] == ["1", "1", "VRFY"] and "[site.yaml:4" in line and "[other.yaml:4" in line for line in lines
    )
    other.write_text(POLICY + "  check_expn: [{action: close}]\n")
    status, lines, _ = run(capture, "--policy", policy, "--against", other)
    assert status == 0
    assert "no difference in 2 sessions" in lines


def test_for_programs_there_is_an_object_a_line(capture: Path, policy: Path) -> None:
    """Sessions, then the totals."""
    status, lines, _ = run(capture, "--policy", policy, "--json")
    first, second, totals = map(json.loads, lines)
    assert status == 0
    assert first["client"] == CLIENT
    (told,) = first["told"]
    assert (told["line"], told["said"], told["changed"]) == (2, "VRFY george", True)
    assert (told["before"]["verdict"], told["before"]["reply"][:3]) == ("reply", "252")
    assert second["told"] == []
    assert (totals["totals"], totals["sessions"], totals["lines"], totals["interrupted"]) == (True, 2, 4, False)
    assert [one["count"] for one in totals["refused"]] == [1]


def test_the_listener_is_found_by_its_port(tmp_path: Path) -> None:
    """With settings, whose ports are looked at, too; a listener that is named counts for all sessions."""
    (tmp_path / "site.yaml").write_text(
        "networks: {internal: [10.0.0.0/8]}\nrulesets: {check_vrfy: [{listener: mx, action: reply}]}\n"
    )
    (tmp_path / "guard.yaml").write_text(
        "listen: [{endpoint: 'tcp:587', name: sub}, {endpoint: 'tcp:2500', name: mx}]\n"
        "backend: tcp:127.0.0.1:2525\npolicy: site.yaml\n"
    )
    capture = written(tmp_path, pcap(talk(SAID, server_port=2500)))
    settings = ("--config", tmp_path / "guard.yaml", "--json")
    for options, refused in (((), 1), (("--listener", "sub"), 0)):
        status, lines, errors = run(capture, *settings, *options)
        assert (status, errors) == (0, "")
        assert json.loads(lines[0])["refused"] == refused
    status, _, errors = run(capture, *settings, "--listener", "sup")
    assert status == os.EX_USAGE
    assert "did you mean sub" in errors


def test_a_transcript_needs_to_know_the_client(policy: Path, tmp_path: Path) -> None:
    """It is another one's inside."""
    path = written(tmp_path, MARKED.encode("ascii"), "transcript")
    status, _, errors = run(path, "--policy", policy)
    assert status == os.EX_USAGE
    assert "--from 203.0.113.9" in errors
    policy.write_text(POLICY.replace("- {action", "- {from: internal, action: forward}\n    - {action"))
    for source, wanted in (
        ("203.0.113.9", "1 line refused in 1 session"),
        ("10.1.2.3", "0 lines refused in 1 session"),
    ):
        status, lines, _ = run(path, "--policy", policy, "--from", source)
        assert status == 0
        assert wanted in lines


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("missing.pcap",), os.EX_NOINPUT, "No such file"),
        (("site.yaml",), os.EX_DATAERR, "neither a capture"),
        (("smtp.pcap", "--port", "smtp"), os.EX_USAGE, "25,587"),
        (("smtp.pcap", "--from", "me"), os.EX_USAGE, "is not an address"),
        (("smtp.pcap", "--policy", "mailgard"), os.EX_NOINPUT, "mailgard"),
        (("/dev/null",), os.EX_DATAERR, "write the capture to a file"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(
    capture: Path, policy: Path, words: tuple[str, ...], status: int, told: str
) -> None:
    """With what to do instead."""
    folder = capture.parent
    found = [str(folder / one) if one.endswith((".pcap", ".yaml")) else one for one in words]
    got, _, errors = run(*found)
    assert (got, policy.exists()) == (status, True)
    assert told in errors


def test_octets_of_the_recording_are_escaped(policy: Path, tmp_path: Path) -> None:
    """A terminal gets none of them; credentials nobody."""
    said = [
        SAID[0],
        (True, b"EHLO x\r\n"),
        (False, b"250 \x1b[31mmx\r\n"),
        (True, b"AUTH PLAIN c2VjcmV0\r\nVRFY \x1b[2J\r\nVRFY \x9b\r\n"),
        (False, b"535 no\r\n250 \x1b]0;x\x07\r\n250 \x9b\r\n"),
    ]
    path = written(tmp_path, pcap(talk(said)))
    policy.write_text(POLICY + "  check_auth: [{action: reply}]\n")
    for options in ((), ("--json",)):
        status, lines, _ = run(path, "--policy", policy, *options)
        text = "\n".join(lines)
        assert status == 0
        assert text.isascii()
        assert not set(text) & set("\x1b\x07\x9b")
        assert "AUTH PLAIN ***" in text
        assert "c2VjcmV0" not in text


def test_a_bar_is_shown_on_a_terminal_and_nowhere_else(capture: Path, policy: Path) -> None:
    """Of long files; of short ones if it is asked for."""
    for option, shown in (((), False), (("--progress",), True)):
        ours, theirs = pty.openpty()
        try:
            words = [*COMMAND, str(capture), "--policy", str(policy), *option]
            subprocess.run(words, stdout=subprocess.PIPE, stderr=theirs, check=True)
            os.write(theirs, b"end")
            seen = b""
            while not seen.endswith(b"end"):
                seen += os.read(ours, 65536)
        finally:
            os.close(ours)
            os.close(theirs)
        assert (b"replaying" in seen) is shown


def test_an_interrupt_tells_what_was_found_so_far(policy: Path, tmp_path: Path) -> None:
    """Status 130."""
    one = pcap(talk(SAID))
    head, frames = one[:24], one[24:]
    port = (40000).to_bytes(2, "big")
    with (tmp_path / "long.pcap").open("wb") as file:
        file.write(head)
        for number in range(10_000):
            file.write(frames.replace(port, (2000 + number).to_bytes(2, "big")))
    words = [*COMMAND, str(tmp_path / "long.pcap"), "--policy", str(policy), "--json"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["session"] == 1
        process.send_signal(signal.SIGINT)
        *_, last = process.stdout
        assert process.stderr.read() == ""
    totals = json.loads(last)
    assert process.returncode == 130
    assert totals["interrupted"]
    assert 1 <= totals["sessions"] < 10_000
