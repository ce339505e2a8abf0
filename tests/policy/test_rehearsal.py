"""A rehearsal says what a session would come to, since it is one: the same dialogue, line by line."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpguard.policy.decision import decide
from smtpguard.policy.networks import Peer
from smtpguard.policy.rehearsal import Obliging, Rehearsal, Turn, What
from smtpguard.smtp.answers import Closing
from smtpguard.smtp.effects import Authenticated, Judged, Refused
from smtpguard.smtp.phases import Phase
from smtpguard.smtp.terms import StartTls, Terms
from smtpguard.smtp.verdict import Action
from tests.smtp.table import HOST, INSIDE, OUTSIDE, Split, Table, each_octet, perimeter, policy, whole
from tests.smtp.test_properties import FRAGMENTS, SPLITS, STREAMS

MAIL = b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
LINES = st.lists(
    st.sampled_from(
        [
            b"EHLO x\r\n", b"HELO x\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n", b"RSET\r\n",
            b"BDAT 3\r\nabc", b"BDAT 2 LAST\r\nxy", b"x\r\n.\r\n", b"STARTTLS\r\n", b"AUTH LOGIN\r\n", b"QUIT\r\n",
            b"AUTH PLAIN eA==\r\n", b"eA==\r\n", b"*\r\n", b"VRFY a\r\n", b"EXPN b\r\n", b"DEBUG\r\n", b"NOOP\r\n",
            b"XCLIENT a\r\n", b"vrfy\tx\r\n",
        ]
    ),
    max_size=14,
).map(b"".join)  # fmt: skip


def rehearse(*said: bytes, source: str = OUTSIDE, terms: Terms | None = None) -> list[Turn]:
    """Say these under the perimeter rules, one after the other; return all turns."""
    rehearsal = Rehearsal(perimeter(), Peer.parse(source), terms=terms or Terms(starttls=StartTls.OFFERED))
    assert rehearsal.begin() == Obliging().banner()
    return [turn for octets in said for turn in rehearsal.say(octets)] + rehearsal.end()


def plainly(said: list[bytes], source: str, chunking: bool) -> Table:
    """Play the same at a table, with the same server."""
    table = Table(source=source, chunking=chunking, starttls=StartTls.OFFERED)
    server = Obliging()
    table.backend(server.banner())
    for octets in said:
        table.client(octets)
        while True:
            table.be_patient()
            if table.tls_begun and table.dialogue.phase is Phase.TLS:
                table.perform(table.dialogue.tls_established(frozenset()))
            elif (forwarded := table.take_backend_kept()) and (answer := server.answer(forwarded)):
                table.backend(answer)
            elif not forwarded:
                break
    return table


@settings(max_examples=400)
@given(stream=STREAMS | LINES, split=SPLITS, inside=st.booleans(), chunking=st.booleans())
def test_it_is_the_dialogue_itself(stream: bytes, split: Split, inside: bool, chunking: bool) -> None:
    """What either side gets, what is noted and whether it is over: all as without a rehearsal, for any stream."""
    source = INSIDE if inside else OUTSIDE
    said = list(split(stream))
    table = plainly(said, source, chunking)
    terms = Terms(chunking=chunking, starttls=StartTls.OFFERED)
    rehearsal = Rehearsal(perimeter(), Peer.parse(source), terms=terms, closing=Closing(HOST))
    to_client = rehearsal.begin()
    turns = [turn for octets in said for turn in rehearsal.say(octets)]
    assert rehearsal.over is (table.closed is not None)
    assert rehearsal.tally.by_verb == table.dialogue.tally.by_verb
    turns += rehearsal.end()
    assert to_client + b"".join(turn.replies for turn in turns) == table.take_client()
    assert b"".join(turn.forwarded for turn in turns) == table.kept
    assert [note for turn in turns for note in turn.notes] == table.notes
    assert [turn.number for turn in turns] == list(range(1, len(turns) + 1))
    assert stream.startswith(b"".join(turn.octets for turn in turns))


@settings(max_examples=200)
@given(stream=LINES, split=SPLITS)
def test_how_a_session_is_cut_changes_no_turn(stream: bytes, split: Split) -> None:
    """Octet by octet or otherwise; only what comes too early depends on when it comes."""
    pieces = stream.splitlines(keepends=True)
    cut = [part for piece in pieces for part in split(piece)]
    assert rehearse(*cut, terms=Terms(chunking=True)) == rehearse(*pieces, terms=Terms(chunking=True))


@settings(max_examples=300)
@given(line=st.lists(FRAGMENTS, min_size=1, max_size=3).map(b"".join), inside=st.booleans())
def test_a_line_alone_is_decided_on_as_in_a_session(line: bytes, inside: bool) -> None:
    """`explain` with a line and `explain` with a session cannot say two things."""
    line = line.partition(b"\n")[0].removesuffix(b"\r")
    peer = Peer.parse(INSIDE if inside else OUTSIDE)
    alone = decide(perimeter(), peer, line, Closing("localhost"))
    turns = rehearse(b"EHLO x\r\n", line + b"\r\n", source=peer.text, terms=Terms())[1:]
    if not turns or not line.isascii():  # SMTPUTF8, which a line alone is supposed to have asked for
        return
    turn = turns[0]
    if turn.verdict is None:
        assert alone.verdict.rule.startswith("grammar: ")
    else:
        assert (turn.verdict.action, turn.verdict.rule) == (alone.verdict.action, alone.verdict.rule)
        assert (turn.asked, turn.delay) == (alone.asked, alone.verdict.delay)


def test_each_line_has_its_verdict_its_rule_and_its_reply() -> None:
    """However many come at once."""
    turns = rehearse(MAIL + b"VRFY root\r\nFOO\r\n")
    assert [turn.line for turn in turns] == [*MAIL.splitlines(), b"VRFY root", b"FOO"]
    assert [turn.own for turn in turns] == [False, False, False, True, True]
    assert [turn.outcome for turn in turns][3:] == [
        "252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)",
        "500 5.5.1 Command unrecognized",
    ]
    assert [turn.verdict.rule if turn.verdict else None for turn in turns][3:] == [
        "test.yaml:8 check_vrfy, rule 2",
        "test.yaml:17 check_other, rule 2",
    ]
    assert turns[1].forwarded == b"MAIL FROM:<a@b>\r\n"
    assert not turns[3].forwarded
    assert [note.verdict for note in turns[3].notes if isinstance(note, Judged)] == [turns[3].verdict]


def test_a_rule_that_forwards_whatever_comes_is_named_too() -> None:
    """The dialogue does not even ask the judge then."""
    rules = policy("rulesets: {check_mail: [{action: forward}], check_noop: [{action: reply}]}")
    rehearsal = Rehearsal(rules, Peer.parse(OUTSIDE))
    rehearsal.begin()
    ehlo, mail, noop = rehearsal.say(b"EHLO x\r\nMAIL FROM:<a@b>\r\nNOOP\r\n")
    assert ehlo.asked is not None
    assert ehlo.asked.rule == ""
    assert mail.asked is not None
    assert mail.asked.rule == "test.yaml:1 check_mail, rule 1"
    assert noop.asked is not None
    assert noop.asked.rule == "test.yaml:1 check_noop, rule 1"


def test_a_message_is_one_turn_and_so_is_a_chunk() -> None:
    """Returned with their last octets, in however many pieces they come."""
    turns = rehearse(MAIL + b"DATA\r\n", b"Subject: x\r\n", b"\r\nhello\r\n.", b"\r\nVRFY a\r\n")
    message = turns[4]
    assert (message.what, message.line) == (What.CONTENT, b"")
    assert message.octets == message.forwarded == b"Subject: x\r\n\r\nhello\r\n.\r\n"
    assert message.replies == b"250 2.0.0 Message accepted for delivery\r\n"
    assert turns[5].line == b"VRFY a"
    first, last, after = rehearse(MAIL + b"BDAT 3\r\nab", b"cBDAT 2 LAST\r\nxyVRFY a\r\n", terms=Terms(chunking=True))[
        3:
    ]
    assert (first.what, first.line, first.octets) == (What.CHUNK, b"BDAT 3", b"BDAT 3\r\nabc")
    assert (last.octets, last.replies) == (b"BDAT 2 LAST\r\nxy", message.replies)
    assert after.line == b"VRFY a"


def test_what_is_not_complete_comes_at_the_end() -> None:
    """As a client leaves it that goes in the middle."""
    *_, data, message = rehearse(MAIL + b"DATA\r\n", b"half a mes")
    assert data.replies.startswith(b"354 ")
    assert (message.octets, message.replies, message.closed) == (b"half a mes", b"", True)
    (line,) = rehearse(b"VRFY ro")
    assert (line.line, line.verdict, line.replies) == (b"VRFY ro", None, b"")


def test_an_auth_exchange_is_known_by_the_server_s_334() -> None:
    """And what the server says of it is known behind it."""
    ehlo, auth, user, word, vrfy = rehearse(b"EHLO x\r\n", b"AUTH LOGIN\r\n", b"eA==\r\n", b"eA==\r\n", b"VRFY a\r\n")
    assert [turn.what for turn in (auth, user, word, vrfy)] == [What.COMMAND, What.SASL, What.SASL, What.COMMAND]
    assert word.notes == (Authenticated("LOGIN", True),)
    assert ehlo.notes == ()


def test_a_handshake_succeeds_and_what_was_said_before_counts_no_more() -> None:
    """RFC 3207 4.2; the names are those that the client is supposed to show."""
    rules = policy(
        "rulesets:\n"
        "  check_vrfy: [{tls_name: mua.example.org, action: forward}, {greeted: false, action: close}, {action: reply}]"
    )
    rehearsal = Rehearsal(
        rules,
        Peer.parse(OUTSIDE),
        terms=Terms(starttls=StartTls.OFFERED),
        tls_names=frozenset({"mua.example.org"}),
    )
    rehearsal.begin()
    _, before, tls, after = (
        turn for line in (b"EHLO x", b"VRFY a", b"STARTTLS", b"VRFY a") for turn in rehearsal.say(line + b"\r\n")
    )
    assert before.own
    assert tls.secured
    assert tls.verdict is not None
    assert tls.verdict.action is Action.STARTTLS
    assert not after.own
    assert after.replies.startswith(b"252 ")


def test_what_comes_too_early_is_refused_as_on_the_wire() -> None:
    """A rehearsal that looked at one line at a time would not see it."""
    turn = rehearse(b"EHLO x\r\nSTARTTLS\r\nEHLO x\r\n")[-1]
    assert turn.line == b"STARTTLS"
    assert turn.closed
    assert isinstance(turn.notes[0], Refused)
    assert [one.closed for one in rehearse(b"EHLO x\r\n", b"STARTTLS\r\n", b"EHLO x\r\n")] == [False, False, False]


def test_what_is_said_before_the_banner_waits_for_it() -> None:
    """Or is refused, where the policy says so."""
    rehearsal = Rehearsal(perimeter(), Peer.parse(OUTSIDE))
    assert rehearsal.say(b"EHLO x\r\n") == []
    assert rehearsal.begin() == Obliging().banner()
    (turn,) = rehearsal.say(b"")
    assert turn.line == b"EHLO x"
    strict = Rehearsal(policy("early_input: reject\nrulesets: {}"), Peer.parse(OUTSIDE))
    (turn,) = strict.say(b"EHLO x\r\n")
    assert (turn.closed, turn.reply[:3]) == (True, "554")


def test_delays_pass_at_once_and_are_told() -> None:
    """Those of rules, and those of budgets."""
    rules = policy("budgets: {vrfy: 1}\nrulesets: {check_vrfy: [{action: reply, delay: 3}]}")
    rehearsal = Rehearsal(rules, Peer.parse(OUTSIDE))
    rehearsal.begin()
    assert [turn.delay for turn in rehearsal.say(b"VRFY a\r\n" * 3)] == [4.0, 5.0, 7.0]


def test_a_session_that_is_over_says_no_more() -> None:
    """And does not raise."""
    rehearsal = Rehearsal(perimeter(), Peer.parse(OUTSIDE))
    rehearsal.begin()
    (turn,) = rehearsal.say(b"QUIT\r\n")
    assert (turn.closed, turn.own, rehearsal.over) == (True, False, True)
    assert rehearsal.say(b"VRFY a\r\n") == []
    assert rehearsal.end() == []


def test_a_server_that_refuses_everybody_leaves_quit_alone() -> None:
    """No rule is asked then."""
    server = Obliging()
    server.instead = b"554 5.7.1 No SMTP service here\r\n"
    rehearsal = Rehearsal(perimeter(), Peer.parse(OUTSIDE), backend=server)
    assert rehearsal.begin().startswith(b"554 ")
    mail, quit_ = rehearsal.say(b"MAIL FROM:<a@b>\r\nQUIT\r\n")
    assert (mail.own, mail.reply[:3], mail.verdict) == (True, "503", None)
    assert quit_.forwarded == b"QUIT\r\n"


@pytest.mark.parametrize(
    ("expected", "met"),
    [
        ("forward", [True, False, False]),
        ("close", [False, False, True]),
        ("252", [False, True, False]),
        ("250", [False, False, False]),
        ("252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)", [False, True, False]),
        ("252 2.5.2 Cannot", [False, False, False]),
    ],
)
def test_a_turn_meets_what_a_policys_tests_expect(expected: str, met: list[bool]) -> None:
    """A code is the guard's own: what the server says is supposed."""
    assert [turn.meets(expected) for turn in rehearse(b"NOOP\r\nVRFY a\r\nVRFY\0\r\n")] == met


