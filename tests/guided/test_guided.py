"""The parsers under coverage-guided fuzzing: all that is known again, and a short look for more.

The replay needs no atheris.  The short runs do, which has wheels for Linux on x86_64; elsewhere there
are no such tests.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from smtpguard.config.faults import Fault, Faulty
from smtpguard.identity.origin import Origin
from smtpguard.identity.proxy_protocol import HeaderFault, HeaderReader
from smtpguard.policy.networks import Peer
from smtpguard.smtp.content import Content
from smtpguard.smtp.dialogue import Dialogue
from smtpguard.smtp.effects import Close, ToBackend, ToClient
from smtpguard.smtp.ehlo import visible
from smtpguard.smtp.replies import ReplyReader
from smtpguard.smtp.verdict import Action, Verdict

from . import broken
from .parts import lines
from .running import Outcome, run
from .targets import FOUND, HERE, NAMES, Target, load

SECONDS = 3
LEAST = {
    # target: (executions, coverage); a tenth and two thirds of what a free machine does
    "line": (300, 110),
    "reply": (500, 70),
    "content": (300, 110),
    "bdat": (150, 240),
    "dialogue": (100, 700),
    "policy": (400, 430),
    "settings": (250, 250),
    "header": (200, 200),
    "recipient": (1000, 60),
}


@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_known_passes(name: str) -> None:
    """Seeds made of transcripts, vectors and policies, the corpus in git, and every file that was found."""
    target = load(name)
    inputs = list(target.inputs())
    assert len(inputs) > 5
    for _, data in inputs:
        assert len(data) <= target.max_len
        target.one(data)
    for short in (b"", b"\0", b"\xfe", b"\xff\xff"):
        target.one(short)


def test_every_file_found_belongs_to_a_target() -> None:
    """A renamed target must not lose what was found with it."""
    for path in [*FOUND.glob("*"), *(HERE / "corpus").glob("*/*")]:
        name = path.name.partition("-")[0] if path.parent == FOUND else path.parent.name
        assert name in NAMES, path


if sys.platform == "linux" and platform.machine() == "x86_64":

    @pytest.fixture(scope="module")
    def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Outcome]]]:
        """A short run of each target, two at a time: they are processes of their own."""
        folder = tmp_path_factory.mktemp("runs")
        with ThreadPoolExecutor(max_workers=2) as pool:
            yield {
                name: pool.submit(run, load(name), SECONDS, 1, folder / name / "grown", folder / name / "found")
                for name in NAMES
            }

    @pytest.mark.parametrize("name", NAMES)
    def test_a_short_run_finds_nothing(name: str, runs: dict[str, Future[Outcome]]) -> None:
        """What a run finds is printed as octets, and would be a file of tests/guided/found."""
        outcome = runs[name].result()
        assert not outcome.failed, report(outcome)
        executions, coverage = LEAST[name]
        assert outcome.executions >= executions, outcome
        assert outcome.coverage >= coverage, outcome

    def test_a_run_reports_what_it_finds(tmp_path: Path) -> None:
        """The same machinery on a parser that is wrong: the file it leaves makes that parser fail again."""
        content = load("content")
        outcome = run(content, 20, 1, tmp_path / "grown", tmp_path, module="tests.guided.broken")
        assert outcome.failed
        (path,) = outcome.findings
        assert path.name.startswith("content-crash-")
        with pytest.raises(AssertionError):
            broken.one(path.read_bytes())
        content.one(path.read_bytes())

    def test_the_command_says_what_it_did(tmp_path: Path) -> None:
        """One line a target."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.guided", "content", "--seconds", "1"],
            cwd=HERE.parents[1],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        assert done.stdout.startswith("content ")
        assert done.stdout.endswith("findings: none\n")


def report(outcome: Outcome) -> str:
    found = "\n".join(f"{path.name}: {path.read_bytes()!r}" for path in outcome.findings)
    return f"{outcome}\n{found}\n{outcome.output[-3000:]}"


# -- a target that cannot fail is a defect -----------------------------------------------------------


