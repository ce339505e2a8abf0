"""What is taken for a command on a page, and what is not."""

from __future__ import annotations

import re
import textwrap

import pytest

from .reading import blocks, is_command, like, shown_behind, typed


def commands(page: str) -> list[str]:
    return [one.text for one in typed("page.md", textwrap.dedent(page))]


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (
            "```sh\nsmtpguard status    # ready or not\n\n# a remark\nanything else\n```\n",
            ["smtpguard status", "anything else"],
        ),
        (
            "```console\n$ smtpguard check\nwhat it says\n# systemctl reload smtpguard\n```\n",
            ["smtpguard check", "systemctl reload smtpguard"],
        ),
        ("```text\nsmtpguard status\n```\n", []),
        ("```sh\nmake \\\n  docs\n```\n", ["make \\\n  docs"]),
        (
            "```sh\ncat >x <<'END'\n# no remark\nEND\nsmtpguard check\n```\n",
            ["cat >x <<'END'\n# no remark\nEND", "smtpguard check"],
        ),
        ("Text\n\n    smtpguard bans lift 192.0.2.7\n    said by it\n", ["smtpguard bans lift 192.0.2.7"]),
        ("- an item\n\n    smtpguard is meant here, in its second paragraph\n", []),
        ("Ask `smtpguard\nstatus --json`, not `smtpguard`; or ``m4 `x` ``.\n", ["smtpguard status --json", "m4 `x`"]),
        ("1. do\n   ```sh\n   smtpguard check\n   ```\n", ["smtpguard check"]),
        ("`/opt/smtpguard/bin/smtpguard check`, `timeouts.banner: 5`\n", ["/opt/smtpguard/bin/smtpguard check"]),
        ("```yaml\n# smtpguard check\n```\n`smtpguard status`\n", ["smtpguard status"]),
    ],
)
def test_commands_are_found_where_a_reader_finds_them(page: str, found: list[str]) -> None:
    """In blocks and in sentences; what a program says, and what is only spoken of, are none."""
    assert commands(page) == found


def test_a_command_has_the_line_that_it_stands_on() -> None:
    """So that a fault is told where it is mended."""
    page = "# Title\n\n```sh\nsmtpguard check\nsmtpguard status\n```\n\nand `smtpguard bans --all`\n"
    assert [(one.line, one.text) for one in typed("page.md", page)] == [
        (4, "smtpguard check"),
        (5, "smtpguard status"),
        (8, "smtpguard bans --all"),
    ]


def test_a_block_has_its_language_and_its_text() -> None:
    """Indented ones, too; fences within a list lose its indentation."""
    page = "- item\n  ```yaml\n  a: 1\n  ```\n\nText\n\n    indented\n"
    assert [(one.language, one.text) for one in blocks(page)] == [("yaml", "a: 1"), ("indented", "indented")]


def test_a_program_alone_is_the_name_of_a_program() -> None:
    """It is a command with an argument only."""
    assert is_command("smtpguard status")
    assert not is_command("smtpguard")
    assert not is_command("other status")


@pytest.mark.parametrize(
    ("shown", "said", "is_like"),
    [
        ("a  b\nc", "a b\nc\n", True),
        ("a b\nc", "x\na b\nc\ny\n", True),
        ("a b\nc", "a b\nd\n", False),
        ("rule ...:8 x", "rule /etc/y:8 x\n", True),
        ("rule ...:8 x", "rule /etc/y:9 x\n", False),
        ("a\n...\nz", "a\nb\nc\nz\n", True),
        ("a\n...\nz", "a\nb\nc\n", False),
    ],
)
def test_what_a_page_shows_is_compared_with_what_is_said(shown: str, said: str, is_like: bool) -> None:
    """However many blanks there are; three dots stand for what differs."""
    assert bool(re.search(like(shown), said)) is is_like


def test_what_is_shown_belongs_to_the_last_command_before_it() -> None:
    """If no sentence stands between."""
    page = (
        "```sh\none\ntwo\n```\n\n```text\nsaid\n```\n\n```sh\nthree\n```\n\nIt says, at length:\n\n```text\nno\n```\n"
    )
    assert shown_behind(page) == {3: "said"}
