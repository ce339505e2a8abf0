"""What is written, in which order, and what waits for what."""

from __future__ import annotations

import io
import json
import socket
import syslog
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from attrs import define, field

from smtpguard.config.log import Log
from smtpguard.journal import lines
from smtpguard.journal.journal import HELD_LINES, Journal
from smtpguard.journal.lines import Level, Line, Style
from smtpguard.journal.opening import make_journal
from smtpguard.journal.sinks import FileSink, StderrSink, SyslogSink, one_line
from smtpguard.policy.networks import Peer
from smtpguard.smtp.effects import BackendFault, Judged, Normalized, OverBudget, Refused
from smtpguard.smtp.grammar import Command
from smtpguard.smtp.replies import Reply
from smtpguard.smtp.verdict import Action, Verdict

PEER = Peer.parse("203.0.113.9")
REJECTED = Verdict(Action.REPLY, Reply.parse("252 2.5.2 no"), rule="f:1")


def event(line: str, verb: bytes = b"VRFY") -> Judged:
    return Judged(Command(line.encode() + b"\r\n", verb, None), REJECTED)


@define
class Paper:
    """A sink that keeps what is written."""

    lines: list[str] = field(factory=list)
    priorities: list[int] = field(factory=list)

    def write(self, priority: int, text: str) -> None:
        self.lines.append(text)
        self.priorities.append(priority)


@define
class Names:
    """A look-up that answers when the test says so."""

    asked: list[tuple[Peer, Callable[[str | None], None]]] = field(factory=list)

    def find(self, peer: Peer, found: Callable[[str | None], None]) -> None:
        self.asked.append((peer, found))


@pytest.fixture
def paper() -> Paper:
    """Where the journal writes."""
    return Paper()


@pytest.fixture
def names() -> Names:
    """Who is asked for names."""
    return Names()


@pytest.fixture
def journal(paper: Paper, names: Names) -> Journal:
    """A journal at the level where everything is written."""
    return Journal([paper], 99, find_name=names.find)


def test_what_is_told_of_a_client_has_its_fields_behind_the_event(paper: Paper) -> None:
    """In JSON; as text it is the text alone."""
    fields = {"client": "203.0.113.9", "limit": "a", "until": None}
    journal = Journal([paper], as_json=True)
    journal.service("limit a: 203.0.113.9: 5 probes", syslog.LOG_NOTICE, "limit", fields)
    wanted = {"event": "limit", "priority": syslog.LOG_NOTICE, **fields, "message": "limit a: 203.0.113.9: 5 probes"}
    found = json.loads(paper.lines[0])
    del found["time"]
    assert list(found.items()) == list(wanted.items())
    Journal([paper]).service("limit a: 203.0.113.9: 5 probes", syslog.LOG_NOTICE, "limit", fields)
    assert paper.lines[1] == "limit a: 203.0.113.9: 5 probes"


def test_what_one_process_of_several_tells_is_passed_on_whole_but_not_its_own_faults(paper: Paper) -> None:
    """Those it has to write itself, whatever has happened to it."""
    journal = Journal([paper])
    passed: list[tuple[object, ...]] = []

    def elsewhere(*what: object) -> bool:
        passed.append(what)
        return True

    journal.service_elsewhere = elsewhere
    journal.service("incident 1 opened: 203.0.113.9", syslog.LOG_WARNING, "incident", {"id": 1})
    journal.service("listening")
    journal.service("a fault", syslog.LOG_ERR, "internal")
    assert passed == [
        ("incident 1 opened: 203.0.113.9", syslog.LOG_WARNING, "incident", {"id": 1}),
        ("listening", syslog.LOG_INFO, "service", None),
    ]
    assert paper.lines == ["a fault"]


def test_without_a_look_up_a_line_is_written_at_once(paper: Paper) -> None:
    """With the session's id in front, and the address in brackets."""
    Journal([paper]).session("6AM5bOfK015118", PEER).noted(event("VRFY x"))
    assert paper.lines == ["6AM5bOfK015118: [203.0.113.9]: VRFY x [rejected]"]
    assert paper.priorities == [syslog.LOG_INFO]


