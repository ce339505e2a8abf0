"""The form of the log's lines: sendmail's, whatever a client or its name server says."""

from __future__ import annotations

import re
import syslog
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.journal import lines
from smtpguard.journal.ids import SessionIds
from smtpguard.journal.lines import SHOWN_OCTETS, Client, Level, Line, Style, loggable_name, printable
from smtpguard.policy.networks import UNIX_PEER, Peer
from smtpguard.smtp.effects import Authenticated, BackendFault, Judged, Normalized, OverBudget, Refused
from smtpguard.smtp.grammar import Command, Fault, parse
from smtpguard.smtp.replies import Reply
from smtpguard.smtp.verdict import Action, Verdict

OUTSIDE = Client(Peer.parse("123.45.67.89"))
NAMED = Client(Peer.parse("123.45.67.89"), "there.domain")
V6 = Client(Peer.parse("2001:db8::9"), "six.example")
UNIX = Client(UNIX_PEER)

FORWARDED = Verdict(Action.FORWARD)
REJECTED = Verdict(Action.REPLY, Reply.parse("252 2.5.2 Cannot VRFY user"), rule="policy.yaml:8 check_vrfy, rule 2")
CLOSED = Verdict(Action.CLOSE, Reply.parse("421 4.7.0 bye"))


def judged(line: str, verdict: Verdict) -> Judged:
    """Return the event of a well-formed command."""
    command = parse(line.encode("latin-1") + b"\r\n")
    assert isinstance(command, Command)
    return Judged(command, verdict)


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (b"VRFY george", "VRFY george"),
        (b"", ""),
        (b" ~", " ~"),
        (b"\x1b[2J\x07", "\\033[2J\\007"),
        (b"\0\x01\x7f", "\\000\\001\\177"),
        (b"\x80\xff", "\\200\\377"),
        ("é".encode(), "\\303\\251"),
        (b"a\tb\r\nc\nd", "a\\tb\\r\\nc\\nd"),
        (b"a\\b", "a\\\\b"),
        (b"\\033", "\\\\033"),
        (b"\x0b\x0c", "\\013\\014"),
    ],
)
def test_what_is_not_printable_is_escaped_as_sendmail_does(octets: bytes, shown: str) -> None:
    """In octal, but for TAB, CR, LF and the backslash itself."""
    assert printable(octets) == shown


@given(st.binary(max_size=SHOWN_OCTETS - 1))
def test_what_is_escaped_can_be_read_back(octets: bytes) -> None:
    """So no two inputs look alike, and no input is a line end, a terminal sequence or non-ASCII."""
    shown = printable(octets)
    assert re.fullmatch(r"[\x20-\x7e]*", shown)
    assert shown.encode("ascii").decode("unicode_escape").encode("latin-1") == octets


@given(st.binary(min_size=SHOWN_OCTETS, max_size=5000))
def test_what_is_too_long_loses_its_middle_before_it_is_escaped(octets: bytes) -> None:
    """203 octets are left, three of them dots; an escape is never cut in two."""
    shown = printable(octets)
    assert shown == f"{printable(octets[:100])}...{printable(octets[-100:])}"
    assert len(shown) <= 4 * 200 + 3


@pytest.mark.parametrize(("length", "cut"), [(202, False), (203, True), (204, True), (2000, True)])
def test_a_line_is_cut_from_203_octets_on(length: int, cut: bool) -> None:
    """As long as sendmail's buffer, or longer."""
    shown = printable(b"x" * length)
    assert ("..." in shown) is cut
    assert len(shown) == min(length, SHOWN_OCTETS)


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("there.domain", "there.domain"),
        ("there.domain.", "there.domain"),
        ("a", "a"),
        ("_dmarc.x--y.Example", "_dmarc.x--y.Example"),
        ("x" * 255, "x" * 255),
        ("x" * 256, None),
        ("", None),
        (".", None),
        (".a", None),
        ("-a", None),
        ("a-", None),
        ("a b", None),
        ("a\nb", None),
        ("a\n", None),
        ("a\0b", None),
        ("a]b", None),
        ("[10.0.0.1]", None),
        ("a(b)", None),
        ("a: b", None),
        ("\x1b[2J", None),
        ("gr\u00fc\u00df.example", None),
        ("\u0661.example", None),
    ],
)
def test_a_name_from_the_dns_that_could_pass_for_something_else_is_no_name(name: str, accepted: str | None) -> None:
    """Whoever has the reverse zone chooses it: no blanks, brackets, line ends or look-alikes."""
    assert loggable_name(name) == accepted


