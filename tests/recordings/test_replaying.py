"""A recorded session under a policy: what is forwarded gets the recorded answers, and the client does not lie."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpguard.config import policy_file
from smtpguard.policy.networks import Peer
from smtpguard.policy.rules import Policy
from smtpguard.recordings import exchanges
from smtpguard.recordings import recorded as recordings
from smtpguard.recordings.comparing import differences
from smtpguard.recordings.exchanges import What, read
from smtpguard.recordings.recorded import RUN_OCTETS, Recorded
from smtpguard.recordings.replaying import Happened, Outcome, replay
from smtpguard.recordings.tallies import Tally, shown
from smtpguard.smtp.terms import EarlyInput, StartTls, Terms

OUTSIDER = Peer.parse("203.0.113.9")
OPEN = Terms(starttls=StartTls.OFFERED, chunking=True)
C, S = True, False

HELLO = [(S, b"220 mx\r\n"), (C, b"EHLO me.test\r\n"), (S, b"250-mx\r\n250 AUTH PLAIN\r\n")]
MAIL = [(C, b"MAIL FROM:<a@b.example>\r\n"), (S, b"250 ok\r\n"), (C, b"RCPT TO:<c@d.example>\r\n"), (S, b"250 ok\r\n")]
MESSAGE = [(C, b"DATA\r\n"), (S, b"354 go\r\n"), (C, b"Subject: x\r\n\r\nVRFY root\r\n.\r\n"), (S, b"250 queued\r\n")]
QUIT = [(C, b"QUIT\r\n"), (S, b"221 bye\r\n")]


def policy(rules: str) -> Policy:
    """Return a policy with these rule sets."""
    return loaded(f"networks: {{internal: [10.0.0.0/8]}}\nrulesets: {{{rules}}}\n")


def loaded(text: str) -> Policy:
    """Return the policy that a text is."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        return policy_file.load(file.name).policy


@pytest.fixture(name="shipped", scope="module")
def shipped_policy() -> Policy:
    """The default one."""
    return policy_file.load(policy_file.find("internal-vrfy")).policy


def recorded(said: Iterable[tuple[bool, bytes]], readable_in_tls: bool = False) -> Recorded:
    """Return a recording of what is said."""
    one = Recorded(1, OUTSIDER, readable_in_tls=readable_in_tls)
    for from_client, octets in said:
        one.said(from_client, octets)
    return one


def replayed(said: Iterable[tuple[bool, bytes]], policy: Policy, terms: Terms = OPEN) -> list[Outcome]:
    """Replay what is said as an outsider's."""
    return replay(read(recorded(said)), policy, OUTSIDER, "", terms)


def happened(outcomes: Iterable[Outcome]) -> list[str]:
    """Return a word for each."""
    return [one.happened.value for one in outcomes]


def test_what_is_forwarded_gets_the_recorded_answer(shipped: Policy) -> None:
    """So that a whole mail goes through, and nothing is supposed."""
    outcomes = replayed([*HELLO, *MAIL, *MESSAGE, *QUIT], shipped)
    assert happened(outcomes) == ["forward"] * 6
    assert not any(one.supposed for one in outcomes)


def test_the_recorded_answer_to_what_the_guard_answers_is_dropped(shipped: Policy) -> None:
    """And the next command still gets its own: a RCPT behind it that the server refused stays refused."""
    vrfy = [(C, b"VRFY george\r\n"), (S, b"250 2.1.5 George <george@x.test>\r\n")]
    refused = [*MAIL[:2], *vrfy, (C, MAIL[2][1]), (S, b"550 no such user\r\n"), (C, b"DATA\r\n"), (S, b"503 no\r\n")]
    outcomes = replayed([*HELLO, *refused, *QUIT], shipped)
    assert happened(outcomes) == ["forward", "forward", "reply", "forward", "forward", "forward"]
    assert outcomes[2].reply.startswith("252 ")
    assert not any(one.supposed for one in outcomes)


def test_replies_of_several_lines_and_those_that_are_none_keep_the_order() -> None:
    """050 lines, and an answer that breaks off."""
    said = [
        (S, b"220-mx\r\n220 there\r\n"), (C, b"HELP\r\n"), (S, b"214-a\r\n214-b\r\n214 c\r\n050 hm\r\n"),
        (C, b"NOOP\r\nNOOP\r\n"), (S, b"250-a\r\n251 b\r\n250 c\r\n"),
    ]  # fmt: skip
    dialogue = read(recorded(said))
    assert dialogue.banner == b"220-mx\r\n220 there\r\n"
    answers = [one.reply for one in dialogue.exchanges]
    assert answers == [b"214-a\r\n214-b\r\n214 c\r\n", b"251 b\r\n", b"250 c\r\n"]


