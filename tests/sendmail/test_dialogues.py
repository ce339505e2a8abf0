"""VRFY and EXPN on the wire: insiders get sendmail's own answer, outsiders the refusal, everywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.sendmail import AUTH_PASSWORD, AUTH_USER, RealSendmail

from .support import (
    ALL,
    GEORGE,
    INSIDE,
    NO_EXPN,
    NO_VRFY,
    OUTSIDE,
    SYNTAX,
    UNRECOGNIZED,
    ConfiguredGuard,
    ask,
    delivered,
    hello,
    nothing_asked,
    policy,
    wire,
)

MAIL = "MAIL FROM:<a@b.example>"
RCPT = "RCPT TO:<george@x.test>"

# Not more than five VRFY and EXPN a session: sendmail makes the sixth wait.
QUESTIONS = ("VRFY george", "VRFY nobody-of-that-name", "VRFY", "EXPN all", "EXPN alice")

PLACES = {
    "before HELO": (),
    "after HELO": ("HELO me.test",),
    "after EHLO": ("EHLO me.test",),
    "after MAIL": ("EHLO me.test", MAIL),
    "after RCPT": ("EHLO me.test", MAIL, RCPT),
    "after RSET": ("EHLO me.test", MAIL, RCPT, "RSET"),
    "after a message": ("EHLO me.test", MAIL, RCPT, "DATA", "Subject: s\r\n\r\ntext\r\n."),
}


@pytest.fixture(scope="module")
def six_outside(stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """A guard for which 127.0.0.1 is inside and ::1 is not, and that reaches sendmail over IPv6."""
    text = policy(internal=("127.0.0.1/32",))
    listen = ("127.0.0.1", "::1")
    with ConfiguredGuard(tmp_path_factory.mktemp("six"), stock.listeners[1], text, listen=listen) as running:
        yield running


# -- who asks --------------------------------------------------------------------------


@pytest.mark.parametrize("family", [0, 1])
def test_an_insider_gets_what_sendmail_says(stock: RealSendmail, guard: Guard, family: int) -> None:
    """From 127.0.0.1 and from ::1, known names and unknown ones."""
    with Talk(*stock.listeners[family], INSIDE) as direct, Talk(*guard.listeners[family], INSIDE) as guarded:
        answers = ask(guarded, *QUESTIONS)
        assert answers == ask(direct, *QUESTIONS)
    assert answers[0] == GEORGE
    assert answers[3] == ALL


def test_an_outsider_gets_the_refusals(guard: Guard, stock: RealSendmail) -> None:
    """To the letter, with and without an argument, and sendmail is asked nothing."""
    expected = {
        "VRFY george": NO_VRFY,
        "VRFY nobody-of-that-name": NO_VRFY,
        "VRFY": NO_VRFY,
        "EXPN all": NO_EXPN,
        "EXPN": NO_EXPN,
        "DEBUG": UNRECOGNIZED,
        "SHOWQ": UNRECOGNIZED,
        "WIZ": UNRECOGNIZED,
        "KILL": UNRECOGNIZED,
        "SHELL": UNRECOGNIZED,
        "VERB": "502 5.7.0 Verbose unavailable",
    }
    with nothing_asked(stock), hello(guard.port, OUTSIDE) as client:
        assert dict(zip(expected, ask(client, *expected), strict=True)) == expected


def test_old_holes_are_shut_inside_too(guard: Guard) -> None:
    with hello(guard.port) as client:
        assert ask(client, "DEBUG", "SHOWQ", "WIZ", "KILL", "SHELL") == [UNRECOGNIZED] * 5
        assert client.say("VERB") == "502 5.7.0 Verbose unavailable"


def test_ipv6_is_outside_where_the_policy_says_so(six_outside: Guard, stock: RealSendmail) -> None:
    """And the guard's own connection to sendmail, from ::1, makes nobody an insider."""
    four, six = six_outside.listeners
    with nothing_asked(stock), Talk(*six) as client:
        assert ask(client, "VRFY george", "EXPN all") == [NO_VRFY, NO_EXPN]
    with Talk(*four, INSIDE) as client:
        assert ask(client, "VRFY george", "EXPN all") == [GEORGE, ALL]


