"""The manual pages: what is made of the code is up to date, and mandoc and groff find nothing to say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest

from smtpguard.cli import guide, manual
from smtpguard.cli.main import Commands, smtpguard
from smtpguard.cli.mdoc import prose, word
from smtpguard.config import policy_reference, reference

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "smtpguard/share/man").glob("man[58]/*"))


def test_there_is_a_page_for_the_program_the_settings_and_the_policy() -> None:
    """Where man(1) looks for them."""
    names = [f"{page.parent.name}/{page.name}" for page in PAGES]
    assert names == ["man5/smtpguard-policy.5", "man5/smtpguard.yaml.5", "man8/smtpguard.8"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_committed_page_is_what_make_docs_writes(page: Path) -> None:
    """Run `make docs` if this fails."""
    assert page.read_text("ascii") == manual.placed(page.read_text("ascii"))


def test_mandoc_finds_nothing_to_say() -> None:
    """Not even a warning."""
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *map(str, PAGES)], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_groff_finds_nothing_to_say_and_shows_the_page(page: Path) -> None:
    """As man(1) of Debian shows it."""
    shown = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", str(page)], capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "SEE ALSO" in shown.stdout


def _shown(page: Path) -> str:
    """Return a page as text without hyphenation, blanks made one."""
    done = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=200", str(page)], capture_output=True, text=True, check=True
    )
    return " ".join(re.sub(r".\x08", "", done.stdout).split())


def test_the_page_of_the_program_has_every_command_and_every_option() -> None:
    """With what the program says of them."""
    shown = _shown(PAGES[2])
    for name, _ in guide.lines():
        if name not in Commands.modules:
            continue
        command = smtpguard.get_command(click.Context(smtpguard), name)
        assert command is not None
        assert f" {name} " in shown, name
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert option in shown, f"{name} {option}"


def test_the_pages_of_the_files_have_every_key() -> None:
    """Of each section, as in docs/."""
    for page, sections in ((PAGES[1], reference.SECTIONS), (PAGES[0], policy_reference.SECTIONS)):
        source = page.read_text("ascii")
        for title, (_, model) in sections.items():
            section = source.partition(f".Ss {title}\n")[2].partition(".Ss ")[0]
            for name, field in model.model_fields.items():
                assert f".It Ic {word(field.alias or name)}\n" in section, f"{title}: {name}"


def test_examples_of_the_pages_are_taken() -> None:
    """Those of the files; the commands are among those of the help."""
    from smtpguard.config import yaml_reader
    from smtpguard.config.models import validate
    from smtpguard.config.policy_file import build
    from smtpguard.config.settings import Settings

    for page, kind in ((PAGES[1], "settings"), (PAGES[0], "policy")):
        examples = re.findall(r"(?ms)^\.Bd -literal -offset indent\n(.*?)^\.Ed$", page.read_text("ascii"))
        assert len(examples) == 2
        for text in examples:
            document = yaml_reader.read(text, page.name)
            if kind == "settings":
                assert validate(Settings, document)[1] == []
            else:
                assert list(build(document).failures()) == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("as `a b`, or (`x`).", ["as", '.Ql "\\&a b" ,', "or", ".Pf \\&( Ql \\&x ) ."]),
        ("`No`s end. **Never** that.", [".Ql \\&No Ns No \\&s", "end.", ".Em \\&Never", "that."]),
        ("see [limits.md](limits.md)", ["see docs/limits.md"]),
        (".dots and 'quotes", ["\\&.dots and 'quotes"]),
        ('`\\:` `"` `--x`', [".Ql \\&\\e:", ".Ql \\&\\(dq", ".Ql \\&\\-\\-x"]),
        ("", []),
    ],
)
def test_markdown_of_descriptions_becomes_mdoc(text: str, lines: list[str]) -> None:
    """Whatever stands in it: a word is never taken for a macro, nor a dot for a request."""
    assert prose(text) == lines
