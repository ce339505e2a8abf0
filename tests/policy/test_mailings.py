"""What became of the mail of a session, from whom and to whom."""

from __future__ import annotations

import pytest

from smtpguard.policy.mailings import Mailing, mailings
from smtpguard.policy.networks import Peer
from smtpguard.policy.rehearsal import Obliging, Rehearsal
from smtpguard.smtp.terms import StartTls, Terms
from tests.smtp.table import policy

RULES = "relay_domains: [d]\nrulesets: {}"
REFUSED = b"550 5.7.1 Relaying denied"


def mails(*said: bytes, instead: bytes = b"") -> list[Mailing]:
    """Say these, each a line, as an outsider; the last is answered `instead` by the server."""
    server = Obliging()
    terms = Terms(chunking=True, starttls=StartTls.OFFERED)
    rehearsal = Rehearsal(policy(RULES), Peer.parse("203.0.113.9"), terms=terms, backend=server)
    rehearsal.begin()
    turns = []
    for number, line in enumerate(said, 1):
        server.instead = instead if number == len(said) else b""
        turns += rehearsal.say(line + b"\r\n")
    return mailings([*turns, *rehearsal.end()])


BEGUN = (b"EHLO x", b"MAIL FROM:<a@b> SIZE=3", b"RCPT TO:<c@d>", b"RCPT TO:<e@f>")


@pytest.mark.parametrize(
    ("more", "fate"),
    [
        ((b"DATA", b"hello", b"."), "accepted"),
        ((b"BDAT 5 LAST\r\nhello",), "accepted"),
        ((), "not sent"),
        ((b"RSET",), "not sent"),
        ((b"BDAT 7\r\nhello",), "not sent"),
        ((b"QUIT",), "not sent"),
        ((b"DATA", b"hello"), "not sent"),
    ],
)
def test_a_mail_has_a_sender_recipients_and_a_fate(more: tuple[bytes, ...], fate: str) -> None:
    """Those recipients apart that were refused, by the guard or by the server."""
    assert mails(*BEGUN, *more) == [Mailing(b"a@b", [b"c@d"], [(b"e@f", REFUSED)], fate)]


def test_a_message_that_the_server_refuses_says_why() -> None:
    """In the server's words."""
    (mail,) = mails(*BEGUN, b"DATA", b".", instead=b"554 5.6.0 no\r\n")
    assert mail.fate == "refused: 554 5.6.0 no"


def test_a_session_may_have_several_and_a_mail_that_is_refused_is_none() -> None:
    """What follows a mail that was sent belongs to the next."""
    found = mails(*BEGUN, b"DATA", b".", b"MAIL FROM:<>", b"RCPT TO:<g@d>", b"DATA", b".")
    assert [(mail.sender, mail.recipients, mail.fate) for mail in found] == [
        (b"a@b", [b"c@d"], "accepted"),
        (b"", [b"g@d"], "accepted"),
    ]
    assert mails(b"EHLO x", b"MAIL FROM:<a@b>", instead=b"550 5.1.8 no\r\n") == []
