"""What the program tells of itself, and what it says to those who do not know it yet."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from smtpguard.cli import guide
from smtpguard.cli.main import Commands, main, smtpguard
from smtpguard.config.policy_models import ONLY_IN_SETTINGS, PolicyModel
from smtpguard.config.settings import Settings

ROOT = Path(__file__).parents[2]
COMMANDS = list(Commands.modules)

Typed = Callable[..., tuple[int, str]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Call a command in an empty folder; returns its status and all that it wrote."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        status = main(arguments)
        said = capsys.readouterr()
        return status, said.out + said.err

    return call


# -- help ----------------------------------------------------------------------------------------


def test_every_command_is_in_the_help_once_with_a_line_of_its_own(typed: Typed) -> None:
    """A command that is added without one is not found by anybody."""
    status, said = typed("--help")
    assert status == 0
    assert sorted(name for name, _ in guide.lines()) == sorted(COMMANDS)
    for name, line in guide.lines():
        assert re.search(rf"(?m)^  {re.escape(name)} +{re.escape(line)}$", said), name


def test_the_help_imports_no_command() -> None:
    """In a process of its own: who asks for help does not wait for Twisted."""
    code = (
        "import sys\nfrom smtpguard.cli.main import main\nassert main(['--help']) == 0\n"
        "print(*sorted({'twisted', 'rich', 'cryptography'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""


def test_without_a_word_it_says_what_to_do_first(typed: Typed) -> None:
    """The help, and commands that can be typed as they stand; the status is that of wrong usage."""
    status, said = typed()
    assert status == os.EX_USAGE
    for step, _ in guide.FIRST_STEPS:
        assert step in said, step


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_examples_with_options_that_it_has(typed: Typed, name: str) -> None:
    """What they do is shown by tests/documented."""
    status, said = typed(name, "--help")
    assert status == 0
    assert guide.EXAMPLES[name]
    command = smtpguard.get_command(click.Context(smtpguard), name)
    assert command is not None
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for example in guide.EXAMPLES[name]:
        assert f"  {example}\n" in said
        program, called, *words = shlex.split(example)
        assert (program, called) == ("smtpguard", name)
        assert {word for word in words if word.startswith("--")} <= known | {"--help"}, example


def test_every_option_says_what_it_is_for() -> None:
    """In the help, and so in the manual."""
    for name in COMMANDS:
        command = smtpguard.get_command(click.Context(smtpguard), name)
        assert command is not None
        silent = [one.name for one in command.params if isinstance(one, click.Option) and not one.help]
        assert not silent, name


# -- slips ---------------------------------------------------------------------------------------

POLICY = "networks: {internal: [10.0.0.0/8]}\nrulesets: {check_vrfy: [{from: internal, action: forward}]}\n"
SETTINGS = "listen: tcp:25\nbackend: tcp:127.0.0.1:2525\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["chek"], 64, "No such command 'chek' (did you mean check?)"),
        (["stauts"], 64, "(did you mean status?)"),
        (["serve"], 64, "No such command 'serve' (known: audit, bans, check, "),
        (["start\n\x1b[2J"], 64, r"No such command 'start\n\x1b[2J'"),
        (["--verion"], 64, "--version"),
        (["check", "--confg", "x"], 64, "--config"),
        (["check", "/etc/smtpguard/smtpguard.yaml"], 64, "named with --config /etc/smtpguard/smtpguard.yaml, a policy"),
        (["run", "smtpguard.yaml"], 64, "Hint: settings are named with --config smtpguard.yaml"),
        (["status", "smtpguard.yaml"], 64, "Hint: settings are named with --config smtpguard.yaml\n"),
        (["explain", "VRFY root"], 64, "Hint: whose line is it? --from 203.0.113.9"),
        (["explain", "--from", "203.0.113.9", "VRFY", "root"], 64, 'explain --from 203.0.113.9 "VRFY root"'),
        (["audit"], 64, "Hint: name the mail server: smtpguard audit mx.example.org"),
        (["bans", "lift"], 64, "name the address: smtpguard bans lift 192.0.2.7"),
        (["check", "--config", "gone.yaml"], 66, "gone.yaml: No such file or directory"),
        (["check", "--config", "."], 66, ".: Is a directory"),
        (["check", "--policy", "internal-vfry"], 66, "did you mean internal-vrfy?"),
        (["check", "--policy", "settings.yaml"], 78, "'listen' is a key of the settings: name a file of settings with"),
        (["check", "--config", "policy.yaml"], 78, "'rulesets' is a key of the policy, which is a file of its own"),
        (["check", "--policy", "tab.yaml"], 78, "tab.yaml:2:1: a TAB cannot indent YAML: use spaces"),
        (["check", "--config", "empty.yaml"], 78, "backend: is missing: the mail server, as in `backend: tcp:127."),
        (["run", "--listen", "25", "--backend", "tcp:127.0.0.1:2525"], 64, "write tcp:25:interface=0.0.0.0"),
        (["status"], 69, "name the settings with --config FILE, or the endpoint with --admin"),
        (["status", "--admin", "/none.sock"], 69, "there is no such socket: does the service run?"),
    ],
)
def test_a_slip_is_answered_with_what_to_write_instead(
    typed: Typed, tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    """The likeliest ones of somebody who is new to it, each with the status of the manual."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    (tmp_path / "tab.yaml").write_text("networks:\n\tinternal: [10.0.0.0/8]\n")
    (tmp_path / "empty.yaml").write_text("")
    found, text = typed(*arguments)
    assert found == status, text
    assert said in text


def test_the_keys_by_which_a_file_is_known_are_keys_of_the_other_kind_alone() -> None:
    """Else a key of a file's own would be refused as one of the other's."""
    settings, policy = (
        {field.alias or name for name, field in model.model_fields.items()} for model in (Settings, PolicyModel)
    )
    assert settings - policy >= ONLY_IN_SETTINGS
    assert policy - settings >= Settings.elsewhere[1]