def test_a_message_is_left_out_where_data_is_refused_now() -> None:
    """A client that got no 354 would not have sent it; its lines are no commands."""
    outcomes = replayed([*HELLO, *MAIL, *MESSAGE, *QUIT], policy("check_data: [{action: reply}]"))
    assert happened(outcomes) == ["forward", "forward", "forward", "reply", "unsaid", "forward"]


def test_a_server_that_never_heard_of_the_recipient_takes_no_message() -> None:
    """The recorded 354 would be a lie, so the server's refusal is supposed."""
    for refusing in ("check_rcpt", "check_mail"):
        outcomes = replayed([*HELLO, *MAIL, *MESSAGE, *QUIT], policy(f"{refusing}: [{{action: reply}}]"))
        assert outcomes[3].supposed
        assert outcomes[4].happened is Happened.UNSAID
        assert outcomes[5] == Outcome(Happened.FORWARD)


def test_what_follows_a_close_is_not_said() -> None:
    """The session is over."""
    outcomes = replayed([*HELLO, (C, b"VRFY a\r\n"), (S, b"250 a\r\n"), *QUIT], policy("check_vrfy: [{action: close}]"))
    assert happened(outcomes) == ["forward", "close", "over"]
    assert outcomes[1].reply.startswith("421 ")


def test_input_behind_data_that_did_not_wait_ends_the_session(shipped: Policy) -> None:
    """As on the wire: in the recording both came before the answer; a client that waits is served."""
    hasty = [*HELLO, *MAIL, (C, b"DATA\r\n.\r\n"), (S, b"354 go\r\n250 ok\r\n"), *QUIT]
    assert happened(replayed(hasty, shipped)) == ["forward", "forward", "forward", "close", "over", "over"]


def test_of_commands_that_were_sent_at_once_each_gets_its_own_answer(shipped: Policy) -> None:
    """What the guard answers itself among them takes no other one's; not even behind an EHLO that nobody waited for."""
    said = [
        *HELLO[:1],
        (C, b"EHLO me.test\r\nVRFY a\r\nMAIL FROM:<a@b.example>\r\nVRFY a\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"),
        (S, b"250 mx\r\n250 a\r\n250 sender\r\n250 a\r\n250 recipient\r\n354 go\r\n"),
        *MESSAGE[2:],
        *QUIT,
    ]
    outcomes = replayed(said, shipped)
    assert happened(outcomes) == ["forward", "reply", "forward", "reply", "forward", "forward", "forward", "forward"]
    assert not any(one.supposed for one in outcomes)


def test_a_recording_may_end_within_the_line_of_a_chunk(shipped: Policy) -> None:
    """It is told of as any other line."""
    dialogue = read(recorded([*HELLO, (C, b"BDAT 5")]))
    assert [one.what for one in dialogue.exchanges] == [What.COMMAND, What.CHUNK]
    assert shown(dialogue.exchanges[1]) == "BDAT 5"
    assert len(replay(dialogue, shipped, OUTSIDER, "", OPEN)) == 2


def test_the_time_that_a_budget_costs_is_told_and_makes_a_difference() -> None:
    """As that of a rule; but one answer is one row, however long it took."""
    vrfy = [(C, b"VRFY a\r\n"), (S, b"250 a\r\n")]
    dialogue = read(recorded([*HELLO, *vrfy * 3]))
    rules = "rulesets: {check_vrfy: [{action: reply}]}"
    slowing, other = (
        replay(dialogue, loaded(text), OUTSIDER, "", OPEN) for text in ("budgets: {vrfy: 1}\n" + rules, rules)
    )
    assert [one.delay for one in slowing] == [0, 1, 2, 4]
    assert slowing[1].told.startswith("after 1 s, 252 ")
    assert [one.place for one in differences(slowing, other)] == [1, 2, 3]
    tally = Tally()
    tally.add(recorded([]), dialogue.exchanges, slowing)
    assert [*tally.refused.values()] == [3]


