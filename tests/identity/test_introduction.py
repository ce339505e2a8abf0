"""The guard's own words to the backend: in order, and nothing is believed that nothing asked for."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.identity.introduction import (
    BeginTls,
    Effect,
    Encrypt,
    FindName,
    Introduced,
    Introduction,
    NotIntroduced,
    Say,
)
from smtpguard.identity.origin import Origin
from smtpguard.policy.networks import Peer
from smtpguard.smtp.bounds import Bounds

CLIENT = Origin(Peer.parse("203.0.113.9"), 40000, Peer.parse("192.0.2.25"), 25)
BANNER = b"220 mx.test ESMTP\r\n"
EHLO = b"EHLO guard.test\r\n"
OFFERS = b"250-mx.test\r\n250-STARTTLS\r\n250 XCLIENT NAME ADDR PORT LOGIN\r\n"
TOLD = b"XCLIENT NAME=mail.example PORT=40000 ADDR=203.0.113.9 LOGIN=[UNAVAILABLE]\r\n"
AGAIN = b"220 mx.test again\r\n"


class Play:
    """One introduction, and what it did."""

    def __init__(self, encrypt: str = "none", *, tells: bool = False, cut: int = 0) -> None:
        self._introduction = Introduction("guard.test", Encrypt(encrypt), CLIENT, tells=tells)
        self._cut = cut
        self.effects: list[Effect] = []

    def hear(self, octets: bytes) -> list[Effect]:
        """The backend says something; return what came of it."""
        step = self._cut or max(len(octets), 1)
        return self._keep(
            effect
            for at in range(0, len(octets), step)
            for effect in self._introduction.from_backend(octets[at : at + step])
        )

    def secure(self) -> list[Effect]:
        return self._keep(self._introduction.tls_established())

    def name(self, name: str | None) -> list[Effect]:
        return self._keep(self._introduction.named(name))

    def _keep(self, effects: Iterable[Effect]) -> list[Effect]:
        found = list(effects)
        self.effects += found
        return found


@pytest.fixture(params=[0, 1], ids=["whole", "each octet"])
def cut(request: pytest.FixtureRequest) -> int:
    """How the backend's octets are cut."""
    return int(request.param)


def test_xclient_is_said_before_the_client_says_anything(cut: int) -> None:
    """And the client gets the banner that belongs to it."""
    play = Play(tells=True, cut=cut)
    assert play.hear(BANNER) == [Say(EHLO)]
    assert play.hear(OFFERS) == [FindName()]
    assert play.name("mail.example") == [Say(TOLD)]
    assert play.hear(AGAIN) == [Introduced(AGAIN)]


def test_tls_comes_first_and_what_was_offered_in_clear_does_not_count(cut: int) -> None:
    """RFC 3207 4.2: EHLO is said again."""
    play = Play("required", tells=True, cut=cut)
    play.hear(BANNER)
    assert play.hear(OFFERS) == [Say(b"STARTTLS\r\n")]
    assert play.hear(b"220 go\r\n") == [BeginTls()]
    assert play.secure() == [Say(EHLO)]
    (failed,) = play.hear(b"250-mx.test\r\n250 STARTTLS\r\n")
    assert isinstance(failed, NotIntroduced)
    assert "XCLIENT" in failed.what


def test_who_may_not_be_told_the_address_is_told_nothing(cut: int) -> None:
    """What it heard would be said of the guard."""
    play = Play(tells=True, cut=cut)
    play.hear(BANNER)
    (failed,) = play.hear(b"250-mx.test\r\n250 XCLIENT NAME PORT LOGIN\r\n")
    assert isinstance(failed, NotIntroduced)


def test_tls_alone_gives_the_client_the_first_banner(cut: int) -> None:
    """The 220 to STARTTLS is none; and no second EHLO, since sendmail slows who says it three times."""
    play = Play("opportunistic", cut=cut)
    play.hear(BANNER)
    play.hear(OFFERS)
    play.hear(b"220 go\r\n")
    assert play.secure() == [Introduced(BANNER)]


def test_what_is_opportunistic_goes_on_in_clear(cut: int) -> None:
    """Where STARTTLS is not offered, and where even EHLO is not known."""
    for reply in (b"250 mx.test\r\n", b"502 what\r\n"):
        play = Play("opportunistic", cut=cut)
        play.hear(BANNER)
        assert play.hear(reply) == [Introduced(BANNER)]


@pytest.mark.parametrize("reply", [b"250 mx.test\r\n", b"502 what\r\n", b"350 what\r\n"])
def test_what_is_required_does_not(cut: int, reply: bytes) -> None:
    """An attacker who takes the keyword away gets no clear text."""
    play = Play("required", cut=cut)
    play.hear(BANNER)
    (failed,) = play.hear(reply)
    assert isinstance(failed, NotIntroduced)


