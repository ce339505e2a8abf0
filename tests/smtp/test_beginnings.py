"""A word that begins as a verb: some servers look no further, and take it for that verb."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smtpguard.smtp.verbs import KNOWN_VERBS

from .table import INSIDE, Table, policy

FORWARDING = policy("networks: {internal: [127.0.0.1/32]}\nrulesets: {}")
"""Nothing is refused but what no policy can let through."""
BEHIND = st.from_regex(rb"[A-Za-z0-9-]{1,20}", fullmatch=True)
CASES = st.sampled_from((bytes.upper, bytes.lower, bytes.title))
ALMOST = st.builds(lambda verb, case, behind: case(verb) + behind, st.sampled_from(sorted(KNOWN_VERBS)), CASES, BEHIND)
LONGER = ALMOST.filter(lambda word: word.upper() not in KNOWN_VERBS)


def seated() -> Table:
    """Return a table at which the backend has spoken."""
    table = Table(FORWARDING, INSIDE)
    table.backend(b"220 mx\r\n")
    table.take_client()
    return table


@given(LONGER, st.sampled_from((b"", b" ", b" george", b" TO:<a@b.test>")))
def test_a_word_that_begins_as_a_verb_is_not_forwarded(word: bytes, behind: bytes) -> None:
    """Whoever says it, and whatever the policy."""
    table = seated()
    table.client(word + behind + b"\r\n")
    assert table.take_backend() == b""
    assert table.take_client() == b"500 5.5.1 Command unrecognized\r\n"
    assert table.closed is None


@given(LONGER)
def test_a_word_that_begins_as_a_verb_is_not_offered(word: bytes) -> None:
    """A client could only be refused it."""
    table = seated()
    table.client(b"EHLO x\r\n")
    table.backend(b"250-mx.test\r\n250-" + word + b"\r\n250 DSN\r\n")
    assert table.take_client() == b"250-mx.test\r\n250 DSN\r\n"