class Endless(ReplyReader):
    """Has no bounds."""

    def __init__(self, line_octets: int, reply_octets: int) -> None:
        super().__init__(1 << 30, 1 << 30)


class Deaf(Content):
    """Sees no NUL."""

    def feed(self, octets: bytes) -> Any:
        forward, rest = super().feed(octets.replace(b"\0", b"\x01"))
        return forward.replace(b"\x01", b"\0"), rest


class Hasty(Content):
    """Gives out what could become an end of data."""

    def feed(self, octets: bytes) -> Any:
        forward, rest = super().feed(octets)
        return (octets if not self.ended else forward), rest


class Boundless(Content):
    """Has no longest line."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{**how, "line": None})


class Unstuffed(Content):
    """Thinks no further than of the line end."""

    def __init__(self, **how: Any) -> None:
        super().__init__(seven_bit=how["seven_bit"])

    def feed(self, octets: bytes) -> Any:
        return super().feed(re.sub(rb"(?<!\r)\n", b"\r\n", octets))


class Passing(Dialogue):
    """Forwards what it gets."""

    def from_client(self, octets: bytes) -> Any:
        return [*super().from_client(octets), ToBackend(octets)]


class Chatty(Dialogue):
    """Sends half a reply."""

    def from_backend(self, octets: bytes) -> Any:
        return [ToClient(b"250-and\r\n"), *super().from_backend(octets)]


class Raising(Dialogue):
    """Has not thought of everything."""

    def from_client(self, octets: bytes) -> Any:
        if octets == b"\0":
            raise KeyError(octets)
        return super().from_client(octets)


class Orderly(Dialogue):
    """Closes in the midst of a message as if it were complete."""

    def client_lost(self) -> Any:
        return [replace(e, abort_backend=False) if isinstance(e, Close) else e for e in super().client_lost()]


class Patient(Dialogue):
    """Waits for a client that has gone."""

    def client_finished(self) -> Any:
        return []


class Trusting(HeaderReader):
    """Takes whatever address it finds for the client's."""

    def feed(self, octets: bytes) -> Any:
        header = super().feed(octets)
        return header and evolve(header, origin=Origin(Peer.parse("127.0.0.1"), 25, None, 0))


class Waiting(HeaderReader):
    """Never gives up."""

    def feed(self, octets: bytes) -> Any:
        try:
            return super().feed(octets)
        except HeaderFault:
            return None


def raising(error: Exception) -> Callable[..., Any]:
    def function(*_: object, **__: object) -> Any:
        raise error

    return function


REAL = {name: import_module(f"tests.guided.{name}") for name in NAMES}
parse = REAL["line"].parse
build = REAL["policy"].build
chunk_size = REAL["bdat"].chunk_size
parse_server = REAL["settings"].parse_server


def forgiving(document: Any) -> Any:
    document.faults.clear()
    return build(document)


