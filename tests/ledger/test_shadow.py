"""What would have been refused: how it is counted, bounded, kept and reported."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve

from smtpguard.cli.main import main
from smtpguard.ledger import store as module
from smtpguard.ledger.reading import APPLICATION, rows_of
from smtpguard.ledger.reports import Report
from smtpguard.ledger.shadow_book import ShadowBook
from smtpguard.ledger.shadow_tally import HELD, ShadowTally
from smtpguard.ledger.shadowed import HOUR, Shadowed
from smtpguard.ledger.sources import MANY
from smtpguard.ledger.store import Changes, Store
from smtpguard.smtp.effects import Judged
from smtpguard.smtp.grammar import Command
from smtpguard.smtp.replies import Reply
from smtpguard.smtp.verdict import FORWARD, Action, Verdict, beside
from tests.ledger.support import NOW, Stage

RULE = "policy.yaml:9 check_vrfy, rule 2"
WOULD = Verdict(Action.REPLY, Reply.parse("252 2.5.2 no"), rule=RULE)
VERDICT = beside(FORWARD, WOULD)
MB = 1 << 20


def vrfy(line: bytes = b"VRFY george") -> Judged:
    """Return a VRFY that was forwarded."""
    return Judged(Command(line + b"\r\n", line.partition(b" ")[0], None), VERDICT)


def one(
    source: str = "192.0.2.7", when: float = NOW, number: int = 1, rule: str = RULE, verb: str = "VRFY"
) -> Shadowed:
    """Return what was kept of one client."""
    return Shadowed(rule, verb, "252 2.5.2 no", source, when, when, number, "", "VRFY george")


# -- in the process that serves ----------------------------------------------------------------------


def test_what_is_alike_is_one_row_with_its_first_line_and_its_last_name() -> None:
    """A name that the DNS has not told yet is there when the row is read."""
    tally = ShadowTally()
    names: list[str | None] = [None]
    for number, line in enumerate((b"VRFY george", b"VRFY \x1b[2J", b"VRFY c")):
        tally.noted(vrfy(line), "192.0.2.7", lambda: names[0], NOW + number)
    names[0] = "mail.example.org"
    (row,) = tally.first(10)
    assert row == Shadowed(
        RULE, "VRFY", "252 2.5.2 no", "192.0.2.7", NOW, NOW + 2, 3, "mail.example.org", "VRFY george"
    )
    tally.drop(1)
    assert not len(tally)


def test_a_flood_of_addresses_and_of_verbs_fills_no_memory() -> None:
    """Beyond HELD they are counted together; none is lost."""
    tally = ShadowTally()
    for number in range(HELD + 500):
        tally.noted(vrfy(b"X%d a" % number), f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", lambda: None, NOW)
    rows = tally.first(1 << 20)
    assert len(rows) == HELD + 1
    assert sum(row.number for row in rows) == HELD + 500
    assert {row.verb for row in rows} == {"UNKNOWN"}
    assert (rows[-1].source, rows[-1].number) == (MANY, 500)


def test_a_noted_command_costs_a_few_microseconds() -> None:
    """Measured where many are noted; a machine that others use as well makes it no more than a few times as long."""
    tally, note, times = ShadowTally(), vrfy(), 20_000
    began = time.process_time()
    for _ in range(times):
        tally.noted(note, "192.0.2.7", lambda: None, NOW)
    assert (time.process_time() - began) / times < 20e-6


def test_a_row_crosses_to_the_office_as_it_is() -> None:
    """And what is no row is refused."""
    report = Report(1, shadow=(one(number=7),))
    assert Report.from_json(report.to_json()) == report
    for wrong in (
        [],
        [1] * 9,
        [*one().as_row(), 1],
        [*one().as_row()[:4], "x", 1.0, 1, "", ""],
        [*one().as_row()[:-1], 5],
    ):
        with pytest.raises((ValueError, TypeError)):
            Shadowed.from_row(wrong)


# -- in the one place that has all -------------------------------------------------------------------


def test_rows_of_an_hour_are_added_up_and_those_of_another_are_not() -> None:
    """So that a report of the last hours is one."""
    book = ShadowBook()
    for when, number in ((NOW, 1), (NOW + 1, 2), (NOW + HOUR, 4)):
        book.add(one(when=when, number=number))
    assert [(row.first, row.last, row.number) for row in book] == [(NOW, NOW + 1, 3), (NOW + HOUR, NOW + HOUR, 4)]


def test_where_there_is_no_more_room_it_becomes_less_exact_and_not_less() -> None:
    """The oldest hours first, then what comes last of this one."""
    book = ShadowBook(20)
    for hour in range(3):
        for number in range(15):
            book.add(one(f"10.0.{hour}.{number}", NOW + hour * HOUR))
    assert len(book) <= 22
    assert sum(row.number for row in book) == 45
    newest = {row.source for row in book if row.key[0] == one(when=NOW + 2 * HOUR).key[0]}
    assert {f"10.0.2.{number}" for number in range(10)} <= newest
    for number in range(500):
        book.add(one(f"10.0.9.{number}", NOW + 2 * HOUR))
    assert len(book) <= 23
    assert sum(row.number for row in book) == 545


def test_addresses_of_one_prefix_are_one_source() -> None:
    """As for incidents: one customer has a whole /64."""
    stage = Stage()
    stage.ledger.told(Report(1, shadow=(one("2001:db8:1:2::5"), one("2001:db8:1:2::6"))))
    (row,) = stage.ledger.shadow()
    assert (row.source, row.number) == ("2001:db8:1:2::/64", 2)


# -- in the file ---------------------------------------------------------------------------------------


def store(path: Path, max_bytes: int = 64 * MB) -> Store:
    """Return an open store."""
    made = Store(str(path), max_bytes, 1000)
    made.load()
    return made


def kept(path: Path) -> list[tuple[str, int, float, float]]:
    """Return source, number and times of each row."""
    with rows_of(str(path)) as file:
        return list(file.execute("SELECT source, number, first, last FROM shadow ORDER BY hour, source"))


def changes(*rows: Shadowed) -> Changes:
    """Return what is to be added."""
    return Changes(shadow={row.key: row for row in rows})


def test_what_is_written_is_added_to_what_was(tmp_path: Path) -> None:
    """So nothing need be read at a start."""
    file = store(tmp_path / "db")
    file.write(changes(one(number=2)))
    file.close()
    file = store(tmp_path / "db")
    file.write(changes(evolve(one(when=NOW + 5, number=3), name="a.example"), one("192.0.2.8")))
    assert kept(tmp_path / "db") == [("192.0.2.7", 5, NOW, NOW + 5), ("192.0.2.8", 1, NOW, NOW)]


def test_a_file_of_the_version_before_goes_on_with_all_that_it_has(tmp_path: Path) -> None:
    """Its bans and incidents stay, and it gets the table."""
    path = tmp_path / "db"
    store(path).close()
    with closing(sqlite3.connect(path)) as old:
        old.executescript(
            "DROP TABLE shadow; INSERT INTO bans VALUES ('192.0.2.7', 4e9, 1.0, 'scanners', 21); PRAGMA user_version=1;"
        )
    status = main(["report", "--state", str(path)])
    file = Store(str(path), 64 * MB, 1000)
    assert [ban.key for ban in file.load().bans] == ["192.0.2.7"]
    file.write(changes(one()))
    assert (status, len(kept(path))) == (0, 1)
    with closing(sqlite3.connect(path)) as now:
        assert now.execute("PRAGMA user_version").fetchone() == (2,)


@pytest.mark.parametrize(("rows", "max_bytes"), [(60, 64 * MB), (100_000, MB)], ids=["rows", "octets"])
def test_the_file_is_bounded_and_the_sums_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, max_bytes: int
) -> None:
    """The sources of the oldest hours are counted together first."""
    monkeypatch.setattr(module, "SHADOW_ROWS", rows)
    file = store(tmp_path / "db", max_bytes)
    told = 0
    for hour in range(4):
        for part in range(20):
            names = [f"10.{hour}.{part}.{number}" for number in range(100 if rows > 60 else 2)]
            batch = [evolve(one(name, NOW + hour * HOUR), shown="x" * 200) for name in names]
            file.write(changes(*batch))
            told += len(batch)
    assert sum(number for _, number, _, _ in kept(tmp_path / "db")) == told
    assert len(kept(tmp_path / "db")) <= max(rows, 1) + 2
    assert (tmp_path / "db").stat().st_size <= max_bytes
    assert MANY in {source for source, _, _, _ in kept(tmp_path / "db")}


# -- the report ----------------------------------------------------------------------------------------


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> object:
    """Call a command; returns its status and what it wrote."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = main([str(one) for one in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_the_report_tells_rule_reply_clients_times_and_a_line(tmp_path: Path, typed) -> None:  # type: ignore[no-untyped-def]
    """What came most often first, and what it all comes to last."""
    now = time.time()
    file = store(tmp_path / "db")
    hostile = evolve(one("192.0.2.9", now - 60, 2, "p.yaml:3 check_mail, rule 1", "MAIL"), shown="MAIL \x1b[2J\u202e")
    limit = evolve(one("192.0.2.7", now - 30, rule="limit scanners", verb=""), would="ban", shown="")
    file.write(
        changes(
            one("192.0.2.7", now - 3 * 86400, 40),
            evolve(one("192.0.2.7", now - 60, 2), name="mail.example.org"),
            one("192.0.2.8", now - 60),
            evolve(one(MANY, now - 60), number=7),
            hostile,
            limit,
        )
    )
    status, out, err = typed("report", "--state", tmp_path / "db")
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    assert "\u202e" not in out
    blocks = out.split("\n\n")
    assert [block.splitlines()[0] for block in blocks[:3]] == [RULE, "p.yaml:3 check_mail, rule 1", "limit scanners"]
    assert "  VRFY: would have answered 252 2.5.2 no\n  50 commands of 2 clients and further ones\n" in blocks[0]
    assert "  most by 192.0.2.7 (mail.example.org): 42, 192.0.2.8: 1, many addresses: 7\n" in blocks[0]
    assert blocks[0].endswith("  as in: VRFY george")
    assert "would have come to: ban, for 1 client\n" in blocks[2]
    last = blocks[3].splitlines()
    assert last[0] == (
        "52 commands of 3 clients and further ones would have been refused; limits would have been crossed by 1 client."
    )
    assert last[1].startswith("Switch over by removing `shadow`")
    _, recent, _ = typed("report", "--state", tmp_path / "db", "--since", "24h", "--json")
    assert [row["number"] for row in json.loads(recent)["rows"]] == [10, 2, 1]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("rulesets: {}", "Nothing is in shadow, and nothing was"),
        ("rulesets: {check_vrfy: [{action: reply, shadow: true}]}", "Nothing would have been refused"),
        ("rulesets: [", "nothing in shadow would have acted, or nothing was in shadow"),
    ],
)
def test_an_empty_report_says_why_and_what_to_do(tmp_path: Path, typed, policy: str, words: str) -> None:  # type: ignore[no-untyped-def]
    """Whether nothing was in shadow, or nothing would have been refused."""
    store(tmp_path / "db").close()
    (tmp_path / "policy.yaml").write_text(policy)
    settings = tmp_path / "smtpguard.yaml"
    settings.write_text("listen: [tcp:0]\nbackend: tcp:127.0.0.1:25\npolicy: policy.yaml\nstate: db\n")
    status, out, _ = typed("report", "--config", settings, "--since", "90m")
    assert status == 0
    assert words in out


def test_a_file_that_is_only_being_made_has_nothing_yet(tmp_path: Path, typed) -> None:  # type: ignore[no-untyped-def]
    """A service that starts makes it in steps, and somebody may ask between two of them."""
    path = tmp_path / "smtpguard.db"
    path.touch()
    assert typed("report", "--state", str(path))[0] == 0
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute(f"PRAGMA application_id={APPLICATION}")
        assert typed("report", "--state", str(path))[0] == 0
        file.execute("PRAGMA application_id=1")
        assert typed("report", "--state", str(path))[0] == 69


def test_a_report_without_a_file_and_without_a_service_says_so(tmp_path: Path, typed) -> None:  # type: ignore[no-untyped-def]
    """And a time that is none is refused."""
    status, out, err = typed("report", "--admin", f"unix:{tmp_path}/nobody.sock")
    assert (status, out) == (69, "")
    assert "does the service run?" in err
    assert typed("report", "--since", "soon")[0] == 64
