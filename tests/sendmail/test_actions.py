"""What a rule does besides forwarding and the profile's reply, on the wire and in front of a real sendmail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.guard import Guard
from tests.rig.sendmail import RealSendmail

from .support import GEORGE, INSIDE, NO_EXPN, OUTSIDE, ConfiguredGuard, hello

RULES = """
networks: {internal: [127.0.0.1/32]}
banner: mail.x.test ESMTP
budgets: {refused: 3}
rulesets:
  check_vrfy:
    - {from: internal, action: forward}
    - {action: reply, reply: "550 5.7.1 Not from there", delay: 1}
  check_expn: [{from_not: internal, action: reply}]
  check_debug: [{action: close}]
"""


@pytest.fixture(scope="module")
def acting(stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """A guard with a rule for each action, and a bound of three refused commands."""
    folder = tmp_path_factory.mktemp("acting")
    with ConfiguredGuard(folder, (stock.address, stock.port), RULES) as guard:
        yield guard


def test_a_delay_holds_one_session_alone(acting: Guard) -> None:
    """And what that session has sent behind it keeps its turn."""
    with hello(acting.port, OUTSIDE) as slow, hello(acting.port, INSIDE) as other:
        slow.send(b"VRFY george\r\nNOOP\r\n")
        assert other.say("VRFY george") == GEORGE
        assert slow.quiet(0.1)
        assert slow.reply() == b"550 5.7.1 Not from there\r\n"
        assert slow.reply().startswith(b"250 ")


def test_close_says_421_and_hangs_up(acting: Guard) -> None:
    with hello(acting.port, INSIDE) as client:
        assert client.say("DEBUG").startswith("421 4.7.0 ")
        assert client.closed()


def test_the_banner_is_the_sites_own(acting: Guard) -> None:
    with hello(acting.port, OUTSIDE) as client:
        assert client.banner == "220 mail.x.test ESMTP"


def test_refused_commands_are_bounded_for_outsiders(acting: Guard) -> None:
    """`budgets`; insiders are exempt."""
    with hello(acting.port, OUTSIDE) as client:
        assert [client.say("EXPN all") for _ in range(3)] == [NO_EXPN] * 3
        assert client.say("EXPN all").startswith("421 4.7.0 ")
        assert client.closed()
    with hello(acting.port, INSIDE) as client:
        assert all(client.say(" EXPN all").startswith("500 ") for _ in range(5))
