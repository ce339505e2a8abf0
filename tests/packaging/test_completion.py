"""What TAB offers behind `smtpguard`, in real shells."""

from __future__ import annotations

import os
import pty
import select
import shlex
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from smtpguard.cli.completion import FILES, commands
from smtpguard.cli.main import Commands
from smtpguard.config.policy_file import SHIPPED

SHARE: Final = Path(__file__).parents[2] / "smtpguard/share/completion"
SECONDS: Final = 30


@pytest.mark.parametrize("name", FILES)
def test_the_committed_file_is_what_make_docs_writes(name: str) -> None:
    """Run `make docs` if this fails."""
    assert (SHARE / name).read_text("utf-8") == FILES[name](commands())


def test_every_command_and_every_option_is_known() -> None:
    """Whatever a command takes, hidden things aside."""
    assert {one.name for one in commands()} == set(Commands.modules)
    for one in commands():
        assert {"-h", "--help"} <= {name for option in one.options for name in option.names}


def run(*command: str, folder: Path) -> str:
    """Run a shell that reads nobody's settings."""
    surroundings = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    done = subprocess.run(
        command, cwd=folder, env=surroundings, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def offered_by_bash(folder: Path, *words: str) -> list[str]:
    """Return what bash would offer for the last of the words, in order."""
    script = (
        f"source {shlex.quote(str(SHARE / 'smtpguard'))}; COMP_WORDS=(smtpguard {shlex.join(words)}); "
        f"COMP_CWORD={len(words)}; _smtpguard; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    return sorted(filter(None, run("bash", "--norc", "-c", script, folder=folder).split("\n")))


def offered_by_fish(folder: Path, line: str) -> list[str]:
    """Return what fish would offer for the end of the line, in order."""
    script = f"source {SHARE}/smtpguard.fish; complete -C {shlex.quote(line)}"
    said = run("fish", "--no-config", "-c", script, folder=folder)
    return sorted(one.partition("\t")[0] for one in said.split("\n") if one)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file and a folder."""
    (tmp_path / "my policy.yaml").touch()
    (tmp_path / "mail").mkdir()
    return tmp_path


def test_bash_completes_commands_options_and_values(folder: Path) -> None:
    """Also behind `=`, which bash takes for a word of its own; a file with a blank in its name is one."""
    assert offered_by_bash(folder, "") == sorted(Commands.modules)
    assert offered_by_bash(folder, "e") == ["explain", "export-sendmail"]
    assert offered_by_bash(folder, "--v") == ["--version"]
    assert offered_by_bash(folder, "run", "--re") == ["--reactor", "--relay-check"]
    assert offered_by_bash(folder, "run", "--relay-check", "") == ["enforce", "off", "warn"]
    assert offered_by_bash(folder, "run", "--relay-check", "=", "w") == ["warn"]
    assert offered_by_bash(folder, "check", "--policy", "=") == sorted([*SHIPPED, "mail", "my policy.yaml"])
    assert offered_by_bash(folder, "check", "--config", "my") == ["my policy.yaml"]
    assert offered_by_bash(folder, "setup", "--mail-dir", "m") == ["mail"]
    assert offered_by_bash(folder, "schema", "") == ["policy", "settings"]
    assert offered_by_bash(folder, "explain", "--from", "") == []


def test_fish_completes_commands_options_and_values(folder: Path) -> None:
    """With what each is for beside it."""
    assert offered_by_fish(folder, "smtpguard ") == sorted(Commands.modules)
    assert offered_by_fish(folder, "smtpguard run --re") == ["--reactor", "--relay-check"]
    assert offered_by_fish(folder, "smtpguard run --relay-check ") == ["enforce", "off", "warn"]
    assert offered_by_fish(folder, "smtpguard schema ") == ["policy", "settings"]
    assert {*SHIPPED, "mail/"} <= set(offered_by_fish(folder, "smtpguard check --policy "))
    assert offered_by_fish(folder, "smtpguard explain --from ") == []


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("expl\t --fr\t", "explain --from"),
        ("run --relay-ch\twar\t", "run --relay-check=warn"),
        ("schema pol\t", "schema policy"),
        ("check --pol\tperi\t", "check --policy=perimeter"),
        ("check --config my\t", "check --config my policy.yaml"),
        ("--vers\t", "--version"),
    ],
)
def test_zsh_completes_what_is_begun(folder: Path, typed: str, becomes: str) -> None:
    """On a terminal, as it does nothing without one; `smtpguard` is a function there that says what it got."""
    begin = (
        f"PS1=; autoload -U compinit; compinit -u -D; source {shlex.quote(str(SHARE / '_smtpguard'))}; "
        "bindkey '^I' complete-word; smtpguard() { print -r -- \"<<${(j: :)@}\"'>>' }; print -r -- '<<'ready'>>'"
    )
    master, slave = pty.openpty()
    surroundings = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"],
        cwd=folder,
        env=surroundings,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        os.write(master, f"{begin}\n".encode())
        said(master, "<<ready>>")
        os.write(master, f"smtpguard {typed}\n".encode())
        assert becomes in said(master, f"<<{becomes}")
    finally:
        shell.kill()
        shell.wait()
        os.close(master)


def said(master: int, wanted: str) -> str:
    """Read from a terminal until this was said."""
    heard, until = "", time.monotonic() + SECONDS
    while wanted not in heard:
        assert select.select([master], [], [], max(0, until - time.monotonic()))[0], f"no {wanted} in {heard!r}"
        heard += os.read(master, 65536).decode("utf-8", "replace")
    return heard


def test_no_python_starts_at_a_tab(folder: Path) -> None:
    """With an empty PATH bash finds no program at all, and completes as ever."""
    script = (
        f"PATH=; source {SHARE}/smtpguard; COMP_WORDS=(smtpguard r); COMP_CWORD=1; _smtpguard; echo ${{COMPREPLY[@]}}"
    )
    assert run("bash", "--norc", "-c", script, folder=folder).split() == ["run", "replay", "report"]
