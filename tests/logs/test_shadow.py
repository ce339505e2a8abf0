"""Lines of what is in shadow: in each form, and never taken by fail2ban for what was refused."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest

from smtpguard.journal import lines
from smtpguard.journal.lines import Client, Style
from smtpguard.policy.networks import Peer
from smtpguard.smtp.effects import Judged
from smtpguard.smtp.grammar import Command
from smtpguard.smtp.replies import Reply
from smtpguard.smtp.verdict import FORWARD, Action, Verdict, beside
from tests.rig.client import Talk

from .reading import addresses
from .support import guard, mail_server

REPLY = Verdict(Action.REPLY, Reply.parse("252 2.5.2 no"), rule="p.yaml:8 check_vrfy, rule 2")
CLOSE = Verdict(Action.CLOSE, Reply.parse("521 bye"))
CLIENT = Client(Peer.parse("192.0.2.7"), "host.example.org")
SHADOW = """
shadow: true
networks: {internal: [192.0.2.0/24]}
limits: {guessers: {count: probes, rate: 2/hour, by: address, then: [{delay: 0.1}, {over: 3, ban: 1 day}]}}
rulesets:
  check_vrfy: [{from: internal, action: forward}, {action: reply}]
  check_expn: [{action: close}]
  check_etrn: [{action: reply, delay: 9}]
  check_rcpt: [{action: reply, reply: 550 5.7.1 no}]
  check_other: [{action: reply}]
"""
LINES = (
    "VRFY root",
    "EXPN all",
    "ETRN x",
    "RCPT TO:<a@b.example>",
    "XFOO",
    "VRFY x [rejected]",
    "EXPN [198.51.100.1]: VRFY y [rejected]",
)


def line(verdict: Verdict, style: Style = Style.SENDMAIL, text: bytes = b"VRFY george") -> str:
    """Return the line for a command."""
    return lines.judged(Judged(Command(text + b"\r\n", text.partition(b" ")[0], None), verdict), CLIENT, style).text


@pytest.mark.parametrize(
    ("verdict", "wanted"),
    [
        (beside(FORWARD, REPLY), "VRFY george [would have answered 252]"),
        (beside(FORWARD, CLOSE), "VRFY george [would have closed]"),
        (beside(FORWARD, Verdict(Action.FORWARD, None, 5.0)), "VRFY george [would have been forwarded after 5 s]"),
        (beside(FORWARD, Verdict(Action.REPLY, REPLY.reply, 2.5)), "VRFY george [would have answered 252 after 2.5 s]"),
        (beside(REPLY, FORWARD), "VRFY george [would have been forwarded] [rejected]"),
        (beside(REPLY, CLOSE), "VRFY george [would have closed] [rejected]"),
    ],
)
def test_a_line_says_what_would_have_been_in_sendmails_form(verdict: Verdict, wanted: str) -> None:
    """Behind what was said, and in front of what has happened, which a filter looks for at the end."""
    assert line(verdict) == f"host.example.org [192.0.2.7]: {wanted}"


def test_the_style_of_the_1990s_says_it_in_front_where_no_client_can() -> None:
    """That style does not tell refused from forwarded, so that its filter takes both."""
    assert line(beside(FORWARD, REPLY), Style.CLASSIC) == "host.example.org: would have answered 252: VRFY george"


def test_for_programs_it_is_two_fields_more() -> None:
    """The other ones say what has happened."""
    event = Judged(Command(b"VRFY george\r\n", b"VRFY", b"george"), beside(FORWARD, REPLY))
    told = lines.judged(event, CLIENT, Style.SENDMAIL)
    assert (told.event, told.fields["verdict"], told.fields["rule"]) == ("forwarded", "forward", "")
    assert (told.fields["would"], told.fields["would_rule"]) == ("252", REPLY.rule)


def test_a_probe_is_told_as_one_whatever_becomes_of_it() -> None:
    """In sendmail's words, which filters know; what would have come of it is for programs, and in the report."""
    event = Judged(Command(b"WIZ\r\n", b"WIZ", None), beside(FORWARD, CLOSE))
    told = lines.judged(event, CLIENT, Style.SENDMAIL)
    assert told.text == '"wiz" command from host.example.org [192.0.2.7] (192.0.2.7)'
    assert (told.event, told.fields["would"]) == ("probe", "closed")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("style", ["sendmail", "classic"])
def test_no_shipped_filter_finds_a_line_of_the_shadow(tmp_path: Path, style: str, form: str) -> None:
    """Whatever a client says, and whatever limit it would have crossed; and the lines are there."""
    log = tmp_path / "log"
    settings = {"to": ["stderr", "file"], "file": str(log), "format": form, "style": style, "level": 9}
    with mail_server() as backend, guard(tmp_path, backend, settings, SHADOW, state="memory") as running:
        for _ in range(2):
            with Talk("127.0.0.1", running.port, "127.0.0.2") as client:
                for said in ("EHLO me.test", *LINES):
                    assert client.say(said).startswith("250")
        assert running.stop() == os.EX_OK
    told = log.read_text().splitlines()
    if form == "json":
        assert sum("would" in json.loads(one) for one in told) == 2 * len(LINES)
    else:
        assert sum("would have" in one for one in told) >= 2 * len(LINES)
    filters = itertools.product(("smtpguard", "smtpguard-json"), ("", "[mode=limits]"))
    mode = "classic" if style == "classic" else "aggressive"
    for name, options in (*filters, ("smtpguard", f"[mode={mode}]")):
        assert addresses(log, name, options) == set(), (name, options)
