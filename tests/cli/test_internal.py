"""What the log says of the program's own faults."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from smtpguard.cli.internal import FURTHER, NO_MEMORY, REMEMBERED, SAME_SECONDS, Internal
from smtpguard.journal.journal import Journal


class Kept:
    """A sink that keeps lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, _priority: int, text: str) -> None:
        self.lines.append(text)


def internal() -> tuple[Internal, Clock, list[str]]:
    """Return one, its clock, and the lines that it writes."""
    clock, kept = Clock(), Kept()
    return Internal(Journal([kept]), clock.callLater), clock, kept.lines


def fault(text: str, error: BaseException | None = None) -> dict[str, object]:
    """Return an event of Twisted's log."""
    more = {} if error is None else {"log_failure": Failure(error)}
    return {"log_level": LogLevel.critical, "log_format": "{text}", "text": text, **more}


def test_a_fault_is_one_line_with_its_traceback() -> None:
    """And what is no warning is none."""
    observer, _, lines = internal()
    observer(fault("it failed", ValueError("why")))
    observer({"log_level": LogLevel.info, "log_format": "hello"})
    (line,) = lines
    assert line.startswith("it failed: Traceback")
    assert line.rstrip(" |").endswith("ValueError: why")
    assert "\n" not in line


def test_the_same_fault_is_told_once_a_minute_and_then_how_often() -> None:
    """Another one is told at once."""
    observer, clock, lines = internal()
    for _ in range(100):
        observer(fault("it failed"))
    observer(fault("something else"))
    assert lines == ["it failed", "something else"]
    clock.advance(SAME_SECONDS)
    assert lines[2:] == [f"99 more in {SAME_SECONDS:g} s: it failed"]
    observer(fault("it failed"))
    assert lines[3:] == ["it failed"]


def test_faults_that_all_differ_are_bounded_too() -> None:
    """Beyond a number they are counted as one."""
    observer, clock, lines = internal()
    for number in range(REMEMBERED + 10):
        observer(fault(f"fault {number}"))
    assert len(lines) == REMEMBERED + 1
    assert lines[-1] == FURTHER
    clock.advance(SAME_SECONDS)
    assert lines[REMEMBERED + 1 :] == [f"9 more in {SAME_SECONDS:g} s: {FURTHER}"]


def test_where_there_is_no_memory_that_is_said_in_one_line() -> None:
    """Wherever it was missing."""
    observer, clock, lines = internal()
    for number in range(50):
        observer(fault(f"place {number}", MemoryError()))
    assert lines == [NO_MEMORY]
    clock.advance(SAME_SECONDS)
    assert lines[1:] == [f"49 more in {SAME_SECONDS:g} s: {NO_MEMORY}"]
