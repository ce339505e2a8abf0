"""Lengths: what is refused before it could fill memory or be split by a server."""

from __future__ import annotations

from operator import attrgetter
from time import process_time

import pytest

from smtpguard.smtp.bounds import Bounds
from smtpguard.smtp.effects import BackendFault, Refused
from smtpguard.smtp.grammar import Fault
from smtpguard.smtp.profiles import PROFILES, Profile
from smtpguard.smtp.replies import REMEMBERED_OCTETS, ReplyReader

from .table import Split, Table, each_octet, policy, whole

OPEN = policy("rulesets: {}")


def greeted(bounds: Bounds | None = None, profile: str = "default") -> Table:
    table = Table(OPEN, bounds=bounds or Bounds(), profile=profile)
    table.backend(b"220 mx\r\n")
    table.take_client()
    return table


def test_replies_are_remembered_only_where_they_are_short() -> None:
    """The list of an EXPN may be long, and another each time."""
    for text, same in ((b"x", True), (b"x" * REMEMBERED_OCTETS, False)):
        reader, octets = ReplyReader(16384, 1 << 20), b"250 " + text + b"\r\n"
        replies = []
        for _ in range(2):
            reader.append(octets)
            replies.append(reader.take())
        assert replies[0] == replies[1]
        assert (replies[0] is replies[1]) is same


@pytest.mark.parametrize("split", [whole, each_octet])
@pytest.mark.parametrize("line", [b"NOOP ", b"rcpt TO:", b"AUTH PLAIN ", b"auth x "])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_line_as_long_as_the_profile_says_passes_and_a_longer_one_does_not(
    profile: Profile, line: bytes, split: Split
) -> None:
    """Line ends count."""
    bound = profile.auth if line.upper().startswith(b"AUTH ") else profile.line
    for length, passes in ((bound, True), (bound + 1, False)):
        if line.upper().startswith(b"AUTH ") and not profile.knows(b"AUTH"):
            continue
        table = greeted(profile=profile.name)
        for segment in split(line + b"A" * (length - 2 - len(line)) + b"\r\n"):
            table.client(segment)
        assert (table.closed is None) is passes
        assert bool(table.to_backend) is passes


def test_a_line_too_long_is_refused_before_its_end_has_come() -> None:
    """Nobody waits for a line end that need not come."""
    table = greeted()
    table.client(b"NOOP " + b"A" * 994)
    assert table.closed is None
    table.client(b"A")
    assert table.take_client().startswith(b"500 5.5.2 ")
    assert table.closed is not None
    assert isinstance(table.notes[0], Refused)
    assert table.notes[0].fault is Fault.TOO_LONG


@pytest.mark.parametrize("profile", [p for p in PROFILES.values() if p.knows(b"AUTH")], ids=attrgetter("name"))
def test_a_response_of_an_authentication_has_a_bound_too(profile: Profile) -> None:
    """SASL lines are split by servers as well."""
    for length, passes in ((profile.response, True), (profile.response + 1, False)):
        table = greeted(profile=profile.name)
        table.client(b"AUTH PLAIN\r\n")
        table.backend(b"334 \r\n")
        table.take_backend()
        table.client(b"A" * (length - 2) + b"\r\n")
        assert (table.closed is None) is passes
        assert bool(table.to_backend) is passes


