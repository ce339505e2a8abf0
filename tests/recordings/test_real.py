"""Traffic of a real sendmail, captured by tcpdump as an administrator does, and replayed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from smtpguard.recordings.opening import Recording
from tests.rig.client import Talk
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until
from tests.sendmail.support import INSIDE, OUTSIDE, ConfiguredGuard, policy

POLITE = [
    "EHLO me.test", "VRFY george", "vrfy  nobody", "EXPN all", "NOOP", "HELP", "MAIL FROM:<a@b.example>",
    "RCPT TO:<george@x.test>", "RCPT TO:<nobody@x.test>", "DATA", "Subject: VRFY\r\n\r\nVRFY root\r\n.", "DEBUG",
    "VRFY bob", "QUIT",
]  # fmt: skip
ODD = ["EHLO me.test", "VRFY\tgeorge", "WIZ", "EXPN", "FROB x", "MAIL FROM: a b c", "ETRN x", "VERB", "VRFY geo\x00rge"]


@contextmanager
def captured(path: Path, ports: Sequence[int], sessions: int) -> Iterator[None]:
    """Capture what goes over `lo` to and from `ports` for the time of the block, and until so many sessions ended."""
    wanted = " or ".join(f"tcp port {port}" for port in ports)
    command = ["tcpdump", "-i", "lo", "-w", str(path), "-s", "0", "-U", "-B", "16384", "-Z", "root", wanted]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("listening on" in line for line in iter(process.stderr.readline, ""))
            yield

            def whole() -> bool:
                with Recording(path, frozenset(ports)) as recording:
                    return sum(not one.told for _, one in recording.sessions()) >= sessions

            def story() -> str:
                with Recording(path, frozenset(ports)) as recording:
                    return "\n".join(f"{one.number}: {one.told}: {one.runs[-1:]}" for _, one in recording.sessions())

            wait_until(whole, "the capture to have all sessions", detail=story)
        finally:
            process.terminate()
            process.wait(20)


def dialogue(port: int, source: str, lines: Sequence[str]) -> list[str]:
    """Say lines one by one, as far as the other side goes along; return what it answered."""
    answers = []
    with Talk("127.0.0.1", port, source) as client:
        for line in lines:
            answers.append(client.say(line))
            if answers[-1].startswith(("221", "421")):
                break
    return answers


def replayed(file: Path, *options: str) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    """Run the command; return its sessions, its totals, and its exit status."""
    command = [sys.executable, "-m", "smtpguard", "replay", str(file), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    *sessions, totals = map(json.loads, done.stdout.splitlines())
    return sessions, totals, done.returncode


def logged(lines: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Return client, line, reply and rule of all that a guard's log in JSON says it refused, in order of these.

    What is against the grammar has no rule, and its reply is not logged.
    """
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return sorted(
        (one["client"], one["line"], one.get("reply", ""), one.get("rule", ""))
        for one in events
        if one["event"] == "violation" or (one["event"] in ("refused", "probe") and one["verdict"] != "forward")
    )