# -- the server that is supposed ---------------------------------------------------------------------


def codes(*said: bytes, split: Split = whole) -> list[bytes]:
    """Return the codes that an insider hears."""
    pieces = [part for octets in said for part in split(octets)]
    turns = rehearse(*pieces, source=INSIDE, terms=Terms(chunking=True))
    return [turn.replies[:3] for turn in turns]


@pytest.mark.parametrize("split", [whole, each_octet])
def test_it_answers_in_form_and_in_turn(split: Split) -> None:
    """As sendmail does: no RCPT without a MAIL, no DATA without a RCPT."""
    assert codes(b"RCPT TO:<a@b>\r\n", b"DATA\r\n", split=split) == [b"503", b"503"]
    assert codes(b"MAIL FROM:<a@b>\r\n", b"DATA\r\n", split=split) == [b"250", b"503"]
    assert codes(MAIL, b"RSET\r\n", b"DATA\r\n", split=split)[3:] == [b"250", b"503"]
    assert codes(MAIL, b"DATA\r\n", b".\r\n", b"DATA\r\n", split=split)[3:] == [b"354", b"250", b"503"]
    assert codes(MAIL, b"BDAT 2\r\nab", b"BDAT 0 LAST\r\n", split=split)[3:] == [b"250", b"250"]
    assert codes(b"EHLO x\r\n", b"AUTH PLAIN\r\n", b"*\r\n", b"NOOP\r\n", split=split) == [
        b"250",
        b"334",
        b"501",
        b"250",
    ]
    assert codes(b"AUTH CRAM-MD5\r\n", b"eA==\r\n", split=split) == [b"334", b"235"]
    assert codes(b"AUTH FOO\r\n", b"VRFY a\r\n", b"EXPN a\r\n", split=split) == [b"504", b"252", b"250"]
    assert codes(b"FOO\r\n", b"HELP\r\n", b"ETRN a\r\n", split=split) == [b"500", b"214", b"250"]