@pytest.mark.parametrize(
    ("client", "shown"),
    [
        (OUTSIDE, "[123.45.67.89]"),
        (NAMED, "there.domain [123.45.67.89]"),
        (V6, "six.example [IPv6:2001:db8::9]"),
        (UNIX, "[unix]"),
        (Client(Peer.parse("::ffff:10.0.0.1")), "[10.0.0.1]"),
    ],
)
def test_a_client_is_shown_by_name_and_address_or_by_address_alone(client: Client, shown: str) -> None:
    """The address is always there, in brackets."""
    assert str(client) == shown


@pytest.mark.parametrize(
    ("client", "sendmail", "classic"),
    [
        (NAMED, "there.domain [123.45.67.89] (123.45.67.89)", "there.domain (123.45.67.89)"),
        (OUTSIDE, "[123.45.67.89] (123.45.67.89)", "[123.45.67.89] (123.45.67.89)"),
        (V6, "six.example [IPv6:2001:db8::9] (IPv6:2001:db8::9)", "six.example (IPv6:2001:db8::9)"),
    ],
)
def test_an_old_hole_that_is_tried_is_logged_as_an_attack(client: Client, sendmail: str, classic: str) -> None:
    """In lower case and in quotes, without the argument; the highest level there is."""
    event = judged("DeBug x", REJECTED)
    assert lines.judged(event, client, Style.SENDMAIL).text == f'"debug" command from {sendmail}'
    assert lines.judged(event, client, Style.CLASSIC).text == f'"debug" command from {classic}'
    line = lines.judged(event, client, Style.SENDMAIL)
    assert (line.level, line.priority, line.event) == (Level.ATTACK, syslog.LOG_CRIT, "probe")
    assert lines.is_probe(event)
    assert not lines.is_probe(judged("VRFY x", REJECTED))


@pytest.mark.parametrize(
    ("verdict", "suffix", "event"),
    [(FORWARDED, "", "forwarded"), (REJECTED, " [rejected]", "refused"), (CLOSED, " [rejected]", "refused")],
)
def test_a_question_is_logged_as_it_was_asked(verdict: Verdict, suffix: str, event: str) -> None:
    """In the client's own letter case, with its own blanks; the classic style does not tell the answer."""
    line = lines.judged(judged("vrFy  all ", verdict), NAMED, Style.SENDMAIL)
    assert line.text == f"there.domain [123.45.67.89]: vrFy  all {suffix}"
    assert (line.level, line.priority, line.event) == (Level.COMMAND, syslog.LOG_INFO, event)
    assert lines.judged(judged("vrfy all", verdict), NAMED, Style.CLASSIC).text == "there.domain: vrfy all"
    assert lines.judged(judged("vrfy all", verdict), OUTSIDE, Style.CLASSIC).text == "[123.45.67.89]: vrfy all"


def test_the_fields_say_what_the_text_leaves_out() -> None:
    """For the JSON form: the reply and the rule; a verb that clients invent is not a value of its own."""
    assert lines.judged(judged("vrfy x", REJECTED), OUTSIDE, Style.SENDMAIL).fields == {
        "verb": "VRFY",
        "line": "vrfy x",
        "verdict": "reply",
        "reply": "252 2.5.2 Cannot VRFY user",
        "rule": "policy.yaml:8 check_vrfy, rule 2",
    }
    assert lines.judged(judged("X-" + "A" * 30, REJECTED), OUTSIDE, Style.SENDMAIL).fields["verb"] == "UNKNOWN"


@pytest.mark.parametrize(
    ("event", "text", "level"),
    [
        (
            Refused("bare linefeed (LF)", b"NOOP\nx", True, Fault.BARE_LF),
            "bare linefeed (LF): NOOP\\nx [closed]",
            Level.VIOLATION,
        ),
        (Refused("empty line", b"\r\n", False, Fault.EMPTY), "empty line", Level.COMMAND),
        (
            Refused("not a command line", b"a\x1bb\r\n", False, Fault.SHAPE),
            "not a command line: a\\033b",
            Level.COMMAND,
        ),
        (Refused("input out of turn", b"", True), "input out of turn [closed]", Level.VIOLATION),
    ],
)
def test_octets_outside_the_grammar_are_a_violation(event: Refused, text: str, level: int) -> None:
    """What was wrong, then the octets, last and escaped."""
    line = lines.refused(event, OUTSIDE, Style.SENDMAIL)
    assert line.text == f"[123.45.67.89]: SMTP violation, {text}"
    assert (line.level, line.event) == (level, "violation")
    assert lines.refused(event, NAMED, Style.CLASSIC).text == f"there.domain: SMTP violation, {text}"


