"""The ladder of budgets, and whom it spares."""

from __future__ import annotations

import pytest

from smtpguard.smtp.budgets import SENDMAIL, UNLESS_SAID, Account, Budgets
from smtpguard.smtp.effects import OverBudget

from .table import INSIDE, OUTSIDE, Table, policy

RULES = "networks: {internal: [127.0.0.1/32]}\nrulesets: {check_vrfy: [{from_not: internal, action: reply}]}\n"


@pytest.mark.parametrize(
    ("verbs", "budget"),
    [((b"VRFY", b"EXPN"), 6), ((b"ETRN",), 8), ((b"NOOP", b"VERB"), 20), ((b"HELO", b"EHLO"), 3)],
)
def test_the_ladder_is_sendmails(verbs: tuple[bytes, ...], budget: int) -> None:
    """One second at the n-th, twice as much at each further one, four minutes at most, then the end."""
    account = Account(SENDMAIL)
    costs = [account.charge(verbs[number % len(verbs)]) for number in range(budget - 1)]
    assert costs == [0.0] * (budget - 1)
    assert [account.charge(verbs[0]) for _ in range(10)] == [1, 2, 4, 8, 16, 32, 64, 128, 240, None]


def test_bad_commands_cost_no_time_and_then_the_session() -> None:
    """Whatever they are called, or if they are no commands at all."""
    account = Account(SENDMAIL)
    assert [account.charge(b"X%d" % number if number % 2 else b"") for number in range(25)] == [0.0] * 25
    assert account.charge(b"DEBUG") is None
    assert account.attack == 26


def test_an_attack_is_told_once() -> None:
    """When the budget is used up."""
    account = Account(Budgets(vrfy=3))
    told = []
    for _ in range(8):
        account.charge(b"VRFY")
        told.append(account.attack)
    assert told == [0, 0, 3, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("budgets", [Budgets(0, 0, 0, 0, 0, 0), UNLESS_SAID])
def test_without_a_budget_nothing_costs_anything(budgets: Budgets) -> None:
    """But for the thousand of them all, where a policy says nothing."""
    account = Account(budgets)
    costs = {account.charge(verb) for verb in (b"VRFY", b"EXPN", b"", b"NOOP", b"X") * 200}
    assert costs == {0.0}
    assert account.charge(b"RCPT") == (None if budgets.refused else 0.0)


def test_200_recipients_are_verified_without_a_wait() -> None:
    """By insiders, whom the server answers; and by outsiders of a policy that lets them."""
    for source, text in ((INSIDE, RULES), (OUTSIDE, "rulesets: {}\n")):
        table = Table(policy("budgets: sendmail\n" + text), source)
        table.backend(b"220 mx\r\n")
        for _ in range(200):
            table.client(b"VRFY george\r\n")
            assert table.take_backend() == b"VRFY george\r\n"
            table.backend(b"250 <george@x.test>\r\n")
        assert table.waits == []
        assert table.closed is None


def test_a_refusal_costs_the_same_and_says_the_same_whatever_the_name() -> None:
    """Nothing is to be learned by watching the clock either."""
    names = (b"root", b"nobody-at-all", b"", b"<a@b>", b"x" * 900, b'"a b"', b"|/bin/sh")
    seen = set()
    for name in names:
        table = Table(policy("budgets: {vrfy: 1}\n" + RULES), OUTSIDE)
        table.backend(b"220 mx\r\n")
        table.client((b"VRFY " + name).strip() + b"\r\n")
        waits = tuple(table.waits)
        table.be_patient()
        seen.add((waits, table.take_client()))
        assert [note.count for note in table.notes if isinstance(note, OverBudget)] == [1]
    assert len(seen) == 1


def test_the_thousandth_and_first_refusal_is_told_as_an_attack_too() -> None:
    """Whatever it was for."""
    account = Account(Budgets(0, 0, 0, 0, 0, refused=3))
    assert [(account.charge(b"RCPT"), account.attack) for _ in range(4)] == [(0.0, 0)] * 3 + [(None, 4)]
