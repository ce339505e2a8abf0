"""Several backends that are told who the client is, or are spoken to in TLS."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.encryption.leg import required
from tests.encryption.support import BACKEND, Certified, EncryptingSendmail
from tests.rig.client import Talk
from tests.rig.wait import wait_until

from .support import QUICK, Scripted, guard_for, wait_log

SELDOM: dict[str, Any] = {**QUICK, "interval": 600}
LENIENT: dict[str, Any] = {**SELDOM, "fall": 9}
XCLIENT = b"250-mx\r\n250 XCLIENT ADDR NAME PORT LOGIN\r\n"


def _was_shown(server: Scripted) -> bool:
    return any(line.startswith(b"PROXY TCP4 127.0.0.77 ") for line in server.lines)


def test_one_that_does_not_take_the_introduction_is_left_for_the_next(tmp_path: Path) -> None:
    """The client knows nothing of either; the second has been told who it is."""
    with (
        Scripted("first", replies={"EHLO": XCLIENT, "XCLIENT": b"550 5.7.0 not you\r\n"}) as first,
        Scripted("second", replies={"EHLO": XCLIENT, "XCLIENT": b"220 second ESMTP\r\n"}) as second,
        guard_for(tmp_path, [first.address, second.address], health=LENIENT, identity="xclient") as guard,
    ):
        with Talk("127.0.0.1", guard.port, "127.0.0.77") as client:
            assert client.banner == "220 second ESMTP"
            assert client.say("NOOP") == "250 2.0.0 second"
        assert any(line.startswith(b"XCLIENT ") and b" ADDR=127.0.0.77 " in line for line in second.lines)
        assert b"NOOP\r\n" not in first.lines


def test_a_header_goes_to_each_that_is_tried(tmp_path: Path) -> None:
    """And before all else."""
    with (
        Scripted("first", b"421 4.3.2 no\r\n") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], health=LENIENT, identity="proxy-v1") as guard,
        Talk("127.0.0.1", guard.port, "127.0.0.77") as client,
    ):
        assert client.banner.startswith("220 second")
        for server in (first, second):
            wait_until(partial(_was_shown, server), "the header", 10)


@pytest.mark.parametrize("banner", [b"421 4.3.2 no\r\n", b"554 5.7.1 not this one\r\n"], ids=["421", "554"])
def test_what_one_known_client_gets_takes_no_server_out(tmp_path: Path, banner: bytes) -> None:
    """The server knows who it is, so its refusal may be about that one: a check decides, and finds it up."""
    with (
        Scripted("first", unwanted=(b" 127.0.0.66 ", banner)) as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], health=SELDOM, identity="proxy-v1") as guard,
    ):
        for _ in range(5):
            with Talk("127.0.0.1", guard.port, "127.0.0.66") as client:
                assert client.banner.startswith("220 second" if banner.startswith(b"421") else "554 5.7.1 ")
            with Talk("127.0.0.1", guard.port, "127.0.0.77") as client:
                assert client.banner.startswith("220 first")
        assert "is down" not in "\n".join(guard.lines())


def test_tls_towards_each_and_mail_through_the_one_that_has_it(tmp_path: Path) -> None:
    """What was handed on after the handshake is read and written in TLS, and flows."""
    certified = Certified(tmp_path)
    issued = certified.authority.issue((BACKEND,))
    with (
        Scripted("first") as first,
        EncryptingSendmail(issued, certified.authority.ca_pem) as second,
        guard_for(
            tmp_path,
            [first.address, (second.address, second.port)],
            health={**SELDOM, "timeout": 10},
            **required(certified),
        ) as guard,
    ):
        with Talk("127.0.0.1", guard.port) as client:
            assert client.banner.startswith("220 x.test ESMTP Sendmail")
            for command in ("EHLO me.test", "MAIL FROM:<tls@b.example>", "RCPT TO:<george@x.test>", "DATA"):
                assert client.say(command)[0] in "23"
            client.send(b"Subject: s\r\n\r\n" + b"filling\r\n" * 100_000)
            assert client.say(".").startswith("250 2.0.0 ")
            assert client.say("QUIT").startswith("221 ")
        (message,) = second.messages(1)
        assert message.count(b"filling\n") == 100_000
        wait_log(guard, "is down: the backend does not offer STARTTLS")