def test_commands_that_were_sent_at_once_are_no_early_input(shipped: Policy) -> None:
    """PIPELINING."""
    at_once = [*HELLO, (C, b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"),
               (S, b"250 ok\r\n250 ok\r\n354 go\r\n"), *MESSAGE[2:], *QUIT]  # fmt: skip
    assert happened(replayed(at_once, shipped)) == ["forward"] * 6


@pytest.mark.parametrize("early", [EarlyInput.HOLD, EarlyInput.REJECT])
def test_who_talks_before_the_banner_did_so_in_the_recording(early: EarlyInput) -> None:
    """And only who did."""
    rules = loaded(f"early_input: {early.value}\nrulesets: {{}}\n")
    hasty = [(C, b"HELO x\r\nNOOP\r\n"), (S, b"220 mx\r\n250 a\r\n250 b\r\n"), *QUIT]
    wanted = ["forward"] * 3 if early is EarlyInput.HOLD else ["close", "over", "over"]
    assert happened(replayed(hasty, rules)) == wanted
    assert happened(replayed([*HELLO, *QUIT], rules)) == ["forward", "forward"]


def test_octets_behind_starttls_are_uninspected_and_told(shipped: Policy) -> None:
    """Captures have them encrypted."""
    tls = [*HELLO, (C, b"STARTTLS\r\n"), (S, b"220 go\r\n"), (C, b"\x16\x03\x01\x00\x05hello"), (S, b"\x16\x03")]
    one = recorded(tls)
    dialogue = read(one)
    assert [each.verb for each in dialogue.exchanges] == [b"EHLO", b"STARTTLS"]
    assert one.told == [exchanges.ENCRYPTED]
    assert happened(replay(dialogue, shipped, OUTSIDER, "", OPEN)) == ["forward", "starttls"]
    implicit = recorded([(C, b"\x16\x03\x01\x00\x05hello"), (S, b"\x16\x03\x03")])
    assert read(implicit).exchanges == ()
    assert implicit.told == [exchanges.ENCRYPTED_AT_ONCE]


def test_a_transcript_is_read_behind_starttls(shipped: Policy) -> None:
    """A handshake is supposed, and the rules hold in it."""
    tls = [*HELLO, (C, b"STARTTLS\r\n"), (S, b"220 go\r\n"), *HELLO[1:], (C, b"VRFY a\r\n"), (S, b"250 a\r\n"), *QUIT]
    dialogue = read(recorded(tls, readable_in_tls=True))
    outcomes = replay(dialogue, shipped, OUTSIDER, "", OPEN)
    assert happened(outcomes) == ["forward", "starttls", "forward", "reply", "forward"]
    only_tls = policy("check_vrfy: [{tls: true, action: forward}, {action: reply}]")
    assert happened(replay(dialogue, only_tls, OUTSIDER, "", OPEN))[3] == "forward"


def test_chunks_are_counted_whatever_is_in_them(shipped: Policy) -> None:
    """Not read as commands, whether they are forwarded or not."""
    hello = [*HELLO[:2], (S, b"250-mx\r\n250 CHUNKING\r\n")]
    chunked = [*hello, *MAIL, (C, b"BDAT 12\r\nVRFY root\r\n\n"), (S, b"250 ok\r\n"), (C, b"BDAT 3 LAST\r\nabc"),
               (S, b"250 ok\r\n"), *QUIT]  # fmt: skip
    dialogue = read(recorded(chunked))
    assert [one.what for one in dialogue.exchanges[3:5]] == [What.CHUNK] * 2
    assert happened(replay(dialogue, shipped, OUTSIDER, "", OPEN)) == ["forward"] * 6
    hidden = replay(dialogue, shipped, OUTSIDER, "", Terms())
    assert happened(hidden) == ["forward", "forward", "forward", "reply", "reply", "forward"]


def test_responses_of_an_authentication_are_never_shown(shipped: Policy) -> None:
    """Neither what a server asked for, nor what a client said to one that did not."""
    secret = b"AGdlb3JnZQBzM2NyZXQ="
    login = [(C, b"AUTH LOGIN\r\n"), (S, b"334 VXNlcm5hbWU6\r\n"), (C, secret + b"\r\n"), (S, b"334 UGFzc3dvcmQ6\r\n"),
             (C, secret + b"\r\n"), (S, b"235 ok\r\n")]  # fmt: skip
    deaf = [(C, b"AUTH LOGIN\r\n"), (S, b"503 no\r\n"), (C, secret + b"\r\n"), (S, b"500 what\r\n")]
    plain = [(C, b"AUTH PLAIN " + secret + b"\r\n"), (S, b"235 ok\r\n")]
    for auth in (login, deaf, plain):
        dialogue = read(recorded([*HELLO, *auth, *QUIT]))
        assert secret.decode() not in "".join(map(shown, dialogue.exchanges))
        assert len(replay(dialogue, shipped, OUTSIDER, "", OPEN)) == len(dialogue.exchanges)
    assert happened(replayed([*HELLO, *login, *QUIT], shipped)) == ["forward"] * 5


def test_what_a_shadowed_rule_would_have_done_is_told() -> None:
    """And nothing else changes."""
    shadowed = policy("check_vrfy: [{action: reply, shadow: true}]")
    (_, outcome, _) = replayed([*HELLO, (C, b"VRFY a\r\n"), (S, b"250 a\r\n"), *QUIT], shadowed)
    assert outcome.happened is Happened.FORWARD
    assert outcome.would.startswith("252 ")
    assert "check_vrfy, rule 1" in outcome.would_rule


def test_a_recording_without_answers_is_answered_as_supposed(shipped: Policy) -> None:
    """One direction of the traffic only."""
    outcomes = replayed([(C, b"EHLO x\r\nVRFY a\r\nMAIL FROM:<a@b.example>\r\n")], shipped)
    assert happened(outcomes) == ["forward", "reply", "forward"]
    assert outcomes[0].supposed


def test_what_is_kept_of_a_session_is_bounded(shipped: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines, octets, and turns of one octet each; what is left out is told or refused."""
    monkeypatch.setattr(exchanges, "EXCHANGES", 20)
    one = recorded([*HELLO, (C, b"NOOP\r\n" * 50)])
    dialogue = read(one)
    assert len(dialogue.exchanges) == 20
    assert one.told == [exchanges.TOO_MANY]
    assert happened(replay(dialogue, shipped, OUTSIDER, "", OPEN)) == ["forward"] * 20
    monkeypatch.setattr(recordings, "SESSION_OCTETS", 1000 * RUN_OCTETS)
    one = recorded([])
    assert sum(one.said(number % 2 == 0, b"x") for number in range(2000)) < 1000
    assert not one.said(True, b"x" * 1000 * RUN_OCTETS)


PIECES = st.sampled_from(
    [
        b"EHLO x\r\n", b"VRFY a\r\n", b"DATA\r\n", b".\r\n", b"\r\n.\r\n", b"AUTH LOGIN\r\n", b"AUTH PLAIN\r\n",
        b"QUIT\r\n",
        b"BDAT 5\r\n", b"BDAT 99999999999 LAST\r\n", b"STARTTLS\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RSET\r\n",
        b"RCPT TO:<a@b.example>\r\n", b"\n", b"\r", b"\0", b"\x16\x03\x01", b"x" * 600, b"*\r\n", b"\xff\r\n",
        b"NOOP\n",
    ]
)  # fmt: skip
ANSWERS = st.sampled_from(
    [b"220 a\r\n", b"250 ok\r\n", b"354 go\r\n", b"334 \r\n", b"235 ok\r\n", b"421 bye\r\n", b"503 no\r\n",
     b"250-a\r\n",
     b"junk\r\n", b"\0", b"250 \0\r\n", b"999 x\r\n", b"250"]
)  # fmt: skip
RUNS = st.lists(
    st.tuples(st.just(True), st.lists(PIECES | st.binary(max_size=6), min_size=1, max_size=4).map(b"".join))
    | st.tuples(st.just(False), st.lists(ANSWERS, min_size=1, max_size=3).map(b"".join)),
    max_size=16,
)  # fmt: skip


HOLD, REJECT = (
    loaded(f"early_input: {word}\nrulesets: {{check_vrfy: [{{action: reply}}]}}\n") for word in ("hold", "reject")
)


@settings(max_examples=500, deadline=None)
@given(said=RUNS, readable=st.booleans(), hold=st.booleans())
def test_any_recording_is_cut_without_loss_and_replayed_without_raising(
    said: list[tuple[bool, bytes]], readable: bool, hold: bool
) -> None:
    """Whatever client and server have said: each octet is in one exchange, and each exchange has one outcome."""
    rules = HOLD if hold else REJECT
    one = recorded(said, readable)
    octets = b"".join(bytes(run.octets) for run in one.runs if run.from_client)
    dialogue = read(one)
    cut = b"".join(each.octets for each in dialogue.exchanges)
    assert octets.startswith(cut)
    assert cut == octets or exchanges.ENCRYPTED in one.told or exchanges.ENCRYPTED_AT_ONCE in one.told
    outcomes = replay(dialogue, rules, OUTSIDER, "", OPEN)
    assert len(outcomes) == len(dialogue.exchanges)
    assert replay(dialogue, rules, OUTSIDER, "", OPEN) == outcomes
