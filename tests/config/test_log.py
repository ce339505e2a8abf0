"""The section `log`: where lines go, and what of it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from smtpguard.config import policy_file, settings
from smtpguard.config.faults import Faulty

LEAST = "listen: tcp:25\nbackend: tcp:127.0.0.1:2525\n"


def load(folder: Path, log: str) -> settings.Loaded:
    (folder / "settings.yaml").write_text(f"{LEAST}log: {log}\n")
    return settings.load(folder / "settings.yaml", {})


def faults(folder: Path, log: str) -> list[str]:
    """Return what is wrong, as LINE:COLUMN: TEXT."""
    try:
        loaded = load(folder, log)
    except Faulty as error:
        found = error.faults
    else:
        found = loaded.faults_with(policy_file.load(policy_file.find("no-vrfy")).policy)
    return [f"{fault.line}:{fault.column}: {fault.text}" for fault in found]


@pytest.mark.parametrize(
    ("text", "to"),
    [
        ("{}", ["stderr"]),
        ("{to: syslog}", ["syslog"]),
        ("{to: both}", ["stderr", "syslog"]),
        ("{to: [syslog]}", ["syslog"]),
        ("{to: [stderr, syslog, syslog]}", ["stderr", "syslog"]),
        ("{to: file, file: guard.log}", ["file"]),
        ("{to: [syslog, file], file: guard.log}", ["syslog", "file"]),
    ],
)
def test_lines_go_to_one_place_or_to_several(tmp_path: Path, text: str, to: list[str]) -> None:
    """A word, a list of words, or what older files say."""
    assert load(tmp_path, text).settings.log.to == to
    assert faults(tmp_path, text) == []


def test_the_file_is_looked_for_beside_the_settings(tmp_path: Path) -> None:
    """As every path that a settings file names."""
    assert load(tmp_path, "{to: file, file: guard.log}").settings.log.file == str(tmp_path / "guard.log")
    assert load(tmp_path, "{to: file, file: /var/log/guard.log}").settings.log.file == "/var/log/guard.log"


@pytest.mark.parametrize("key", ["syslog_ident", "ident"])
def test_the_program_name_has_two_names(tmp_path: Path, key: str) -> None:
    """`ident` is the older one."""
    assert load(tmp_path, f"{{{key}: sendmail}}").settings.log.program == "sendmail"
    assert load(tmp_path, "{}").settings.log.program == "smtpguard"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{to: sylog}", "3:11: to: 'sylog' is none of stderr, syslog, file (did you mean syslog?)"),
        ("{to: [stderr, both]}", "3:20: to: 'both' is none of stderr, syslog, file"),
        ("{to: []}", "3:11: to: must not be empty"),
        ("{to: file}", "3:6: log: `to: file` needs a `file`"),
        ("{file: x}", "3:6: log: there is a `file`, but `to` does not name it: `to: file`, or `to: [stderr, file]`"),
        (
            "{ident: a, syslog_ident: b}",
            "3:6: log: `ident` is the older name of `syslog_ident`: set one of them",
        ),
        (
            "{syslog_ident: 'a b'}",
            "3:21: syslog_ident: must match pattern '^[A-Za-z0-9_.-]{1,32}$', not 'a b'",
        ),
        ("{to: file, file: /nowhere/guard.log}", "3:23: file: there is no directory /nowhere"),
        ("{to: file, file: /usr}", "3:23: file: /usr is a directory"),
    ],
)
def test_what_cannot_be_is_told_at_its_place(tmp_path: Path, text: str, told: str) -> None:
    """Before anything is written to the wrong place."""
    (found,) = faults(tmp_path, text)
    assert found.startswith(told)
