"""What `explain -` says of a session against what happens to it: a running guard, a real sendmail."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rig.client import Talk
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until

from .support import INSIDE, OUTSIDE, ConfiguredGuard, policy

MESSAGE = ["Subject: x", "", "..VRFY root", "EXPN all"]
"""As it goes over the wire."""
LINES = (
    "EHLO me.test", "VRFY george", "EXPN all", "NOOP", "MAIL FROM:<a@b.example>", "VRFY george",
    "RCPT TO:<george@x.test>", "RCPT TO:<nobody@x.test>", "DATA", "\r\n".join([*MESSAGE, "."]), "ETRN x.test", "DEBUG",
    "XCLIENT ADDR=127.0.0.1", "HELP", "BDAT 0", "vrfy\tgeorge", " NOOP", "STARTTLS", "RSET", "TURN", "FOO bar", "VRFY",
    "DATA", "MAIL FROM:<a@b.example> BODY=7BIT", "EHLO again.test",
)  # fmt: skip
"""One that ends a session comes last."""
ENDS = ("QUIT", "NOOP\0", "GET\vx", "VRFY \u00e4")
_STAMPED = re.compile(r"\w{14,}: ")


def ask(port: int, source: str, lines: tuple[str, ...]) -> list[str]:
    """Say these lines; return the replies."""
    with Talk("127.0.0.1", port, source) as client:
        return [client.say(line) for line in lines]


def transcript(said: tuple[str, ...], heard: list[str]) -> str:
    """Write down what was said to sendmail and what it answered."""
    written = ["S: 220 x.test ESMTP"]
    for line, reply in zip(said, heard, strict=True):
        written += [f"C: {one}" for one in line.split("\r\n")]
        written += [f"S: {one}" for one in reply.split("\n")]
    return "".join(f"{line}\n" for line in written)


@pytest.mark.parametrize(
    ("shipped", "source", "end"),
    [
        ("internal-vrfy", OUTSIDE, "QUIT"),
        ("perimeter", INSIDE, "QUIT"),
        *(("perimeter", OUTSIDE, end) for end in ENDS),
    ],
)
def test_a_session_is_explained_as_it_happens(
    stock: RealSendmail, tmp_path: Path, shipped: str, source: str, end: str
) -> None:
    """Each reply of the guard's own, and each line of its log, word for word; of sendmail's replies each code."""
    said = (*LINES, end)
    text = policy((f"{INSIDE}/32",), shipped)
    with ConfiguredGuard(tmp_path, (stock.address, stock.port), text, {"log": {"level": 9}}) as guard:
        happened = ask(guard.port, source, said)
        log = wait_until(lambda: ended(guard.lines(), source), "its log")
    asked = ask(stock.port, source, (*LINES, "QUIT"))
    typed = transcript((*LINES, "QUIT"), asked) if end == "QUIT" else None
    explained = explain(tmp_path / "smtpguard.yaml", source, said, typed)
    turns, last = explained[1:-1], explained[-1]
    turns = [turn for turn in turns if turn["reply"]]
    assert len(turns) == len(happened)
    for turn, line, reply in zip(turns, said, happened, strict=True):
        if turn["by"] == "guard":
            assert "\n".join(turn["reply"]) == reply, line
        elif typed is not None:
            assert turn["reply"][0][:3] == reply[:3], line
    noted: list[str] = []
    for turn in turns:
        noted += turn["log"]
    noted.append(last["session"]["log"])
    if typed is not None:  # else the server that is supposed knows nobody from nobody
        assert noted == log
    else:
        assert noted[:-1] == log[:-1]


def told(lines: list[str], source: str) -> list[str]:
    """Return what the log has of the session of this client, without the names that addresses have."""
    found = []
    for line in lines:
        if f"[{source}]" in line and (match := _STAMPED.search(line)):
            found.append(line[match.end() :].replace(f"localhost [{source}]", f"[{source}]"))
    return found


def ended(lines: list[str], source: str) -> list[str] | None:
    """Return the same once the session's summary is there."""
    found = told(lines, source)
    return found if found and "disconnect" in found[-1] else None


def explain(settings: Path, source: str, said: tuple[str, ...], typed: str | None) -> list[dict[str, Any]]:
    """Run the command on a transcript, or on lines with escapes; return its documents."""
    command = [sys.executable, "-m", "smtpguard", "explain", "--config", str(settings), "--from", source, "--json"]
    if typed is None:
        command.append("--escapes")
        lines = [one for line in said for one in line.split("\r\n")]
        typed = "".join(line.encode("unicode_escape").decode("ascii") + "\n" for line in lines)
    done = subprocess.run([*command, "-"], input=typed, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]
