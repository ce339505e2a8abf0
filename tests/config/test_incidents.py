"""The section `incidents`: what a hook may be, and at which place what is wrong is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from smtpguard.config.faults import Faulty
from smtpguard.config.incidents import LONGEST_TEXT, MOST_WORDS
from smtpguard.config.settings import Settings, load

LEAST = "listen: tcp:25\nbackend: tcp:127.0.0.1:2525\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings file is."""
    return tmp_path / "smtpguard.yaml"


def settings(file: Path, text: str) -> Settings:
    """Read settings without faults."""
    file.write_text(LEAST + text)
    return load(file, {}).settings


def faults_of(file: Path, text: str) -> list[str]:
    """Return all faults, without the file's name."""
    file.write_text(LEAST + text)
    with pytest.raises(Faulty) as caught:
        load(file, {})
    return [str(fault).removeprefix(f"{file}:") for fault in caught.value.faults]


def test_nothing_needs_to_be_said(file: Path) -> None:
    """Incidents are there, and nobody is told of them."""
    found = settings(file, "").incidents
    assert (found.quiet, found.kept, found.hook) == (900.0, 10_000, None)


def test_a_hook_is_a_command_or_a_webhook(file: Path) -> None:
    """A command without arguments may be a single text."""
    hook = settings(file, "incidents: {hook: {command: /usr/local/bin/tell, timeout: 5}}\n").incidents.hook
    assert hook is not None
    assert (hook.command, hook.webhook, hook.timeout) == (["/usr/local/bin/tell"], None, 5.0)
    hook = settings(file, "incidents: {hook: {command: [/bin/x, a b, $(id)]}}\n").incidents.hook
    assert hook is not None
    assert hook.command == ["/bin/x", "a b", "$(id)"]
    for url in ("https://hooks.example/a?b=c", "http://127.0.0.1:8080/", "http://[::1]/x", "http://localhost"):
        hook = settings(file, f"incidents: {{hook: {{webhook: '{url}'}}}}\n").incidents.hook
        assert hook is not None
        assert hook.webhook == url


def test_all_faults_come_at_once(file: Path) -> None:
    """Each at its place, with what to write instead."""
    assert faults_of(file, "incidents: {quiet: 0.5, kept: 5, hok: x}\n") == [
        "3:20: quiet: must be greater than or equal to 1, not 0.5",
        "3:31: kept: must be greater than or equal to 100, not 5",
        "3:34: unknown key 'hok' (did you mean hook?)",
    ]


@pytest.mark.parametrize(
    ("hook", "fault"),
    [
        ("{}", "3:19: hook: name either a `command` or a `webhook`"),
        ("{command: [/bin/x], webhook: 'https://h/'}", "3:19: hook: name either a `command` or a `webhook`"),
        ("{command: []}", "3:29: command: must not be empty"),
        ("{command: [tell, x]}", "3:29: command: 'tell' is no full path: write it as [/usr/local/bin/tell, argument]"),
        ('{command: [/bin/x, "a\\nb"]}', "3:29: command: 'a\\nb' is too long, or has characters that do not print"),
        ("{command: /bin/x, timeout: 301}", "3:46: timeout: must be less than or equal to 300, not 301"),
        ("{webhook: hooks.example}", "3:29: webhook: 'hooks.example' is no URL of HTTP: write it as https://HOST/PATH"),
        ("{webhook: 'ftp://h/'}", "3:29: webhook: 'ftp://h/' is no URL of HTTP: write it as https://HOST/PATH"),
        ("{webhook: 'https://h:x/'}", "3:29: webhook: this is no URL: write it as https://HOST/PATH"),
        ("{webhook: 'https://u:p@h/'}", "3:29: webhook: no password and no #fragment can stand in it"),
        ("{webhook: 'https://h/ x'}", "3:29: webhook: a URL is printable ASCII without blanks"),
        ("{webhook: 'http://h/'}", "3:29: webhook: 'http://h/' would tell the network what it says"),
        ("/bin/x", "3:19: hook: must be a mapping of `key: value`, not '/bin/x'"),
    ],
)
def test_a_hook_that_cannot_be_run_is_a_fault(file: Path, hook: str, fault: str) -> None:
    """Before the service starts, and not when it is needed."""
    (found,) = faults_of(file, f"incidents: {{hook: {hook}}}\n")
    assert found.startswith(fault)


def test_a_command_has_bounds(file: Path) -> None:
    """What is longer belongs into a script."""
    many = ", ".join(["/bin/x"] * (MOST_WORDS + 1))
    assert len(faults_of(file, f"incidents: {{hook: {{command: [{many}]}}}}\n")) == 1
    long = "x" * (LONGEST_TEXT + 1)
    assert len(faults_of(file, f"incidents: {{hook: {{command: [/bin/x, {long}]}}}}\n")) == 1