def test_the_classic_style_has_no_ids(paper: Paper) -> None:
    """sendmail 5 had none."""
    Journal([paper], style=Style.CLASSIC).session("6AM5bOfK015118", PEER).noted(event("vrfy x"))
    assert paper.lines == ["[203.0.113.9]: vrfy x"]


def test_lines_of_a_session_keep_their_order_while_its_name_is_looked_up(
    journal: Journal, paper: Paper, names: Names
) -> None:
    """One question a session, at the first line that is written."""
    session = journal.session("ID", PEER)
    assert names.asked == []
    for line in ("VRFY a", "VRFY b"):
        session.noted(event(line))
    session.ended({b"VRFY": [0, 2]}, 0.5)
    assert [peer for peer, _ in names.asked] == [PEER]
    assert paper.lines == []
    names.asked[0][1]("there.domain")
    session.noted(event("VRFY c"))
    assert paper.lines == [
        "ID: there.domain [203.0.113.9]: VRFY a [rejected]",
        "ID: there.domain [203.0.113.9]: VRFY b [rejected]",
        "ID: disconnect from there.domain [203.0.113.9] vrfy=0/2 commands=0/2",
        "ID: there.domain [203.0.113.9]: VRFY c [rejected]",
    ]
    assert len(names.asked) == 1


def test_a_session_that_waits_for_its_name_makes_no_other_wait(journal: Journal, paper: Paper, names: Names) -> None:
    """Neither another session nor the service's own lines."""
    slow, fast = journal.session("SLOW", PEER), journal.session("FAST", Peer.parse("192.0.2.1"))
    slow.noted(event("VRFY a"))
    fast.noted(event("VRFY b"))
    names.asked[1][1](None)
    journal.service("listening on 127.0.0.1:25")
    assert paper.lines == ["FAST: [192.0.2.1]: VRFY b [rejected]", "listening on 127.0.0.1:25"]
    names.asked[0][1]("slow.example")
    assert paper.lines[2:] == ["SLOW: slow.example [203.0.113.9]: VRFY a [rejected]"]


def test_a_second_answer_about_a_name_changes_nothing(journal: Journal, paper: Paper, names: Names) -> None:
    """A time-out and a late answer may both come."""
    session = journal.session("ID", PEER)
    session.noted(event("VRFY a"))
    names.asked[0][1](None)
    names.asked[0][1]("late.example")
    session.noted(event("VRFY b"))
    assert paper.lines == ["ID: [203.0.113.9]: VRFY a [rejected]", "ID: [203.0.113.9]: VRFY b [rejected]"]


def test_the_lines_that_wait_for_a_name_are_bounded(journal: Journal, paper: Paper, names: Names) -> None:
    """With one more than the bound all go out without the name, in their order, and no more are held."""
    session = journal.session("ID", PEER)
    for number in range(HELD_LINES):
        session.noted(event(f"VRFY {number}"))
    assert paper.lines == []
    session.noted(event(f"VRFY {HELD_LINES}"))
    session.noted(event("VRFY last"))
    expected = [*map(str, range(HELD_LINES + 1)), "last"]
    assert paper.lines == [f"ID: [203.0.113.9]: VRFY {which} [rejected]" for which in expected]
    names.asked[0][1]("late.example")
    assert len(paper.lines) == HELD_LINES + 2


def test_a_flush_writes_what_waits_without_the_name(journal: Journal, paper: Paper, names: Names) -> None:
    """At the end of the service nothing is lost, and nothing comes twice."""
    for name in ("A", "B"):
        journal.session(name, PEER).noted(event("VRFY x"))
    journal.flush()
    assert sorted(paper.lines) == [f"{name}: [203.0.113.9]: VRFY x [rejected]" for name in ("A", "B")]
    journal.flush()
    for _, found in names.asked:
        found("late.example")
    assert len(paper.lines) == 2


