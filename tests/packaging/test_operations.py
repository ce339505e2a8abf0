"""What docs/operations.md tells an administrator to type and to look for is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from smtpguard.cli.main import smtpguard
from smtpguard.config.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text("utf-8")
QUOTED = re.findall(r"`([^`]+)`", PAGE)
DIFFERS = r"\.\.\.|\b(?:N|HOST|SIGKILL|lines|now)\b|[0-9.]+|\(\w+\)|[:;,)]"
"""What stands between the parts of a text that are the same each time."""
SOURCE = "\n".join(path.read_text("utf-8") for path in (ROOT / "smtpguard").rglob("*.py"))


def test_every_command_is_one_of_the_program_with_options_that_it_has() -> None:
    """In the text and in the example."""
    lines = [one for one in QUOTED if one.startswith("smtpguard ")] + re.findall(r"(?m)^(smtpguard [^#\n]+)", PAGE)
    assert len(lines) > 8
    for line in lines:
        _, name, *words = shlex.split(line)
        command = smtpguard.get_command(click.Context(smtpguard), name)
        assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_every_key_is_one_of_the_settings() -> None:
    """By the names of its sections."""
    keys = {match for one in QUOTED for match in re.findall(r"\b(limits|timeouts|dns|log|backend)\.([a-z_]+)\b", one)}
    assert len(keys) > 8
    for section, key in keys:
        fields = Settings.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
        assert key in fields, f"{section}.{key}"


def test_every_word_that_the_log_is_said_to_have_is_in_the_program() -> None:
    """What stands between the parts that differ, in the columns of replies and of the log."""
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and line.count(" | ") == 3]
    said = [one for _, clients, logged, _ in rows for one in re.findall(r"`([^`]+)`", clients + logged)]
    pieces = [piece.strip() for one in said for piece in re.split(DIFFERS, one)]
    sought = [piece for piece in pieces if len(piece) > 10 and " " in piece]
    assert len(sought) > 25
    elsewhere = {"Couldn't bind", "Too many open files", "Watchdog timeout"}  # the system's and Twisted's words
    # Words that stand between two parts of a text in the source are joined there.
    source = re.sub(r'"\s+f?"', "", SOURCE)
    missing = [piece for piece in sought if piece not in elsewhere and piece not in source]
    assert not missing