@pytest.mark.parametrize("split", [whole, each_octet])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_line_of_a_message_has_a_bound_only_where_the_server_reads_lines(profile: Profile, split: Split) -> None:
    """The oldest servers take the rest of a longer line, as in `.CRLF`, for a line of its own."""
    bound = profile.body_line or 100_000
    for length in (bound, bound + 1):
        table = greeted(profile=profile.name)
        table.client(b"DATA\r\n")
        table.backend(b"354 go\r\n")
        table.take_client()
        table.take_backend()
        message = b"first\r\n" + b"A" * (length - 3) + b".\r\n.\r\n"
        for segment in split(message):
            table.client(segment)
        if profile.body_line is None or length == bound:
            assert table.take_backend() == message
            assert table.closed is None
        else:
            assert b".\r\n" not in table.take_backend()
            assert table.closed is not None
            assert table.closed.abort_backend
            where = f"Line too long in octet {bound - 2 + 8} of the message, line 2;".encode()
            assert table.take_client().startswith(b"550 5.6.0 " + where)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_verb_that_the_profile_does_not_know_is_answered_here(profile: Profile) -> None:
    """Unless the site has declared it; `known` below is what any server answers itself."""
    for verb in (b"VRFY x", b"EXPN x", b"ETRN x", b"HELP", b"XADR x", b"X-OWN x"):
        rules = policy("verbs: [X-OWN]\nrulesets: {}")
        table = Table(rules, profile=profile.name)
        table.backend(b"220 mx\r\n")
        table.take_client()
        table.client(verb + b"\r\n")
        known = profile.knows(verb.split(b" ")[0]) or verb == b"X-OWN x"
        assert table.take_backend() == (verb + b"\r\n" if known else b"")
        assert table.take_client() == (b"" if known else b"500 5.5.1 Command unrecognized\r\n")


def test_the_client_is_not_read_while_the_queue_is_full() -> None:
    """`hungry` says so, and says when there is room again."""
    table = greeted(Bounds(queue=100))
    for _ in range(20):
        table.client(b"NOOP\r\n")
    assert not table.dialogue.hungry
    for _ in range(20):
        table.backend(b"250 ok\r\n")
    assert table.dialogue.hungry
    assert table.take_backend() == b"NOOP\r\n" * 20


@pytest.mark.parametrize(
    ("reply", "passes"),
    [
        (b"250 " + b"a" * 12321 + b"\r\n", True),
        (b"250 " + b"a" * 16378 + b"\r\n", True),
        (b"250 " + b"a" * 16379 + b"\r\n", False),
        (b"250 " + b"a" * 70000, False),
        (b"250-x\r\n" * 100000 + b"250 x\r\n", True),
        (b"250-x\r\n" * 160000, False),
    ],
)
def test_replies_are_bounded(reply: bytes, passes: bool) -> None:
    """A line of 16 KiB and a reply of 1 MiB pass."""
    table = greeted()
    table.client(b"EXPN all\r\n")
    table.backend(reply)
    if passes:
        assert table.take_client() == reply
        assert table.closed is None
    else:
        assert table.take_client().startswith(b"421 ")
        assert isinstance(table.notes[-1], BackendFault)


def test_counts_name_only_verbs_of_the_table() -> None:
    """A client cannot fill memory, or the log, with verbs of its own."""
    table = greeted()
    for number in range(300):
        table.client(b"X%d\r\n" % number)
        table.backend(b"500 no\r\n")
    table.client(b"NOOP\r\n")
    table.backend(b"250 ok\r\n")
    assert table.dialogue.tally.by_verb == {b"UNKNOWN": [0, 300], b"NOOP": [1, 1]}


def test_a_session_of_refused_commands_ends() -> None:
    """Whatever they are refused for; 0 stands for no bound."""
    for bound, ends in ((10, True), (0, False)):
        budgets = f"budgets: {{refused: {bound}, vrfy: 0, bad: 0}}"
        table = Table(policy(f"{budgets}\nrulesets: {{check_vrfy: [{{action: reply}}]}}"))
        table.backend(b"220 mx\r\n")
        table.take_client()
        table.client(b"VRFY x\r\n" * 5 + b" x\r\n" * 5)
        assert table.closed is None
        assert table.take_client().count(b"\r\n") == 10
        table.client(b"DATA x\r\n")
        assert (table.closed is not None) is ends
        assert table.take_client().startswith(b"421 4.7.0 " if ends else b"501 ")