def every_event() -> Iterator[tuple[int, Callable[[Journal], None]]]:
    """Yield the level of each kind of line, and what makes a session write one."""
    probe, closing = event("WIZ", b"WIZ"), Refused("what", b"x", True)
    yield Level.ATTACK, lambda journal: journal.session("ID", PEER).noted(probe)
    yield Level.BACKEND, lambda journal: journal.session("ID", PEER).noted(BackendFault("what", b""))
    yield Level.VIOLATION, lambda journal: journal.session("ID", PEER).noted(closing)
    yield Level.VIOLATION, lambda journal: journal.session("ID", PEER).turned_away("why")
    yield Level.COMMAND, lambda journal: journal.session("ID", PEER).noted(Refused("what", b"x", False))
    yield Level.COMMAND, lambda journal: journal.session("ID", PEER).noted(event("VRFY x"))
    yield Level.COMMAND, lambda journal: journal.session("ID", PEER).noted(Normalized("where"))
    yield Level.COMMAND, lambda journal: journal.session("ID", PEER).noted(OverBudget(b"VRFY", 6))
    yield Level.SUMMARY, lambda journal: journal.session("ID", PEER).ended({}, 0.0)
    yield Level.CONNECTION, lambda journal: journal.session("ID", PEER).connected("tcp:25")


@pytest.mark.parametrize(("level", "happens"), list(every_event()))
def test_a_line_is_written_from_its_level_on(level: int, happens: Callable[[Journal], None], paper: Paper) -> None:
    """As sendmail's LogLevel: at 0 there is nothing, at 99 everything."""
    for set_level in (0, level - 1):
        happens(Journal([paper], set_level))
    assert paper.lines == []
    for set_level in (level, 99):
        happens(Journal([paper], set_level))
    assert len(paper.lines) == 2