@pytest.mark.parametrize("code", [b"454", b"502"])
def test_where_tls_is_offered_and_not_to_be_had_mail_goes_on_if_it_may(cut: int, code: bytes) -> None:
    """As when it is not offered; the connection is as it was."""
    play = Play("opportunistic", cut=cut)
    play.hear(BANNER)
    play.hear(OFFERS)
    assert play.hear(code + b" no\r\n") == [Introduced(BANNER)]
    play = Play("opportunistic", tells=True, cut=cut)
    play.hear(BANNER)
    play.hear(OFFERS)
    assert play.hear(code + b" no\r\n") == [FindName()]
    assert play.name("mail.example") == [Say(TOLD)]


@pytest.mark.parametrize(
    ("encrypt", "code"), [("required", b"454"), ("opportunistic", b"250"), ("opportunistic", b"354")]
)
def test_another_answer_to_starttls_ends_it(cut: int, encrypt: str, code: bytes) -> None:
    """Nobody knows what comes next on the connection, or it may not go on in clear."""
    play = Play(encrypt, cut=cut)
    play.hear(BANNER)
    play.hear(OFFERS)
    (failed,) = play.hear(code + b" no\r\n")
    assert isinstance(failed, NotIntroduced)
    assert failed.what == "reply to STARTTLS that is no 220"


@pytest.mark.parametrize("refusal", [b"554 no service\r\n", b"421 busy\r\n"])
def test_a_backend_that_refuses_service_says_so_to_the_client(cut: int, refusal: bytes) -> None:
    """Its words are the banner."""
    assert Play(tells=True, cut=cut).hear(refusal) == [Introduced(refusal)]


def test_421_at_any_later_time_is_the_clients_banner_too(cut: int) -> None:
    """RFC 5321 3.8."""
    play = Play(tells=True, cut=cut)
    play.hear(BANNER)
    assert play.hear(b"421 shutting down\r\n") == [Introduced(b"421 shutting down\r\n")]


@pytest.mark.parametrize("reply", [b"550 not you\r\n", b"501 bad syntax\r\n", b"250 ok\r\n"])
def test_a_backend_that_does_not_believe_it_gets_no_session(cut: int, reply: bytes) -> None:
    """It would take the client for the guard."""
    play = Play(tells=True, cut=cut)
    play.hear(BANNER)
    play.hear(OFFERS)
    play.name(None)
    (failed,) = play.hear(reply)
    assert isinstance(failed, NotIntroduced)


def test_a_reply_that_comes_too_early_is_for_nobody() -> None:
    """Octets behind the reply that opens a handshake, a look-up or the session."""
    for hears in (
        [BANNER + b"250 early\r\n"],
        [BANNER, OFFERS + b"250 early\r\n"],
        [BANNER, OFFERS, b"name", AGAIN + b"250 early\r\n"],
    ):
        play = Play(tells=True)
        for octets in hears:
            play.name("mail.example") if octets == b"name" else play.hear(octets)
        assert isinstance(play.effects[-1], NotIntroduced)
    play = Play("required")
    play.hear(BANNER)
    play.hear(OFFERS)
    (failed,) = play.hear(b"220 go\r\n250 injected\r\n")
    assert failed == NotIntroduced("octets behind a reply that nothing asked for", b"250 injected\r\n")


def test_octets_amid_the_handshake_or_the_look_up_end_it(cut: int) -> None:
    """They can be no answer to what comes behind it."""
    play = Play("required", cut=cut)
    play.hear(BANNER)
    play.hear(OFFERS)
    play.hear(b"220 go\r\n")
    assert isinstance(play.hear(b"2")[0], NotIntroduced)
    play = Play(tells=True, cut=cut)
    play.hear(BANNER)
    play.hear(OFFERS)
    assert isinstance(play.hear(b"2")[0], NotIntroduced)
    assert play.name("late.example") == []


def test_a_reply_that_is_none_ends_it() -> None:
    """And an endless one."""
    assert isinstance(Play().hear(b"hello\r\n")[0], NotIntroduced)
    endless = b"220-" + b"x" * Bounds().reply_line
    assert isinstance(Play().hear(endless)[0], NotIntroduced)


REPLIES = st.sampled_from(
    [BANNER, OFFERS, b"220 go\r\n", b"250 ok\r\n", b"421 x\r\n", b"554 x\r\n", b"354 x\r\n", b"2"]
)


@given(
    st.sampled_from(list(Encrypt)), st.booleans(), st.lists(REPLIES | st.binary(max_size=20) | st.none(), max_size=12)
)
def test_whatever_the_backend_says_the_client_is_introduced_before_there_is_a_session(
    encrypt: Encrypt, tells: bool, said: list[bytes | None]
) -> None:
    """A session begins in TLS if that is required, and told if it must be; at most once; nothing raises."""
    play = Play(encrypt.value, tells=tells)
    for octets in said:
        if octets is None:
            play.secure()
            play.name("mail.example")
        else:
            play.hear(octets)
    ends = [effect for effect in play.effects if isinstance(effect, Introduced | NotIntroduced)]
    assert ends == play.effects[-1:] or not ends
    if ends and isinstance(ends[0], Introduced) and ends[0].banner.startswith(b"220"):
        assert encrypt is not Encrypt.ALWAYS or BeginTls() in play.effects
        assert not tells or any(isinstance(e, Say) and e.octets.startswith(b"XCLIENT ") for e in play.effects)
