"""No password in the log, however an AUTH line is spelt or refused."""

from __future__ import annotations

import io

import pytest

from smtpguard.journal.journal import Journal
from smtpguard.journal.lines import without_credentials
from smtpguard.journal.sinks import StderrSink
from smtpguard.policy.networks import Peer
from smtpguard.smtp.effects import Judged, Refused
from tests.smtp.table import Table, policy

SECRET = b"AHVzZXIAc2VjcmV0"


@pytest.mark.parametrize(
    "line",
    [
        b"AUTH PLAIN %s\r\n",
        b"auth plain  %s x\r\n",
        b"AUTH PLAIN\t%s\r\n",
        b"  AUTH PLAIN %s\r\n",
        b"AUTH\tPLAIN %s\r\n",
        b"AUTH PLAIN\x0b%s\r\n",
        b"AUTH PLAIN \0%s\r\n",
        b"AUTH PLAIN\0%s\r\n",
        b"AUTH PLAIN %s\n",
        b"AUTH PLAIN %s" + b"A" * 2000,
    ],
)
def test_an_auth_line_that_is_refused_shows_its_mechanism_at_most(line: bytes) -> None:
    """By a rule, or by the grammar."""
    table = Table(policy("rulesets: {check_auth: [{action: reply}]}"))
    out = io.StringIO()
    journal = Journal([StderrSink(out, with_priority=False)], level=99).session("ID", Peer.parse("203.0.113.9"))
    table.backend(b"220 mx\r\n")
    table.client(line % SECRET)
    for note in table.notes:
        if isinstance(note, Judged):
            journal.judged(note)
        elif isinstance(note, Refused):
            journal.refused(note)
    assert "AUTH" in out.getvalue().upper()
    assert "***" in out.getvalue()
    assert SECRET.decode() not in out.getvalue()


@pytest.mark.parametrize("response", [SECRET + b" x\r\n", SECRET * 200, SECRET + b"\n", SECRET + b"\0"])
def test_a_response_that_is_refused_is_not_shown_at_all(response: bytes) -> None:
    """Its octets never reach an event."""
    table = Table(policy("rulesets: {}"))
    table.backend(b"220 mx\r\n")
    table.client(b"AUTH PLAIN\r\n")
    table.backend(b"334 \r\n")
    table.client(response)
    assert table.closed is not None
    assert SECRET not in repr(table.notes).encode()


def test_other_lines_are_left_alone() -> None:
    """Not even those that begin alike."""
    for line in (b"AUTHX PLAIN x", b"VRFY AUTH PLAIN x", b"AUTH", b"AUTH PLAIN", b"AUTH DIGEST-MD5"):
        assert without_credentials(line) == line


@pytest.mark.parametrize("reply", [b"504 5.5.4 no", None])
@pytest.mark.parametrize("guess", [b"c2VjcmV0", SECRET, b"c2VjcmV0 c2VjcmV0", b"c2VjcmV0=="])
def test_what_a_client_sends_behind_a_refused_auth_is_not_shown(reply: bytes | None, guess: bytes) -> None:
    """Some go on with the exchange as if there were one; until they say a verb that there is."""
    rules = "rulesets: {check_other: [{action: reply}], check_vrfy: [{action: reply}]%s}"
    table = Table(policy(rules % (", check_auth: [{action: reply}]" if reply is None else "")))
    table.backend(b"220 mx\r\n")
    table.client(b"AUTH LOGIN\r\n")
    if reply is not None:
        table.backend(reply + b"\r\n")
    before = len(table.notes)
    table.client(guess + b"\r\n" + guess + b"\r\nVRFY george\r\n")
    assert len(table.notes) == before + 3
    assert guess not in repr(table.notes).encode()
    assert b"VRFY george" in repr(table.notes[-1]).encode()
