"""What an answer to VRFY gives away."""

from __future__ import annotations

import pytest

from smtpguard.audit.conversation import Answer
from smtpguard.audit.verifying import comparable, is_verifying, tells


def answer(octets: bytes) -> Answer:
    return Answer(int(octets[:3]), octets + b"\r\n")


@pytest.mark.parametrize(
    "octets",
    [
        b"250 2.1.5 <george@x.test>",
        b"250 <george@x.test> is deliverable",
        b"251 User not local; will forward to <george@y.test>",
        b"550 5.1.1 george... User unknown",
        b"550 george... User unknown",
        b"550 Unrouteable address",
        b"553 5.1.3 Ambiguous",
        b"551 5.1.6 User not local",
        b"553-Ambiguous; possibilities are\r\n553 <george@x.test>",
    ],
)
def test_an_answer_about_the_name_tells(octets: bytes) -> None:
    """That it exists as well as that it does not."""
    assert tells(answer(octets))
    assert is_verifying(answer(octets))


@pytest.mark.parametrize(
    ("octets", "verifying"),
    [
        (b"252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)", True),
        (b"252 2.0.0 george", True),
        (b"502 5.5.1 VRFY command is disabled", False),
        (b"500 5.5.1 Command unrecognized", False),
        (b"550 5.7.1 Command rejected by local policy", False),
        (b"550 Administrative prohibition", False),
        (b"501 5.5.2 Argument required", False),
        (b"421 4.7.0 Too many bad commands", False),
        (b"450 4.2.0 later", False),
    ],
)
def test_an_answer_about_the_command_tells_nothing(octets: bytes, verifying: bool) -> None:
    """Though some get only VRFY or EXPN."""
    assert not tells(answer(octets))
    assert is_verifying(answer(octets)) is verifying


def test_answers_are_compared_without_the_name() -> None:
    """What differs then is said of the name, not with it."""
    assert comparable(answer(b"252 George, try RCPT"), "george") == comparable(answer(b"252 bob, try RCPT"), "bob")
    assert comparable(answer(b"252 george"), "george") != comparable(answer(b"252 no bob"), "bob")
