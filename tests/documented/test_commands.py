"""Every command of README.md and docs/ does what a reader is told that it does: it ends well."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import click
import pytest

from smtpguard.cli import guide
from smtpguard.cli.main import smtpguard
from tests.rig.wait import wait_until

from . import fates
from .machine import ADDRESS, Machine
from .pages import PAGES, ROOT, text
from .reading import OTHER, SHELL, Typed, blocks, is_command, like, shown_behind, typed

TYPED = [one for page in PAGES for one in typed(page, text(page))]
OWN_MACHINE = frozenset({"docs/start.md", "docs/deploy-sendmail.md", "docs/deploy-others.md"})
"""Pages that begin with a machine without a guard."""
MACHINES = 2
"""Of such pages that are followed at a time: they wait for sendmail, which waits for clients."""
WRITTEN = {"README.md": ("rulesets:", "first.yaml")}
"""Pages with YAML that their reader puts into a file: words of the block, and the file's name."""
OWN_MAKE = r"make (?!-)"
"""Targets of the tree's own Makefile."""
IN_BLOCKS = [page for page in PAGES if any(not one.inline for one in TYPED if one.page == page)]
_BLOCKS = {one.text for one in TYPED if not one.inline}
INLINE = sorted({one.text for one in TYPED if not re.match(OWN_MAKE, one.text)} - _BLOCKS)
SHOWN = sorted(
    {*(one for examples in guide.EXAMPLES.values() for one in examples), *(one for one, _ in guide.FIRST_STEPS)}
)
MADE = sorted({target for one in TYPED for target in re.findall(r"\bmake ((?:[a-z][a-z-]* ?)+)", one.text)})

_ATTACK = f"""
import smtplib
server = smtplib.SMTP("{ADDRESS}", 25, source_address=("192.0.2.7", 0))
for line in ("EHLO there.example", "DEBUG", "VRFY root", "VRFY decode", "EXPN all", "WIZ", "VRFY guest"):
    server.docmd(line)
"""


_SESSION = f"""
import smtplib
server = smtplib.SMTP("{ADDRESS}", 25, source_address=("{ADDRESS}", 0))
for line in ("EHLO there.example", "VRFY root", "MAIL FROM:<a@there.example>", "RCPT TO:<b@elsewhere.example>", "QUIT"):
    server.docmd(line)
"""


def run(machine: Machine, command: Typed | str, where: str) -> str:
    """Run a command as its fate says, and hold that it ends well; return what it said."""
    line = command if isinstance(command, str) else command.text
    if line in fates.NAMED or re.match(OWN_MAKE, line) or fates.fitting(fates.ELSEWHERE, line) is not None:
        return ""
    typed_line = fates.typed_as(line)
    if re.fullmatch(fates.DEAR, typed_line):
        if (typed_line, id(machine)) in _been_run:
            return ""
        _been_run.add((typed_line, id(machine)))
    if isinstance(says := fates.fitting(fates.ENDLESS, line), str):
        with stopped(machine) if re.fullmatch(fates.IN_PLACE_OF_THE_SERVICE, line) else nullcontext():
            meanwhile = partial(session, machine) if re.fullmatch(fates.MEANWHILE, line) else None
            said = machine.until(typed_line, says, where, meanwhile)
            assert says in said, f"{command}: it did not say {says}: {said}"
        return said
    if "bans lift" in line:
        banned(machine)
    if number := re.search(r"incidents ([0-9]{6,})", typed_line):
        typed_line = typed_line.replace(number[1], incident(machine))
    done = machine.run(typed_line, where=where)
    right = fates.fitting(fates.STATUS, line) or frozenset({0})
    assert isinstance(right, frozenset)
    assert done.status in right, f"{command}: exit status {done.status}\n{done.said}"
    return done.said


_been_run: set[tuple[str, int]] = set()


@contextmanager
def stopped(machine: Machine) -> Iterator[None]:
    """Hold that the service is stopped in this block."""
    machine.must("systemctl stop smtpguard")
    yield
    machine.must("systemctl start smtpguard")


def session(machine: Machine) -> None:
    """Be a client of the guard's for a moment."""
    machine.write("/tmp/session.py", _SESSION)
    machine.must("python3 /tmp/session.py")


def banned(machine: Machine) -> None:
    """See to it that somebody is banned, as in the examples: 192.0.2.7, who looks for users and old holes."""
    machine.write("/tmp/attack.py", _ATTACK)

    def is_banned() -> bool:
        return "192.0.2.7" in machine.run("smtpguard bans --json").said

    if not is_banned():
        machine.run("python3 /tmp/attack.py")
        wait_until(is_banned, "a ban", 20, lambda: machine.run("smtpguard bans --all; journalctl -u smtpguard").said)


def incident(machine: Machine) -> str:
    """Return the number of an incident that there is."""
    banned(machine)
    found = re.search(r"\b([0-9]{6,})\b", machine.must("smtpguard incidents"))
    assert found is not None
    return found[1]