BROKEN: dict[str, tuple[str, str, Any]] = {
    "a TAB is a blank": ("line", "tests.guided.line.parse", lambda line: parse(line.replace(b"\t", b" "))),
    "LF ends a line": ("line", "tests.guided.line.parse", lambda line: parse(line[:-1].rstrip(b"\r") + b"\r\n")),
    "anything is base64": ("line", "tests.guided.line.parse_sasl", lambda line: None),
    "lines have no bound": ("line", "tests.guided.parts.lines", lambda bound: lines(1 << 20)),
    "replies have no bounds": ("reply", "tests.guided.reply.ReplyReader", Endless),
    "EHLO is not filtered": ("reply", "smtpguard.smtp.ehlo.visible", lambda reply, may_forward: reply),
    "EHLO loses its end": (
        "reply",
        "smtpguard.smtp.ehlo.visible",
        lambda reply, may_forward: visible(reply, may_forward).replace(b"250 ", b"250-"),
    ),
    "NUL passes": ("content", "tests.guided.content.Content", Deaf),
    "nothing is held back": ("content", "tests.guided.content.Content", Hasty),
    "CRLF.LF is an end": ("content", "tests.guided.content.Content", broken.Lenient),
    "lines of messages have no bound": ("content", "tests.guided.content.Content", Boundless),
    "a dot behind a bare LF": ("content", "tests.guided.content.Content", Unstuffed),
    "a sign before a size": ("bdat", "tests.guided.bdat.chunk_size", lambda a: int(a) if (a or b"")[:1] == b"+" else 5),
    "one octet too many": ("bdat", "smtpguard.smtp.transfer.chunk_size", lambda a: (chunk_size(a) or 0) + 1),
    "forwards all": ("dialogue", "tests.guided.parts.Dialogue", Passing),
    "half a reply": ("dialogue", "tests.guided.parts.Dialogue", Chatty),
    "raises": ("dialogue", "tests.guided.parts.Dialogue", Raising),
    "no abort": ("dialogue", "tests.guided.parts.Dialogue", Orderly),
    "waits": ("dialogue", "tests.guided.parts.Dialogue", Patient),
    "no invariants": ("dialogue", "smtpguard.smtp.dialogue.overrule", lambda command, verdict, *_: verdict),
    "a chunk too long": ("dialogue", "smtpguard.smtp.transfer.chunk_size", lambda a: (chunk_size(a) or 0) + 1),
    "a chunk too early": ("dialogue", "smtpguard.smtp.ehlo.keywords", lambda reply: {b"CHUNKING"}),
    "verbs that the server does not know": ("dialogue", "smtpguard.smtp.terms.Terms.known", lambda terms, verb: True),
    "long lines of messages": ("dialogue", "smtpguard.smtp.transfer.Content", Boundless),
    "a message with two ends": ("dialogue", "smtpguard.smtp.transfer.Content", Unstuffed),
    "a long wait": ("dialogue", "smtpguard.smtp.budgets.Account.charge", lambda account, verb: 241.0),
    "early input": ("dialogue", "smtpguard.smtp.dialogue.must_be_last", lambda command: False),
    "faults are forgotten": ("policy", "tests.guided.policy.build", forgiving),
    "a fault without a place": (
        "policy",
        "tests.guided.policy.build",
        raising(Faulty([Fault("guided.yaml", 0, 1, "x")])),
    ),
    "a fault of two lines": (
        "policy",
        "smtpguard.config.faults.Fault.__str__",
        lambda fault: f"{fault.file}:{fault.line}:{fault.column}: {fault.text}",
    ),
    "another exception": ("policy", "tests.guided.policy.build", raising(KeyError("x"))),
    "nothing is refused": (
        "policy",
        "smtpguard.policy.rules.ClientJudge.judge",
        lambda judge, command, facts: Verdict(Action.FORWARD),
    ),
    "anybody is 127.0.0.1": ("header", "tests.guided.header.HeaderReader", Trusting),
    "waits for a header that cannot come": ("header", "tests.guided.header.HeaderReader", Waiting),
    "the last at sign decides": (
        "recipient",
        "smtpguard.policy.relaying.RelayDomains.accepts",
        lambda domains, argument: argument.rpartition(b"@")[2].startswith(b"example.org>"),
    ),
    "a route is a path": ("recipient", "smtpguard.policy.relaying._is_plain", lambda local_part: True),
    "a file that cannot be read": ("settings", "tests.guided.settings.load", raising(OSError(36, "too long"))),
    "an endpoint of two lines": (
        "settings",
        "smtpguard.config.endpoints._PRINTABLE",
        re.compile(r"(?s).*"),
    ),
    "not Twisted's endpoint": (
        "settings",
        "tests.guided.settings.parse_server",
        lambda text: evolve(parse_server(text), positional=("26",)),
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_parser_is_reported(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inputs that are known suffice to see it."""
    name, attribute, instead = BROKEN[what]
    monkeypatch.setattr(attribute, instead)
    target = load(name)
    assert any(fails(target, data) for _, data in target.inputs())


def fails(target: Target, data: bytes) -> bool:
    try:
        target.one(data)
    except (AssertionError, KeyError, OSError):
        return True
    return False