def test_two_clients_at_once_are_told_apart(guard: Guard) -> None:
    with hello(guard.port, INSIDE) as inside, hello(guard.port, OUTSIDE) as outside:
        for _ in range(2):
            assert outside.say("VRFY george") == NO_VRFY
            assert inside.say("VRFY george") == GEORGE


@pytest.mark.parametrize("command", ["vrfy george", "VrFy george", "vRFY GEORGE", "expn all", "eXpN all"])
def test_letter_case_does_not_matter(stock: RealSendmail, guard: Guard, command: str) -> None:
    with nothing_asked(stock), hello(guard.port, OUTSIDE) as client:
        assert client.say(command) in (NO_VRFY, NO_EXPN)
    with hello(guard.port) as guarded, hello(stock.port) as direct:
        answer = guarded.say(command)
        assert answer == direct.say(command)
    assert answer.startswith("250")


# -- where in a session -------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_both_sides_at_any_place_of_a_session(stock: RealSendmail, guard: Guard, place: str) -> None:
    """The answers do not depend on what went before, and what comes after is not disturbed."""
    opening = PLACES[place]
    ending = ("RSET", "NOOP", "QUIT")
    with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
        replies = ask(client, *opening, "VRFY george", "EXPN all", *ending)
    assert replies[len(opening) :] == [
        NO_VRFY,
        NO_EXPN,
        "250 2.0.0 Reset state",
        "250 2.0.0 OK",
        "221 2.0.0 x.test closing connection",
    ]
    asked = (*opening, "VRFY george", "EXPN all", *ending)
    with Talk("127.0.0.1", guard.port, INSIDE) as guarded, Talk("127.0.0.1", stock.port, INSIDE) as direct:
        own, real = ask(guarded, *asked), ask(direct, *asked)
    assert own[len(opening) :] == real[len(opening) :]
    assert own[len(opening) : len(opening) + 2] == [GEORGE, ALL]


@pytest.fixture(scope="module")
def asking_for_auth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """A guard before a sendmail that offers AUTH."""
    with RealSendmail(auth=True) as server:
        folder = tmp_path_factory.mktemp("auth")
        with ConfiguredGuard(folder, (server.address, server.port), policy()) as running:
            yield running


def coded(text: str) -> str:
    """Return base64 as AUTH wants it."""
    return base64.b64encode(text.encode()).decode()


LOGINS = {
    "PLAIN": ["AUTH PLAIN " + coded(f"\0{AUTH_USER}\0{AUTH_PASSWORD}")],
    "LOGIN": ["AUTH LOGIN", coded(AUTH_USER), coded(AUTH_PASSWORD)],
}


@pytest.mark.parametrize("mechanism", LOGINS)
@pytest.mark.parametrize(("source", "answers"), [(OUTSIDE, [NO_VRFY, NO_EXPN]), (INSIDE, [GEORGE, ALL])])
def test_auth_makes_no_insider(asking_for_auth: Guard, mechanism: str, source: str, answers: list[str]) -> None:
    """AUTH passes, with and without an initial response, and the network alone decides about VRFY."""
    with Talk("127.0.0.1", asking_for_auth.port, source) as client:
        assert "\n250-AUTH PLAIN LOGIN\n" in client.say("EHLO me.test")
        wrong = coded(f"\0{AUTH_USER}\0not the password")
        assert client.say(f"AUTH PLAIN {wrong}") == "535 5.7.0 authentication failed"
        assert ask(client, "VRFY george") == answers[:1]
        assert ask(client, *LOGINS[mechanism])[-1] == "235 2.0.0 OK Authenticated"
        assert ask(client, "VRFY george", "EXPN all") == answers
        assert ask(client, MAIL, "RCPT TO:<somebody@else.example>")[1].startswith("250 ")