def test_the_words_of_a_password_are_not_in_the_log() -> None:
    """An AUTH is shown with its mechanism alone, in the text and in the fields."""
    for command in ("AUTH PLAIN AGdlb3JnZQBzM2NyZXQ=", "auth login Z2Vvcmdl"):
        line = lines.judged(judged(command, REJECTED), OUTSIDE, Style.SENDMAIL)
        mechanism = " ".join(command.split()[:2])
        assert line.text == f"[123.45.67.89]: {mechanism} *** [rejected]"
        assert line.fields["line"] == f"{mechanism} ***"
    event = Refused("blank", b" AUTH\tPLAIN AGdlb3JnZQBzM2NyZXQ=\r\n", False, Fault.BLANK)
    assert "AGdlb3" not in lines.refused(event, OUTSIDE, Style.SENDMAIL).text
    assert "AGdlb3" not in str(lines.refused(event, OUTSIDE, Style.SENDMAIL).fields)


@pytest.mark.parametrize("blanks", [b"\0", b"\r", b" ", b"\0 ", b"x\0", b"AUT\0"])
def test_to_look_for_passwords_takes_no_longer_than_the_line_is(blanks: bytes) -> None:
    """A recording has lines of any length (smtpguard.recordings); this took an hour when it grew with the square."""
    begun = time.process_time()
    assert lines.without_credentials(blanks * 500_000) == blanks * 500_000
    assert lines.without_credentials(b"x\0" + blanks * 500_000 + b"\n auth plain secret").endswith(b"\n auth plain ***")
    assert time.process_time() - begun < 5


def test_a_backend_that_misbehaves_is_an_error_with_its_octets() -> None:
    """They are as little trusted as a client's."""
    event = BackendFault("malformed reply", b"999 \x1b[2J\r\n<0>fake")
    line = lines.backend_fault(event, OUTSIDE, Style.SENDMAIL)
    assert line.text == "[123.45.67.89]: mail server: malformed reply: 999 \\033[2J\\r\\n<0>fake"
    assert (line.level, line.priority) == (Level.BACKEND, syslog.LOG_ERR)
    assert (
        lines.backend_fault(BackendFault("closed", b""), NAMED, Style.CLASSIC).text
        == "there.domain: mail server: closed"
    )


def test_a_bare_newline_that_was_replaced_is_told_with_its_place() -> None:
    """It was the client's fault and not refused, so it is no violation."""
    event = Normalized("bare linefeed (LF) in octet 7 of the message, line 1")
    line = lines.normalized(event, NAMED, Style.SENDMAIL)
    assert line.text == f"there.domain [123.45.67.89]: {event.where} replaced by CRLF"
    assert (line.level, line.priority, line.event) == (Level.COMMAND, syslog.LOG_INFO, "normalized")
    assert lines.normalized(event, OUTSIDE, Style.CLASSIC).text == f"[123.45.67.89]: {event.where} replaced by CRLF"


@pytest.mark.parametrize(
    ("verb", "named"), [(b"VRFY", "VRFY"), (b"NOOP", "NOOP"), (b"", "UNKNOWN"), (b"X-ATTACKERS-OWN", "UNKNOWN")]
)
def test_a_budget_that_is_used_up_is_told_in_sendmails_words(verb: bytes, named: str) -> None:
    """`possible SMTP attack: command=VRFY, count=6`; tests/sendmail/test_choices.py has a real one say it."""
    line = lines.over_budget(OverBudget(verb, 6), NAMED, Style.SENDMAIL)
    assert line.text == f"there.domain [123.45.67.89]: possible SMTP attack: command={named}, count=6"
    assert line.fields == {"verb": named, "count": 6}
    assert lines.over_budget(OverBudget(verb, 6), NAMED, Style.CLASSIC).text.startswith("there.domain: possible")


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ({}, "commands=0"),
        ({b"EHLO": [1, 1], b"VRFY": [0, 3], b"QUIT": [1, 1]}, "ehlo=1 vrfy=0/3 quit=1 commands=2/5"),
        ({b"EHLO": [1, 1], b"UNKNOWN": [2, 9]}, "ehlo=1 unknown=2/9 commands=3/10"),
    ],
)
def test_a_session_is_summed_up_as_postfix_does(counts: dict[bytes, list[int]], shown: str) -> None:
    """`passed/all`, one number if they are equal, in the order in which the verbs came."""
    line = lines.summary(counts, NAMED, 1.23456)
    assert line.text == f"disconnect from there.domain [123.45.67.89] {shown}"
    assert line.level == Level.SUMMARY == 9
    assert line.fields["seconds"] == 1.235


def test_connections_are_logged_when_they_come_and_when_they_are_turned_away() -> None:
    """The one at a high level only, the other at a low one."""
    assert lines.connected(NAMED, "tcp:25").text == "connect from there.domain [123.45.67.89]"
    line = lines.turned_away(OUTSIDE, "100 sessions from one address (limits.sessions_per_address)")
    assert line.text == (
        "rejecting connection from [123.45.67.89]: 100 sessions from one address (limits.sessions_per_address)"
    )
    assert line.level < Level.SUMMARY < lines.connected(NAMED, "tcp:25").level


