"""Passwords that are guessed, and messages that come too slowly, on the wire."""

from __future__ import annotations

import time
from pathlib import Path

from tests.sendmail.support import hello

from .scripted import Scripted
from .support import LIMITED, OUTSIDE, guarded, turned_away

ANSWERS = {"EHLO": "250-scripted\r\n250 AUTH PLAIN", "AUTH": "535 5.7.8 no", "DATA": "354 go on", "QUIT": "221 bye"}


def test_refused_passwords_are_counted_over_sessions(tmp_path: Path) -> None:
    """And what was tried stands nowhere in the log."""
    limits = "limits: {guessers: {count: auth, rate: 3/hour, then: {ban: 1 hour}}}"
    with Scripted(ANSWERS) as backend, guarded(tmp_path, backend.address, limits) as guard:
        for number in range(3):
            with hello(guard.port, OUTSIDE) as talk:
                assert talk.say(f"AUTH PLAIN c2VjcmV0{number}A==").startswith("535 ")
        with hello(guard.port, OUTSIDE) as talk:
            talk.send(b"AUTH PLAIN c2VjcmV0OQ==\r\n")
            assert talk.rest().startswith(b"535 5.7.8 no\r\n" + LIMITED.encode())
        assert turned_away(guard, OUTSIDE)
        guard.wait_line(r"limit guessers: 127\.0\.0\.2: 4 refused AUTHs in 1 hour, banned for 1 hour")
        assert not any("c2VjcmV0" in line for line in guard.lines())


def test_a_message_that_trickles_in_is_ended_and_counted(tmp_path: Path) -> None:
    """A few octets now and then begin no time-out anew; who does it again is sent away."""
    limits = "limits: {stallers: {count: slow, rate: 1/hour, then: close}}"
    settings = {"limits": {"data_rate": 1000, "data_rate_seconds": 1}}
    with Scripted(ANSWERS) as backend, guarded(tmp_path, backend.address, limits, settings) as guard:
        for _ in range(2):
            with hello(guard.port, OUTSIDE) as talk:
                for line in ("MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "DATA"):
                    talk.say(line)
                began = time.monotonic()
                while talk.quiet(0.1):
                    talk.send(b"x\r\n")
                assert talk.reply().startswith(b"421 4.4.2 ")
                assert 0.9 < time.monotonic() - began < 5
        guard.wait_line(r"disconnect from .* \(too slow\)")
        guard.wait_line(r"limit stallers: 127\.0\.0\.2: 2 slow sessions in 1 hour, sent away for 1 hour")
        assert turned_away(guard, OUTSIDE)


def test_a_fast_message_is_not_slow(tmp_path: Path) -> None:
    """Under the same settings."""
    settings = {"limits": {"data_rate": 1000, "data_rate_seconds": 1}}
    with (
        Scripted(ANSWERS) as backend,
        guarded(tmp_path, backend.address, "", settings) as guard,
        hello(guard.port, OUTSIDE) as talk,
    ):
        for line in ("MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "DATA"):
            talk.say(line)
        ends = time.monotonic() + 3
        while time.monotonic() < ends:
            talk.send(b"x" * 498 + b"\r\n")
            assert talk.quiet(0.1)
        assert talk.say(".").startswith("250 taken")