# -- the tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page in IN_BLOCKS if page not in OWN_MACHINE])
def test_a_page_can_be_followed(served: Machine, page: str) -> None:
    """Its blocks of commands, one after the other, on a machine with a guard."""
    follow(served, page)


@pytest.fixture(scope="module", autouse=True)
def beside(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """What becomes of the pages that need a machine of their own: they are followed from now on, beside the others."""
    chosen = {
        str(item.callspec.params["page"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.originalname == test_a_page_can_be_followed_from_the_beginning.__name__
    }
    with ThreadPoolExecutor(MACHINES) as pool:
        yield {page: pool.submit(follow_alone, page) for page in sorted(chosen)}


def follow_alone(page: str) -> None:
    """Do what a page says on a machine that nobody has touched."""
    with Machine() as machine:
        follow(machine, page)


def follow(machine: Machine, page: str) -> None:
    """Do what a page says, in a folder of its own that looks like a checkout."""
    where = f"/root/{Path(page).stem}"
    machine.must(f"rm -rf {where} && mkdir {where} && ln -s /srv/smtpguard/* {where}/")
    words, name = WRITTEN.get(page, ("", ""))
    if name:
        machine.write(f"{where}/{name}", next(b.text for b in blocks(text(page)) if words in b.text))
    shown = shown_behind(text(page))
    for command in (one for one in TYPED if one.page == page and not one.inline):
        shown_only, other = fates.ON_ANOTHER_PAGE.get(page, ("", ""))
        if re.fullmatch(shown_only, command.text):
            assert other in OWN_MACHINE
            assert any(one.page == other and one.text.startswith(command.text) for one in TYPED), (
                f"{command}: not in {other}"
            )
            continue
        moved = re.fullmatch(r"cd (\S+)", command.text)
        where = f"{where}/{moved[1]}" if moved else where
        said = run(machine, command, where)
        if command.line in shown:
            pattern = like(shown[command.line])
            assert re.search(pattern, said), f"{command}: the page shows\n{shown[command.line]}\nIt said\n{said}"


@pytest.mark.parametrize("command", INLINE)
def test_a_command_within_a_sentence_works(served: Machine, command: str) -> None:
    """On a machine with a guard; once, however many pages have it."""
    run(served, command, "/srv/smtpguard")


@pytest.mark.parametrize("command", [one for one in SHOWN if one not in {typed.text for typed in TYPED}])
def test_an_example_of_the_help_works(served: Machine, command: str) -> None:
    """On a machine with a guard; those that are in the docs, too, are run there."""
    run(served, command, "/srv/smtpguard")


@pytest.mark.parametrize("page", [page for page in IN_BLOCKS if page in OWN_MACHINE])
def test_a_page_can_be_followed_from_the_beginning(beside: dict[str, Future[None]], page: str) -> None:
    """The same, on a machine with sendmail at port 25 and no guard."""
    beside[page].result()


def test_what_is_run_elsewhere_is_run_there() -> None:
    """Each test that is named exists; and each entry of the tables is about a command that there still is."""
    texts = {one.text for one in TYPED} | set(SHOWN)
    for pattern, elsewhere in fates.ELSEWHERE.items():
        path, _, name = elsewhere.test.partition("::")
        assert f"\ndef {name}(" in (ROOT / path).read_text("utf-8"), elsewhere.test
        assert any(re.fullmatch(pattern, one) for one in texts), pattern
    for pattern in (*fates.ENDLESS, *fates.STATUS):
        assert any(re.fullmatch(pattern, one) for one in texts), pattern
    for named in fates.NAMED:
        program, name, *_ = named.split()
        assert program != "smtpguard" or smtpguard.get_command(click.Context(smtpguard), name) is not None


@pytest.mark.parametrize("targets", MADE)
def test_a_target_that_the_docs_name_is_one_of_the_makefile(targets: str) -> None:
    """They are not run here, since they run what this is a part of; make says what it would do."""
    done = subprocess.run(["make", "--dry-run", *targets.split()], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_block_says_what_it_is() -> None:
    """In docs/: a block without a language would be taken for no command, and never be run."""
    for page in PAGES:
        if page.startswith("docs/"):
            for block in blocks(text(page)):
                assert block.language in SHELL | OTHER, f"{page}:{block.line}: {block.language or 'no language'}"


def test_no_command_of_a_list_stands_without_fences() -> None:
    """What is indented in an item is its text, so that nobody would take it for a command."""
    for page in PAGES:
        lines = text(page).split("\n")
        fenced = {block.line - 1 + n for block in blocks(text(page)) for n in range(block.text.count("\n") + 1)}
        for number, line in enumerate(lines[1:], 1):
            behind_a_gap = not lines[number - 1].strip() and line.startswith("    ")
            assert number in fenced or not (behind_a_gap and is_command(line.strip())), f"{page}:{number + 1}"