def test_a_cancelled_auth_leaves_the_rules_in_force(asking_for_auth: Guard) -> None:
    """The line that is no response any more is a command again."""
    with Talk("127.0.0.1", asking_for_auth.port, OUTSIDE) as client:
        assert ask(client, "EHLO me.test", "AUTH LOGIN", "*", "VRFY george")[1:] == [
            "334 VXNlcm5hbWU6",
            "501 5.0.0 AUTH aborted",
            NO_VRFY,
        ]


# -- pipelined ------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "answer"), [(INSIDE, GEORGE), (OUTSIDE, NO_VRFY)])
def test_a_burst_is_answered_in_order(guard: Guard, stock: RealSendmail, source: str, answer: str) -> None:
    """A refusal amid a pipelined transaction takes no other command's place; the mail goes to whom it should."""
    sender = f"burst-{source}@b.example"
    with hello(guard.port, source) as client:
        client.send(
            f"MAIL FROM:<{sender}>\r\nVRFY george\r\nRCPT TO:<george@x.test>\r\n"
            "RCPT TO:<nobody-of-that-name@x.test>\r\nRCPT TO:<bob@x.test>\r\nDATA\r\n".encode()
        )
        assert client.replies(6) == [
            f"250 2.1.0 <{sender}>... Sender ok",
            answer,
            "250 2.1.5 <george@x.test>... Recipient ok",
            "550 5.1.1 <nobody-of-that-name@x.test>... User unknown",
            "250 2.1.5 <bob@x.test>... Recipient ok",
            "354 End data with <CR><LF>.<CR><LF>",
        ]
        client.send(b"Subject: burst\r\n\r\ntext\r\n.\r\nNOOP\r\nVRFY george\r\nNOOP\r\nQUIT\r\n")
        accepted, *others = client.replies(5)
        assert accepted.endswith(" Message accepted for delivery")
        assert others == ["250 2.0.0 OK", answer, "250 2.0.0 OK", "221 2.0.0 x.test closing connection"]
        assert client.closed()
    (delivery,) = delivered(stock, sender)
    assert sorted(delivery.recipients) == ["bob", "george"]


def test_a_long_burst_of_refused_commands_is_answered_to_the_last(guard: Guard, stock: RealSendmail) -> None:
    """Every one in its place, and a NOOP of sendmail's amid them in its own."""
    with nothing_asked(stock), hello(guard.port, OUTSIDE) as client:
        client.send(b"VRFY george\r\nEXPN all\r\n" * 100 + b"NOOP\r\n" + b"EXPN all\r\nVRFY george\r\n" * 100)
        replies = client.replies(401)
    assert replies == [NO_VRFY, NO_EXPN] * 100 + ["250 2.0.0 OK"] + [NO_EXPN, NO_VRFY] * 100


def test_a_burst_before_the_banner_and_behind_ehlo_is_held(guard: Guard, stock: RealSendmail) -> None:
    """sendmail itself refuses such a session; behind the guard it sees one command after the other."""
    with nothing_asked(stock), Talk("127.0.0.1", guard.port, OUTSIDE, greet=False) as client:
        client.send(b"VRFY george\r\nEHLO me.test\r\nVRFY george\r\nEXPN all\r\nNOOP\r\nQUIT\r\n")
        replies = client.replies(7)
    assert replies[0].startswith("220 x.test ESMTP Sendmail ")
    assert replies[1] == NO_VRFY
    assert replies[2].startswith("250-x.test Hello ")
    assert replies[3:] == [NO_VRFY, NO_EXPN, "250 2.0.0 OK", "221 2.0.0 x.test closing connection"]


def test_what_overtakes_the_reply_that_it_depends_on_ends_the_session(asking_for_auth: Guard) -> None:
    """Behind DATA and AUTH comes something else than a command, or not: as the reply says."""
    for opening, too_early in (((MAIL, RCPT), b"DATA\r\nSubject: s\r\n"), ((), b"AUTH LOGIN\r\nVRFY george\r\n")):
        with hello(asking_for_auth.port, OUTSIDE) as client:
            ask(client, *opening)
            client.send(too_early)
            assert client.reply().startswith(b"554 5.5.0 ")
            assert client.closed()