def told(sessions: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Return the same of a replay."""
    refused = [
        (session["client"], line["said"], line["before"])
        for session in sessions
        for line in session["told"]
        if line["before"]["verdict"] in ("reply", "close")
    ]
    return sorted(
        (client, said, before["reply"], before["rule"]) if before["rule"].startswith("/") else (client, said, "", "")
        for client, said, before in refused
    )


@pytest.fixture(scope="module")
def stock() -> Iterator[RealSendmail]:
    """A sendmail as it comes."""
    with RealSendmail() as server:
        yield server


def test_a_capture_replayed_gives_the_verdicts_of_the_guards_log(stock: RealSendmail, tmp_path: Path) -> None:
    """Outside and inside; captured in front of the guard, and at a sendmail that has no guard."""
    file, direct = tmp_path / "guarded.pcap", tmp_path / "direct.pcap"
    backend = stock.address, stock.port
    with ConfiguredGuard(tmp_path, backend, policy(), {"log": {"format": "json"}}) as guard:
        with captured(file, [guard.port], 3):
            guarded = [dialogue(guard.port, OUTSIDE, POLITE), dialogue(guard.port, INSIDE, POLITE)]
            dialogue(guard.port, OUTSIDE, ODD)
        guard.stop()
        log = logged(guard.lines())
    with captured(direct, [stock.port], 2):
        unguarded = [dialogue(stock.port, OUTSIDE, POLITE), dialogue(stock.port, INSIDE, POLITE)]
    rules = str(tmp_path / "policy.yaml")
    sessions, totals, status = replayed(file, "--policy", rules, "--port", str(guard.port))
    assert status == 0
    assert told(sessions) == log
    assert len(log) > 8
    assert not [line for session in sessions for line in session["told"] if line["changed"]]
    assert totals["supposed"] == 0

    sessions, totals, _ = replayed(direct, "--policy", rules, "--port", str(stock.port))
    assert told(sessions) == [one for one in log if one[1] in POLITE]
    then = {line["said"]: line["then"] for line in sessions[0]["told"] if line["changed"]}
    assert then["VRFY george"].startswith("250 2.1.5 ")
    # What a client was told by the guard, and would be told according to the replay, is the same.
    for session, live, without in zip(sessions, guarded, unguarded, strict=True):
        now = {line["line"]: line["before"]["reply"] for line in session["told"] if line["changed"]}
        assert now == {number: live[number - 1] for number in now}
        rest = [
            at for at in range(1, len(POLITE)) if at + 1 not in now and not live[at].startswith(("221", "250 2.0.0"))
        ]
        assert [live[at] for at in rest] == [without[at] for at in rest]


def test_transcripts_of_swaks_and_of_sendmail_itself_are_read(stock: RealSendmail, tmp_path: Path) -> None:
    """What both have written of one session comes to the same."""
    before = len(stock.traffic())
    words = ["swaks", "--server", "127.0.0.1", "--port", str(stock.port), "--ehlo", "me.test"]
    words += ["--from", "a@b.example", "--to", "george@x.test", "--body", "VRFY root\n\nEXPN all"]
    swaks = subprocess.run(words, capture_output=True, check=True).stdout
    (tmp_path / "swaks").write_bytes(swaks)

    def traffic() -> str:
        """Return the lines of this session: the end of an earlier one may be written only now."""
        lines = stock.traffic()[before:].splitlines(keepends=True)
        process = next((line.split()[0] for line in lines if line.split()[1:3] == ["<<<", "EHLO"]), "none")
        return "".join(line for line in lines if line.startswith(f"{process} "))

    wait_until(lambda: "closing connection" in traffic(), "the end of the session")
    (tmp_path / "traffic").write_bytes(traffic().encode("latin-1"))
    (tmp_path / "policy.yaml").write_text("rulesets: {check_quit: [{action: close}]}\n")
    found = [
        replayed(tmp_path / name, "--policy", str(tmp_path / "policy.yaml"), "--from", "203.0.113.9")
        for name in ("swaks", "traffic")
    ]
    for (session,), totals, status in found:
        assert status == 0
        assert (session["lines"], totals["forwarded"], totals["supposed"]) == (6, 5, 0)
        (told,) = session["told"]
        assert (told["said"], told["before"]["verdict"]) == ("QUIT", "close")
    assert found[0][0] == found[1][0]


def test_what_changes_between_two_policies_is_told(stock: RealSendmail, tmp_path: Path) -> None:
    """Before a site forbids VRFY for everybody: who would notice."""
    file = tmp_path / "smtp.pcap"
    with captured(file, [stock.port], 2):
        dialogue(stock.port, OUTSIDE, POLITE)
        dialogue(stock.port, INSIDE, POLITE)
    (tmp_path / "policy.yaml").write_text(policy())
    options = ["--policy", str(tmp_path / "policy.yaml"), "--port", str(stock.port), "--only-changes"]
    sessions, totals, status = replayed(file, *options, "--against", "no-vrfy")
    assert status == 1
    (session,) = sessions
    assert session["client"] == INSIDE
    changed = [line for line in session["told"] if line["changed"]]
    assert {"VRFY george", "vrfy  nobody", "EXPN all", "VRFY bob"} <= {line["said"] for line in changed}
    for line in changed:
        if re.match("(?i)vrfy|expn", line["said"]):
            assert line["before"]["verdict"] == "forward"
            assert line["after"]["reply"][:3] in ("252", "502")
    assert sum(one["count"] for one in totals["differences"]) == len(changed)
    assert all(one["clients"] == 1 for one in totals["differences"])
    assert replayed(file, *options, "--against", options[1])[2] == 0
