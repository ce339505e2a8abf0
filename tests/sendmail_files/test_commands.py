"""The two commands as they are typed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smtpguard.cli.main import main
from smtpguard.config import policy_file, settings
from smtpguard.config.policy_file import SHIPPED

CF = """O PrivacyOptions=novrfy
O LogLevel=11
O DaemonPortOptions=Name=MTA-v4, Family=inet, Port=smtp, Addr=0.0.0.0
O DaemonPortOptions=Family=inet6, Name=MSA-v6, Port=587, Addr=::1, M=Ea
O DaemonPortOptions=Family=local, Addr=/run/sm.sock
"""


@pytest.fixture
def cf(tmp_path: Path) -> Path:
    """A sendmail.cf."""
    path = tmp_path / "sendmail.cf"
    path.write_text(CF, "ascii")
    return path


def test_the_policy_is_on_stdout_and_everything_else_on_stderr(cf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that it can be sent where it is wanted."""
    assert main(["import-sendmail", "--cf", str(cf)]) == os.EX_OK
    said = capsys.readouterr()
    assert "privacy_options: [novrfy]" in said.out
    assert said.err.startswith(f"read: {cf}\n")
    assert f"{cf}:5:1: warning: DaemonPortOptions Family=local" in said.err


def test_what_is_written_can_be_used_at_once_and_never_replaces_a_file(
    cf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings with sendmail's listeners under its names, and the policy beside them."""
    policy, written = tmp_path / "policy.yaml", tmp_path / "smtpguard.yaml"
    command = ["import-sendmail", "--cf", str(cf), "--output", str(policy), "--settings", str(written)]
    assert main(command) == os.EX_OK
    assert not [*policy_file.load(policy).failures()]
    loaded = settings.load(written, {}).settings
    assert [one.label for one in loaded.listen] == ["MTA-v4", "MSA-v6"]
    assert policy_file.load(policy).listeners
    assert not policy_file.load(policy).faults_with(one.label for one in loaded.listen)
    assert (loaded.log.level, loaded.policy) == (11, str(policy))
    before = policy.read_text("utf-8")
    policy.write_text(f"{before}# mine\n", "utf-8")
    assert main(command) != os.EX_OK
    assert policy.read_text("utf-8").endswith("# mine\n")
    assert "File exists" in capsys.readouterr().err


def test_a_file_that_is_named_and_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """66 is sysexits' word for it."""
    assert main(["import-sendmail", "--cf", str(tmp_path / "none.cf")]) == os.EX_NOINPUT
    assert "none.cf: No such file" in capsys.readouterr().err


def test_strict_fails_where_something_cannot_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And only there; each thing is on stderr with its place, and in the fragment."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("rulesets:\n  check_vrfy: [{action: reply}]\n", "ascii")
    assert main(["export-sendmail", "--policy", str(policy), "--strict"]) == os.EX_OK
    assert "Scheck_vrfy" in capsys.readouterr().out
    policy.write_text(
        "limits: {many: {count: connections, rate: 20/hour, then: [{close: true}]}}\nrulesets:\n  check_vrfy:\n"
        "    - {greeted: false, reply: 503 5.0.0 Hello?}\n    - {action: close, delay: 1, shadow: true}\n"
        "    - {action: close, delay: 1}\n  check_noop: [{action: reply}]\n",
        "ascii",
    )
    assert main(["export-sendmail", "--policy", str(policy)]) == os.EX_OK
    capsys.readouterr()
    assert main(["export-sendmail", "--policy", str(policy), "--strict"]) == 1
    said = capsys.readouterr()
    told = [line.removeprefix(f"{policy}:").split(" warning: ")[1] for line in said.err.splitlines()]
    assert [one.partition(":")[0] for one in told] == [
        *(
            "check_vrfy, rule 1",
            "check_vrfy, rule 2",
            "check_vrfy, rule 3",
            "check_vrfy, rule 3",
            "check_noop",
            "limits",
        )
    ]
    assert all(one in said.out for one in told)


def test_what_a_policy_says_of_other_verbs_holds_for_those_that_no_option_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in the guard, where a verb that `privacy_options` rules is no other verb."""
    policy = tmp_path / "a\npolicy' <|.yaml"
    policy.write_text(
        "privacy_options: [needvrfyhelo]\nrelay_domains: {domains: [example.org, .example.org], shadow: true}\n"
        "rulesets: {check_other: [{action: reply}]}\n",
        "ascii",
    )
    assert main(["export-sendmail", "--policy", str(policy)]) == os.EX_OK
    said = capsys.readouterr()
    sets = [line.removeprefix("<|") for line in said.out.splitlines() if line.removeprefix("<|").startswith("Scheck")]
    assert sets == ["Scheck_expn", "Scheck_etrn"]
    assert "RELAY_DOMAIN" not in said.out
    assert "relay_domains: sendmail has no shadow" in said.err
    assert not [line for line in said.out.splitlines() if line.startswith("policy'")]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_policy_can_be_exported(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what sendmail cannot do told."""
    assert main(["export-sendmail", "--policy", name]) == os.EX_OK
    out = capsys.readouterr().out
    assert "Scheck_vrfy" in out or "confPRIVACY_FLAGS" in out
