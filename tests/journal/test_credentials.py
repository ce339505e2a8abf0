"""No password in the log, however an AUTH line is spelt or refused."""

from __future__ import annotations

import io

import pytest

from smtpguard.journal.journal import Journal
from smtpguard.journal.lines import without_credentials
from smtpguard.journal.sinks import StderrSink
from smtpguard.policy.networks import Peer
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
        b"AUTH %s\r\n",
        b"EHLO x\rAUTH PLAIN %s\r\n",
        b"NOOP\0AUTH LOGIN %s\r\n",
        b"\x01AUTH LOGIN %s\r\n",
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
        journal.noted(note)
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
    for line in (b"AUTHX PLAIN x", b"AUTH-X y", b"VRFY AUTH PLAIN x", b"AUTH", b"AUTH PLAIN", b"AUTH DIGEST-MD5"):
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


SESSION = b"AUTH LOGIN\r\n" + SECRET + b"\r\n" + SECRET + b"\r\n"


def events(table: Table) -> str:
    """Return what the log says of a session, at the highest level."""
    out = io.StringIO()
    journal = Journal([StderrSink(out, with_priority=False)], level=99).session("ID", Peer.parse("203.0.113.9"))
    for note in table.notes:
        journal.noted(note)
    return out.getvalue()


@pytest.mark.parametrize("line", [b"AUTH LOGIN", b" AUTH LOGIN", b"AUTH\tLOGIN"])
def test_nor_do_the_lines_that_follow_an_auth_that_was_no_command(line: bytes) -> None:
    """Whoever writes so may go on all the same; until the next verb that is one."""
    table = Table(policy("rulesets: {check_auth: [{action: reply}], check_other: [{action: reply}]}"))
    table.backend(b"220 mx\r\n")
    for sent in (line, SECRET, SECRET, b"NOOP"):
        table.client(sent + b"\r\n")
    assert SECRET.decode() not in events(table)
    assert table.take_backend() == b"NOOP\r\n"


def test_nor_what_was_sent_before_the_banner() -> None:
    """As machines do that guess passwords."""
    table = Table(policy("early_input: reject\nrulesets: {}"))
    table.client(b"EHLO x\r\n" + SESSION)
    assert table.closed is not None
    assert SECRET.decode() not in events(table)


def test_nor_what_follows_a_banner_that_refuses_service() -> None:
    """Nothing but QUIT is accepted then."""
    table = Table(policy("rulesets: {}"))
    table.backend(b"554 no\r\n")
    for sent in SESSION.splitlines(keepends=True):
        table.client(sent)
    assert SECRET.decode() not in events(table)


def test_nor_between_two_chunks() -> None:
    """Where AUTH is out of place."""
    table = Table(policy("rulesets: {}"), chunking=True)
    table.backend(b"220 mx\r\n")
    for sent, said in (
        (b"EHLO x", b"250-mx\r\n250 CHUNKING"), (b"MAIL FROM:<a@b>", b"250 ok"), (b"RCPT TO:<c@d>", b"250 ok"),
        (b"BDAT 0", b"250 ok"),
    ):  # fmt: skip
        table.client(sent + b"\r\n")
        table.backend(said + b"\r\n")
    for line in SESSION.splitlines(keepends=True):
        table.client(line)
    assert SECRET.decode() not in events(table)
