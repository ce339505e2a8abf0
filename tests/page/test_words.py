"""What the page says, and of what it says it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from smtpguard.admin import page
from smtpguard.admin.page_chart import MINUTES, Series, scale, top
from smtpguard.admin.page_troubles import in_short, troubles
from smtpguard.admin.page_words import ago
from tests.page import documents
from tests.page.documents import NOW
from tests.page.test_markup import Reader


def words_of(document: dict[str, Any]) -> str:
    """Return the text of the page."""
    return " ".join(Reader(page.render(document)).text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "now"), (12, "12 s ago"), (59.9, "59 s ago"), (60, "1 min ago"), (3599, "59 min ago"), (3600, "1 h ago"),
        (86_400 * 400, "400 d ago"), (-30, "in 30 s"), (-7200, "in 2 h"),
    ],
)  # fmt: skip
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    """Rounded down: what is a minute old is not two."""
    assert ago(NOW - seconds, NOW) == words


@pytest.mark.parametrize(
    ("most", "high"), [(0, 2), (1, 2), (2, 2), (3, 4), (5, 10), (11, 20), (84, 100), (10**6 + 1, 2 * 10**6)]
)
def test_an_axis_ends_at_a_round_number(most: int, high: int) -> None:
    """Whose half is a whole one."""
    assert scale(most) == high


def test_more_rules_than_there_are_colours_are_drawn_as_one() -> None:
    """The largest ones have a colour, and no verdict is lost."""
    series = [Series(f"rule {number}", (0,) * (MINUTES - 1) + (number,)) for number in range(12)]
    drawn = top(series)
    assert [one.name for one in drawn] == ["rule 11", "rule 10", "rule 9", "rule 8", "rule 7", "rule 6", "5 others"]
    assert sum(one.total for one in drawn) == sum(range(12))


def test_a_guard_that_is_well_says_so_and_nothing_else() -> None:
    """Also one that nobody has talked to, whose empty places have words."""
    for document in (documents.quiet(), documents.busy()):
        assert troubles(document, NOW) == []
        assert "All is well." in words_of(document)
    words = words_of(documents.quiet())
    for empty in (
        "No rule has decided yet.", "No command yet.", "No session now.", "No client was turned away.",
        "Nobody is banned.", "The policy has no limits.", "Nothing that looks like an attack.",
    ):  # fmt: skip
        assert empty in words


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({"ready": False, "ready_because": "stopping"}, "bad", "Clients are turned away: stopping"),
        ({"ready": None}, "bad", "no reason was given"),
        ({"reload": {"at": NOW, "ok": False, "faults": ["f:1:2: wrong"]}}, "bad", "f:1:2: wrong"),
        ({"reload": {"at": NOW, "ok": True, "warnings": ["w"]}}, "warn", "came with 1 warning"),
        ({"relay_check": {"standing": "relays"}}, "bad", "would relay for outsiders"),
        ({"relay_check": {"standing": "wait"}}, "warn", "No answer to the relay check yet"),
        ({"backends": [{"endpoint": "a", "state": "down"}]}, "bad", "Mail server a"),
        ({"backends": [{"endpoint": "a", "state": "down"}, {"endpoint": "b", "state": "up"}]}, "warn", "Mail server a"),
        ({"processes": [{"name": "worker 1", "state": "hangs"}]}, "warn", "worker 1"),
        ({"sessions": {"now": 90, "limit": 100}}, "warn", "90 of 100 sessions are taken"),
        ({"state": {"shared": "redis away since 12:00"}}, "warn", "Each guard counts for itself"),
        ({"state": {"fault": "disk full"}}, "warn", "disk full"),
        ({"log": {"lost": 1}}, "warn", "1 line of the log was lost"),
    ],
)
def test_each_trouble_is_told(change: dict[str, Any], level: str, words: str) -> None:
    """Alone it is the only one, with its level, and the page has it in words."""
    document = {**documents.busy(), **change}
    (found,) = troubles(document, NOW)
    assert found.level == level
    assert words in " ".join("".join(Reader(page.render(document)).text).split())
    assert in_short([found]) == ("1 alarm" if level == "bad" else "1 warning")


def test_the_worst_comes_first() -> None:
    """And the title of the window counts them."""
    found = troubles(documents.troubled(), NOW)
    assert [one.level for one in found] == ["bad"] * 5 + ["warn"] * 6
    assert "5 alarms, 6 warnings" in words_of(documents.troubled())


def test_what_is_not_shown_is_counted() -> None:
    """A table has a bound, and says what is beyond it."""
    document = documents.busy()
    document["bans"], document["bans_total"] = document["bans"] * 40, 4711
    words = words_of(document)
    assert "and 4,611 more" in words
    assert "and 37 more" in words  # sessions now, of which eight are described


def test_a_page_of_everything_does_not_keep_the_loop_from_clients() -> None:
    """All tables at their bounds, in less than a tenth of a second of the processor."""
    document = documents.busy()
    document["verdicts"] *= 22
    document["incidents"] = [{**one, "id": number} for number, one in enumerate(document["incidents"] * 12)]
    for one in document["incidents"]:
        one["names"], one["evidence"] = one["names"] * 6, one["evidence"] * 2
    document["sessions"]["live"] *= 12
    document["bans"] *= 33
    page.render(document)
    began = time.process_time()
    octets = page.render(document)
    assert time.process_time() - began < 0.1
    assert len(octets) < 600_000


def test_the_page_tells_who_is_slowed_or_sent_away_and_why_there_is_less_room() -> None:
    """As `smtpguard status` does; the clerk is no trouble."""
    document = documents.quiet()
    held = {"until": documents.NOW + 600, "since": documents.NOW, "limit": "scanners", "count": 41}
    document["standing"] = [
        {**held, "key": "203.0.113.4", "step": "close", "seconds": 0.0},
        {**held, "key": "203.0.113.5", "step": "delay", "seconds": 2.5},
    ]
    document["standing_total"] = 5
    document["sessions"] |= {"limit": 416, "configured": 1000}
    document["processes"].append({"name": "clerk", "pid": 9, "since": 1.0, "state": "keeping the books"})
    written = page.render(document).decode()
    assert "<caption>Slowed or sent away</caption>" in written
    assert "203.0.113.4" in written
    assert "sent away</td>" in written
    assert "waits 2.5 s</td>" in written
    assert "and 3 more" in written
    assert "There are descriptors for 416 sessions, and limits.sessions is 1,000" in written
    assert "1 warning" in written
    quiet = page.render(documents.quiet()).decode()
    assert "Slowed or sent away" not in quiet