@pytest.mark.interpreted
@pytest.mark.parametrize(("level", "happens"), list(every_event()))
def test_the_level_that_gates_a_line_is_the_one_the_line_has(
    level: int, happens: Callable[[Journal], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in two places, since a line that is not written is not made."""
    written: list[Line] = []
    journal = Journal([], 99)
    monkeypatch.setattr(journal, "write", lambda line, *_: written.append(line))
    happens(journal)
    assert [line.level for line in written] == [level]


@pytest.mark.interpreted
@pytest.mark.parametrize(("level", "happens"), list(every_event()))
def test_nothing_is_formatted_and_nobody_is_asked_for_a_line_that_is_not_written(
    level: int, happens: Callable[[Journal], None], monkeypatch: pytest.MonkeyPatch, names: Names
) -> None:
    """A flood of refused commands costs a comparison each at a low level."""

    def formatted(*_: object) -> Line:
        raise AssertionError("formatted")

    for name in (
        "judged",
        "refused",
        "normalized",
        "over_budget",
        "backend_fault",
        "connected",
        "turned_away",
        "summary",
    ):
        monkeypatch.setattr(lines, name, formatted)
    happens(Journal([], level - 1, find_name=names.find))
    assert names.asked == []


def test_the_service_speaks_at_every_level(paper: Paper) -> None:
    """That it serves, or why it does not, is always written."""
    Journal([paper], 0).service("cannot listen", syslog.LOG_CRIT)
    assert (paper.lines, paper.priorities) == (["cannot listen"], [syslog.LOG_CRIT])


def test_the_json_form_is_one_object_a_line_with_the_text_and_its_parts(paper: Paper, names: Names) -> None:
    """ASCII throughout; the fields that every line has have the same names everywhere."""
    journal = Journal([paper], as_json=True, find_name=names.find)
    journal.session("ID", PEER).noted(event("VRFY \u00fc\x1b"))
    names.asked[0][1]("there.domain")
    journal.service("listening on 127.0.0.1:25")
    refused, service = map(json.loads, paper.lines)
    assert datetime.fromisoformat(refused.pop("time")).tzinfo is not None
    assert refused == {
        "event": "refused",
        "priority": syslog.LOG_INFO,
        "session": "ID",
        "client": "203.0.113.9",
        "host": "there.domain",
        "verb": "VRFY",
        "line": "VRFY \\303\\274\\033",
        "verdict": "reply",
        "reply": "252 2.5.2 no",
        "rule": "f:1",
        "message": "there.domain [203.0.113.9]: VRFY \\303\\274\\033 [rejected]",
    }
    assert set(service) == {"time", "event", "priority", "message"}
    assert all(line.isascii() and "\n" not in line for line in paper.lines)


def test_every_sink_gets_every_line(paper: Paper) -> None:
    """`to: both`."""
    second = Paper()
    Journal([paper, second]).service("text")
    assert paper.lines == second.lines == ["text"]


# -- sinks ---------------------------------------------------------------------------------------


def test_stderr_gets_one_line_an_event() -> None:
    """Under systemd each with its priority in front."""
    stream = io.StringIO()
    StderrSink(stream, with_priority=False).write(syslog.LOG_INFO, "text")
    StderrSink(stream, with_priority=True).write(syslog.LOG_CRIT, "text")
    assert stream.getvalue() == "text\n<2>text\n"


def test_the_priority_is_written_where_the_journal_reads_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd says so in the environment."""
    for variable, written in ((None, "text\n"), ("8:12345", "<6>text\n")):
        if variable is None:
            monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        else:
            monkeypatch.setenv("JOURNAL_STREAM", variable)
        stream = io.StringIO()
        StderrSink(stream).write(syslog.LOG_INFO, "text")
        assert stream.getvalue() == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\n<0>b", "a\\012<0>b"),
        ("a\r\nb\tc\0d", "a\\015\\012b\\011c\\000d"),
        ("\x1b[2J\x7f", "\\033[2J\\177"),
        ("policy-\udcff.yaml", "policy-\\udcff.yaml"),
        ("a\x85b\u2028c\u202ed\x9b", "a\\x85b\\u2028c\\u202ed\\x9b"),
        ("Gr\u00fc\u00dfe", "Gr\u00fc\u00dfe"),
    ],
)
def test_no_text_becomes_two_lines_or_is_lost(text: str, written: str, tmp_path: Path) -> None:
    """The last gate: control characters, and what UTF-8 has no form for, as file names may."""
    stream = io.StringIO()
    StderrSink(stream, with_priority=False).write(syslog.LOG_INFO, text)
    assert stream.getvalue() == f"{written}\n"
    assert one_line(text) == written
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        sink = SyslogSink("smtpguard", str(tmp_path / "log"))
        sink.write(syslog.LOG_INFO, text)
        sink.close()
        assert daemon.recv(4096).decode().partition("]: ")[2] == written
    FileSink(str(tmp_path / "file"), "smtpguard", "host").write(syslog.LOG_INFO, text)
    assert (tmp_path / "file").read_text().partition("]: ")[2] == f"{written}\n"


def test_a_stderr_that_nobody_reads_any_more_is_no_fault() -> None:
    """The guard goes on."""

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    StderrSink(Broken(), with_priority=False).write(syslog.LOG_INFO, "text")
    closed = io.StringIO()
    closed.close()
    StderrSink(closed, with_priority=False).write(syslog.LOG_INFO, "text")


@pytest.mark.parametrize(
    ("to", "kinds"),
    [
        ("stderr", [StderrSink]),
        ("syslog", [SyslogSink]),
        ("both", [StderrSink, SyslogSink]),
        ("file", [FileSink]),
        (["file", "stderr", "file"], [StderrSink, FileSink]),
        (["stderr", "syslog", "file"], [StderrSink, SyslogSink, FileSink]),
    ],
)
def test_the_settings_choose_the_sinks(to: str | list[str], kinds: list[type], tmp_path: Path) -> None:
    """And level, style and form."""
    settings = {"to": to, "level": 3, "style": "classic", "format": "json"}
    if "file" in to:
        settings["file"] = str(tmp_path / "log")
    journal = make_journal(Log.model_validate(settings))
    assert list(map(type, journal._sinks)) == kinds
    assert (journal.level, journal.style, journal._as_json) == (3, Style.CLASSIC, True)