# -- in disguise -------------------------------------------------------------------------------

LEAKS = [
    b"  vrfy george\r\n",
    b"\tVRFY george\r\n",
    b"\rVRFY george\r\n",
    b"\x0bEXPN all\r\n",
    b"VRFY\tgeorge\r\n",
    b"VRFY\rgeorge\r\n",
    b"EXPN\x0ball\r\n",
    b"EXPN\x0call\r\n",
    b"VRFY george\r\r\n",
    b"VRFY george\n",
    b"VRFY george\0 and more\r\n",
    b"NOOP\nVRFY george\r\n",
    b"NOOP\r\r\nEXPN all\r\n",
    b"NOOP\n\rVRFY george\r\n",
    b"MAIL FROM:<a@b.example>\nVRFY george\r\n",
    b"\r\nVRFY george\r\n",
    # The connection ends without a line end.
    b"VRFY george",
    b"NOOP\r\nEXPN all",
]
"""What makes sendmail itself tell a name."""

HARMLESS = [
    b"VRFY\0george\r\n",
    b"NOOP\rVRFY george\r\n",
    b"NOOP\0VRFY george\r\n",
    b"VR\0FY george\r\n",
    b"VR\rFY george\r\n",
    b"\0VRFY george\r\n",
    b"VRFY\xa0george\r\n",
    b"\xffVRFY george\r\n",
    b"VRFX\x08Y george\r\n",
    b'"VRFY" george\r\n',
]
"""What this sendmail takes for something else, and another server may not."""


@pytest.mark.parametrize("line", LEAKS)
def test_without_the_guard_the_disguise_leaks(stock: RealSendmail, line: bytes) -> None:
    """The danger is real: else the next test would prove nothing."""
    assert b"<george@x.test>\r\n" in wire(stock.port, line, OUTSIDE)


@pytest.mark.parametrize("line", LEAKS + HARMLESS)
def test_no_disguise_reaches_sendmail(stock: RealSendmail, guard: Guard, line: bytes) -> None:
    """From outside: no name comes back, and sendmail says that it was asked nothing."""
    with nothing_asked(stock):
        answers = wire(guard.port, line, OUTSIDE)
    for name in (b"george", b"alice", b"bob"):
        assert name not in answers


@pytest.mark.parametrize("line", ["  vrfy george", "VRFY\tgeorge", "EXPN\x0ball", "", "VRFY: george", "NOOP\x0c"])
def test_a_line_that_is_not_quite_a_command_costs_a_500_and_no_session(
    guard: Guard, stock: RealSendmail, line: str
) -> None:
    """Inside as outside: what is odd is never forwarded, what follows is."""
    for source in (INSIDE, OUTSIDE):
        with nothing_asked(stock), hello(guard.port, source) as client:
            assert ask(client, line, "NOOP") == [SYNTAX, "250 2.0.0 OK"]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (
            b"NOOP\nVRFY george\r\n",
            b"Bare linefeed (LF) in octet 5 of line 2; lines end in CRLF, see RFC 5321 section 2.3.8",
        ),
        (b"VRFY a\0b\r\n", b"NUL octet in octet 7 of line 2; see RFC 5321 section 4.5.2"),
        (
            b"VRFY x\r\r\n",
            b"Bare carriage return (CR) in octet 7 of line 2; lines end in CRLF, see RFC 5321 section 2.3.8",
        ),
        (b"NOOP \xff\r\n", b"Octet above 0x7f in octet 6 of line 2; see RFC 6152 and RFC 6531"),
    ],
)
def test_a_line_that_servers_read_differently_ends_the_session(
    guard: Guard, stock: RealSendmail, line: bytes, reply: bytes
) -> None:
    """Inside as outside, in plain words; nothing behind it is read."""
    for source in (INSIDE, OUTSIDE):
        with nothing_asked(stock), hello(guard.port, source) as client:
            client.send(line + b"VRFY george\r\nEXPN all\r\n")
            assert client.rest() == b"500 5.5.2 " + reply + b"\r\n"