def test_a_long_reply_that_comes_octet_by_octet_is_not_copied_each_time() -> None:
    """Time grows with the reply, not with its square: four times the octets, less than eight times the work."""

    def seconds(octets: int) -> float:
        reply = b"250-" + b"x" * 70 + b"\r\n"
        reply = reply * (octets // len(reply)) + b"250 end\r\n"
        best = 9.0
        for _ in range(3):
            table = greeted()
            table.client(b"EXPN all\r\n")
            began = process_time()
            for segment in each_octet(reply):
                table.backend(segment)
            best = min(best, process_time() - began)
            assert table.take_client() == reply
        return best

    assert seconds(80_000) < 8 * seconds(20_000)


def test_a_bare_newline_does_not_make_an_auth_line_shorter() -> None:
    """Its bound is that of AUTH also where its CRLF is mended, and then it is the mended line that counts."""
    for length, passes in ((1000, True), (1001, True), (1999, True), (2000, False)):
        table = Table(policy("bare_newline: normalize\nrulesets: {}"))
        table.backend(b"220 mx\r\n")
        table.client(b"AUTH PLAIN " + b"A" * (length - 12) + b"\n")
        assert (table.closed is None) is passes, length


@pytest.mark.parametrize("split", [whole, each_octet])
@pytest.mark.parametrize(("line", "behind_bare"), [(b"y", True), (b"y", False), (b".y", True), (b".y", False)])
def test_a_line_of_a_mended_message_has_the_same_bound_and_the_dot_that_it_gets_counts(
    line: bytes, behind_bare: bool, split: Split
) -> None:
    """The server reads the line that it gets."""
    added = behind_bare and line.startswith(b".")
    for length in (2046 - added, 2047 - added):
        table = Table(policy("bare_newline: normalize\nrulesets: {}"), profile="sendmail-legacy")
        table.backend(b"220 mx\r\n")
        table.client(b"DATA\r\n")
        table.backend(b"354 go\r\n")
        table.take_backend()
        end = b"\n" if behind_bare else b"\r\n"
        for segment in split(b"q" + end + line.ljust(length, b"y") + end + b"z\r\n.\r\n"):
            table.client(segment)
        got = table.take_backend()
        assert (table.closed is None) is (length == 2046 - added)
        if table.closed is None:
            assert got == b"q\r\n" + b"." * added + line.ljust(length, b"y") + b"\r\nz\r\n.\r\n"
        else:
            assert max(map(len, got.split(b"\r\n"))) <= 2046


@pytest.mark.parametrize(
    ("sent", "reply", "what"),
    [
        (b"DATA\r\n", b"451 no\r\n", "refusal in the middle of a message"),
        (b"BDAT 5\r\nabc", b"552 full\r\n", "refusal in the middle of a message"),
        (b"BDAT 5\r\nabcde", b"452 full\r\n", "refusal of a chunk"),
        (b"BDAT 5 LAST\r\nabcde", b"554 no\r\n", "refusal of a chunk"),
        (b"BDAT 5\r\nabcde", b"251 ok\r\n", "reply of the wrong class"),
    ],
)
def test_why_a_refusal_ended_the_session_is_told_with_its_octets(sent: bytes, reply: bytes, what: str) -> None:
    """Nobody else could say where the message stayed."""
    table = Table(OPEN, chunking=True)
    table.backend(b"220 mx\r\n")
    for command, answer in (
        (b"EHLO x", b"250-mx\r\n250 CHUNKING"), (b"MAIL FROM:<a@b>", b"250 ok"), (b"RCPT TO:<c@d>", b"250 ok"),
    ):  # fmt: skip
        table.client(command + b"\r\n")
        table.backend(answer + b"\r\n")
    table.client(sent)
    if sent == b"DATA\r\n":
        table.backend(b"354 go\r\n")
        table.client(b"half a message\r\n")
    table.backend(reply)
    assert table.closed is not None
    assert table.notes == [BackendFault(what, reply)]