hostile = st.binary(max_size=300)


@given(hostile, st.sampled_from(Style))
def test_the_address_stands_before_the_first_octet_of_a_client(octets: bytes, style: Style) -> None:
    """What a log filter finds first is never what an attacker wrote; and a line stays one line."""
    makers: list[Callable[[], Line]] = [
        lambda: lines.refused(Refused("what", octets, True), OUTSIDE, style),
        lambda: lines.backend_fault(BackendFault("what", octets), OUTSIDE, style),
        lambda: lines.judged(Judged(Command(octets + b"\r\n", b"VRFY", None), REJECTED), OUTSIDE, style),
        lambda: lines.judged(Judged(Command(octets + b"\r\n", b"WIZ", None), REJECTED), OUTSIDE, style),
    ]
    for make in makers:
        line = make()
        assert line.text.startswith(("[123.45.67.89]: ", '"wiz" command from [123.45.67.89] (123.45.67.89)'))
        for shown in (line.text, *line.fields.values()):
            assert isinstance(shown, bool) or shown.isprintable()
            assert isinstance(shown, bool) or shown.isascii()


def test_session_ids_have_the_shape_of_sendmails_and_differ() -> None:
    """Eight characters of time and sequence, then the process: 3,600 a second before one comes again."""
    ids = SessionIds(lambda: 1783243061.5, pid=15118)
    made = [ids.next() for _ in range(3600)]
    assert len(set(made)) == 3600
    assert all(re.fullmatch(r"[0-9A-Za-x]{8}015118", one) for one in made)
    assert {one[:6] for one in made} == {made[0][:6]}
    assert SessionIds(lambda: 1783243062.5, pid=15118).next()[:6] != made[0][:6]
    assert made[0][:6] == "6659Hf"  # 5 July 2026, 09:17:41 UTC: years modulo 60, months from 0


# -- TLS and AUTH ------------------------------------------------------------------------------------------


def test_tls_is_logged_in_sendmails_form() -> None:
    """What its own STARTTLS writes at LogLevel 9, with the names that were verified."""
    line = lines.secured(NAMED, "TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, None)
    assert line.text == (
        "STARTTLS=server, relay=there.domain [123.45.67.89], version=TLSv1.3, verify=NO, "
        "cipher=TLS_AES_256_GCM_SHA384, bits=256/256"
    )
    line = lines.secured(NAMED, "TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", 128, frozenset({"b.test", "a.test"}))
    assert line.text.endswith(", verify=OK, cipher=ECDHE-RSA-AES128-GCM-SHA256, bits=128/128, cert=a.test b.test")
    assert ", verify=OK, " in lines.secured(NAMED, "TLSv1.2", "x", 128, frozenset()).text
    assert (line.level, line.fields["names"]) == (Level.SUMMARY, "a.test b.test")


def test_a_failed_handshake_and_a_tunnel_are_logged() -> None:
    """A tunnel at the level of violations: nobody looks any more."""
    assert lines.insecure(NAMED, "no shared cipher").text == (
        "STARTTLS=server, error: no shared cipher, relay=there.domain [123.45.67.89]"
    )
    line = lines.uninspected(NAMED)
    assert line.text == "there.domain [123.45.67.89]: STARTTLS passed through: the rest of the session is uninspected"
    assert line.level == Level.VIOLATION


@pytest.mark.parametrize(
    ("event", "text", "level"),
    [
        (Authenticated("PLAIN", True), "AUTH=server, relay=there.domain [123.45.67.89], mech=PLAIN", Level.SUMMARY),
        (
            Authenticated("", False),
            "AUTH failure (UNKNOWN): authentication failure (535) SASL(-13): authentication failure: "
            "refused by the mail server, relay=there.domain [123.45.67.89]",
            Level.COMMAND,
        ),
    ],
)
def test_the_outcome_of_auth_is_logged_and_nothing_of_what_was_sent(
    event: Authenticated, text: str, level: int
) -> None:
    """In sendmail's forms, which log filters know."""
    line = lines.authenticated(event, NAMED)
    assert (line.text, line.level) == (text, level)


def test_what_came_in_place_of_a_proxy_header_is_escaped() -> None:
    """It may be anything."""
    line = lines.turned_away(NAMED, "no PROXY header: no", b"\x1b[2J\n<0>x")
    assert line.text == r"rejecting connection from there.domain [123.45.67.89]: no PROXY header: no: \033[2J\n<0>x"
