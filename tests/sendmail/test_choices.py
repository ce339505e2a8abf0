"""What a site may choose, in front of a real sendmail: bare newlines, early input, budgets."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.sendmail import RealSendmail

from .support import GEORGE, INSIDE, NO_EXPN, NO_VRFY, OUTSIDE, ConfiguredGuard, ask, delivered, hello, nothing_asked

PRINTER = "127.0.0.3"
POLICY = f"""
networks: {{internal: [{INSIDE}/32], printers: [{PRINTER}/32]}}
bare_newline: {{printers: normalize}}
early_input: {{default: reject, internal: hold, printers: hold}}
budgets: {{vrfy: 2, bad: 3}}
rulesets:
  check_vrfy: [{{from: internal, action: forward}}, {{action: reply}}]
  check_expn: [{{from: internal, action: forward}}, {{action: reply}}]
"""


@pytest.fixture(scope="module")
def choosing(stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """A guard with all of them, told that it stands before sendmail."""
    backend = {"endpoint": f"tcp:{stock.address}:{stock.port}", "profile": "sendmail"}
    folder = tmp_path_factory.mktemp("choosing")
    with ConfiguredGuard(folder, (stock.address, stock.port), POLICY, {"backend": backend}) as guard:
        yield guard


def test_a_printer_that_ends_lines_with_lf_gets_its_mail_delivered(stock: RealSendmail, choosing: Guard) -> None:
    """And no line of it is a command, nor an end of the message."""
    with Talk("127.0.0.1", choosing.port, PRINTER) as client:
        client.send(b"HELO printer\nMAIL FROM:<printer@b.example>\nRCPT TO:<george@x.test>\nDATA\n")
        assert [reply[:3] for reply in client.replies(4)] == ["250", "250", "250", "354"]
        client.send(b"Subject: s\n\nfirst\n.\nVRFY george\n.\r\nEXPN all\r\n.\nlast\r\n.\r\nVRFY george\nQUIT\n")
        assert client.reply().startswith(b"250 ")
        assert client.reply() == NO_VRFY.encode() + b"\r\n"
        assert client.reply().startswith(b"221 ")
    (delivery,) = delivered(stock, "printer@b.example")
    assert delivery.content.endswith(b"\n\nfirst\n.\nVRFY george\n.\nEXPN all\n.\nlast\n")
    choosing.wait_line(r"\[127\.0\.0\.3\]: bare linefeed \(LF\) in line 1 replaced by CRLF")
    choosing.wait_line(r"\[127\.0\.0\.3\]: bare linefeed \(LF\) in octet 11 of the message, line 1 replaced by CRLF")


@pytest.mark.parametrize("source", [INSIDE, OUTSIDE])
def test_everybody_else_is_told_once_in_plain_words(choosing: Guard, source: str) -> None:
    """Which octet, which line, where to read more; and the log says the same."""
    with hello(choosing.port, source) as client:
        ask(client, "MAIL FROM:<bare@b.example>", "RCPT TO:<george@x.test>", "DATA")
        client.send(b"Subject: s\r\n\r\nx\n.\nVRFY george\r\n.\r\n")
        said = client.rest()
    words = "are linefeed (LF) in octet 16 of the message, line 3"
    assert said == f"550 5.6.0 B{words}; lines end in CRLF, see RFC 5321 section 2.3.8\r\n".encode()
    choosing.wait_line(re.escape(f"[{source}]: SMTP violation, b{words} [closed]"))


def test_who_talks_behind_ehlo_before_its_reply_is_sent_away(stock: RealSendmail, choosing: Guard) -> None:
    """Outsiders; a proxy would hide it from sendmail, which does the same."""
    with nothing_asked(stock), Talk("127.0.0.1", choosing.port, OUTSIDE) as client:
        client.send(b"EHLO me.test\r\nMAIL FROM:<a@b.example>\r\n")
        assert client.reply().startswith(b"554 5.5.0 SMTP protocol error: input sent before ")
        assert client.closed()
    choosing.wait_line(r"SMTP violation, input behind a command whose reply decides what it means: EHLO me.test")
    with Talk("127.0.0.1", choosing.port, INSIDE, greet=False) as client:
        client.send(b"EHLO me.test\r\nVRFY george\r\n")
        assert client.replies(3)[2] == GEORGE


def test_who_talks_before_the_banner_is_sent_away(tmp_path: Path) -> None:
    """While the server has not spoken, as in a pause before its banner."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        ConfiguredGuard(tmp_path, silent.getsockname(), POLICY) as guard,
    ):
        with Talk("127.0.0.1", guard.port, OUTSIDE, greet=False) as client:
            client.send(b"EHLO me.test\r\n")
            assert client.reply().startswith(b"554 5.5.0 SMTP protocol error: input sent before ")
            assert client.closed()
        guard.wait_line(r"SMTP violation, input before the banner: EHLO me.test")
        with Talk("127.0.0.1", guard.port, INSIDE, greet=False) as client:
            client.send(b"EHLO me.test\r\n")
            assert client.quiet(0.1)


def test_a_tls_client_gets_one_clear_answer(stock: RealSendmail, choosing: Guard) -> None:
    """At once, without waiting for a line end, and one line in the log."""
    with nothing_asked(stock), Talk("127.0.0.1", choosing.port, INSIDE) as client:
        client.send(bytes.fromhex("160301020001000 1fc".replace(" ", "")) + bytes(range(200)))
        assert client.rest() == b"554 5.5.0 This is a mail server; your client speaks another protocol\r\n"
    choosing.wait_line(r"SMTP violation, another protocol: \\026\\003\\001.* \[closed\]")


def test_refused_questions_get_slower_for_outsiders_alone(stock: RealSendmail, choosing: Guard) -> None:
    """The text is the same whatever the name, and nobody else waits."""
    with nothing_asked(stock), hello(choosing.port, OUTSIDE) as client:
        assert client.say("VRFY george") == NO_VRFY
        began = time.monotonic()
        client.send(b"VRFY nobody\r\nEXPN all\r\n")
        with hello(choosing.port, OUTSIDE) as other:
            assert other.say("VRFY george") == NO_VRFY
            assert time.monotonic() - began < 1
        assert client.replies(2) == [NO_VRFY, NO_EXPN]
        assert 3 <= time.monotonic() - began < 10  # one second, then two
    with hello(choosing.port, INSIDE) as client:
        assert client.say("VRFY george") == GEORGE


def test_too_many_bad_commands_end_the_session(choosing: Guard) -> None:
    """In sendmail's words."""
    with hello(choosing.port, OUTSIDE) as client:
        assert [client.say("  x")[:3] for _ in range(3)] == ["500"] * 3
        assert re.fullmatch(r"421 4\.7\.0 \S+ Too many bad commands; closing connection", client.say("  x"))
        assert client.closed()


def test_the_log_says_of_an_attack_what_sendmail_says(choosing: Guard) -> None:
    """A real one, with the sixth VRFY."""
    pattern = r"\[127\.0\.0\.\d\]: possible SMTP attack: command=VRFY, count="
    with RealSendmail() as alone:
        with hello(alone.port, INSIDE) as client:
            for _ in range(6):
                client.say("VRFY george")
        alone.wait_log(pattern + "6$")
    choosing.wait_line(pattern + "2$")