def test_a_reply_may_be_put_in_place_of_the_next_one() -> None:
    """And what follows goes by that reply."""
    server = Obliging()
    assert server.answer(b"MAIL FROM:<a@b>\r\n").startswith(b"250 ")
    server.instead = b"550 5.1.1 no\r\n"
    assert server.answer(b"RCPT TO:<c@d>\r\n") == b"550 5.1.1 no\r\n"
    assert server.answer(b"DATA\r\n").startswith(b"503 ")
    server.instead = b"334 eA==\r\n"
    assert server.answer(b"AUTH PLAIN eA==\r\n") == b"334 eA==\r\n"
    server.instead = b"535 5.7.0 no\r\n"
    assert server.answer(b"eA==\r\n") == b"535 5.7.0 no\r\n"
    assert server.answer(b"NOOP\r\n").startswith(b"250 ")


def test_what_it_takes_grows_no_faster_than_what_is_said() -> None:
    """A message in many lines, and a line of any length: a recording has both, and nobody has looked at it before."""
    long = b"x" * 70 + b"\r\n"
    begun = time.process_time()
    *_, message = rehearse(MAIL + b"DATA\r\n", *[long] * 40_000, b".\r\n")
    assert len(message.octets) == len(message.forwarded) == 40_000 * len(long) + 3
    for line in (b"A" * 500_000, b"A " * 250_000, b"\0" * 500_000, b"BDAT" + b" 1" * 250_000):
        assert rehearse(b"EHLO x\r\n", line + b"\r\n")[-1].closed
    assert time.process_time() - begun < 10, "it took a minute for each of these when it grew with the square"


@pytest.mark.parametrize("refusal", [b"AUTH PLAIN\r\n", b"\tAUTH PLAIN\r\n"])
def test_a_line_that_may_be_a_password_is_known_for_one(refusal: bytes) -> None:
    """An AUTH was refused, and the client goes on with the exchange all the same."""
    rules = policy("rulesets: {check_auth: [{action: reply}]}")
    rehearsal = Rehearsal(rules, Peer.parse(OUTSIDE))
    rehearsal.begin()
    said = (b"EHLO x\r\n", refusal, b"AGEAYg\r\n", b"NOOP\r\n", b"AGEAYg\r\n")
    turns = [turn for line in said for turn in rehearsal.say(line)]
    assert [turn.private for turn in turns] == [False, False, True, False, False]
