"""The commands as they are typed: answers on stdout, everything else on stderr, statuses of sysexits(3)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from smtpguard import __version__
from smtpguard.cli.main import main
from smtpguard.config import policy_file
from smtpguard.config.policy_file import SHIPPED
from smtpguard.smtp.profiles import PROFILES

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "policies"

Typed = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def smtpguard(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Call a command; returns its status and the lines of stdout and stderr."""

    def call(*arguments: str) -> tuple[int, list[str], list[str]]:
        status = main(arguments)
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err.splitlines()

    return call


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy without faults whose tests pass; tests overwrite it."""
    path = tmp_path / "policy.yaml"
    path.write_text("rulesets: {check_vrfy: [{action: reply}]}\n")
    return path


def version(path: Path) -> str:
    """Return what `check` says of a policy's version."""
    return f"version {policy_file.load(path).version}"


# -- usage ---------------------------------------------------------------------------------------


def test_the_version_is_that_of_the_package(smtpguard: Typed) -> None:
    """On stdout, for scripts."""
    assert smtpguard("--version") == (0, [f"smtpguard {__version__}"], [])


@pytest.mark.parametrize("arguments", [["check"], ["explain", "--from", "203.0.113.9", "VRFY george"]])
def test_a_policy_is_asked_about_without_what_only_the_service_needs(arguments: list[str]) -> None:
    """In a process of its own.  Event loop and certificates take longer to import than most policies to be read."""
    code = (
        "import sys\n"
        "from smtpguard.cli.main import main\n"
        f"assert main([*{arguments!r}, '--policy', 'perimeter']) == 0\n"
        "print(*sorted({'asyncio', 'cryptography', 'ssl', 'twisted', 'uvloop'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage: smtpguard "),
        (["serve"], "No such command 'serve'"),
        (["check", "--polcy", "x"], "No such option"),
        (["check", "policy.yaml"], "unexpected extra argument"),
        (["explain"], "Missing argument 'COMMAND'"),
        (["explain", "VRFY x"], "Missing option '--from'"),
        (
            ["explain", "--from", "internal", "VRFY x"],
            "'internal' is not an address, as 203.0.113.9 or 2001:db8::9 are",
        ),
        (["explain", "--from", "10.0.0.0/8", "VRFY x"], "'10.0.0.0/8' is not an address"),
        (["explain", "--from", "10.0.0.1", "--style", "old", "VRFY x"], "'old' is not one of"),
        (["run"], "give --listen and --backend, or --config with a settings file"),
        (["run", "--listen", "tcp:25"], "give --listen and --backend, or --config with a settings file"),
        (["run", "--backend", "tcp:h:25"], "give --listen and --backend, or --config with a settings file"),
        (
            ["run", "--listen", "25", "--backend", "tcp:h:25"],
            "write tcp:25:interface=0.0.0.0, tcp6:25:interface=\\:\\:",
        ),
        (["run", "--listen", "tcp:25", "--listen", "udp:25"], "'udp:25' is no endpoint that can be used here"),
        (["run", "--listen", "tcp:25", "--backend", "h:25"], "write tcp:127.0.0.1:2525 (IPv6: tcp:\\:\\:1:2525)"),
        (["run", "--listen", "tcp:25", "--backend", "tcp:::1:25"], "colons of an IPv6 address are written \\:"),
        (["run", "--relay-check", "no"], "'no' is not one of 'enforce', 'warn', 'off'"),
        (["demo", "--port", "smtp"], "'smtp' is not a valid integer"),
    ],
)
def test_a_usage_error_ends_with_64_and_says_what_is_right(smtpguard: Typed, arguments: list[str], said: str) -> None:
    """On stderr; stdout stays empty."""
    status, out, err = smtpguard(*arguments)
    assert status == os.EX_USAGE == 64
    assert out == []
    assert said in " ".join(err)


def test_the_console_script_and_the_module_end_with_the_status_too() -> None:
    """`python -m smtpguard` is what works without an installation."""
    for arguments, status in ((["check"], 0), (["serve"], 64), (["check", "--policy", "none.yaml"], 66)):
        command = [sys.executable, "-m", "smtpguard", *arguments]
        assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == status


# -- check ---------------------------------------------------------------------------------------


def test_check_without_arguments_checks_the_default_policy(smtpguard: Typed) -> None:
    """One line that says what was looked at."""
    path = POLICIES / "internal-vrfy.yaml"
    passed = "16 of 16 tests passed, 10 of 10 rules reached by them"
    assert smtpguard("check") == (0, [f"{path} ({version(path)}): 10 rules, {passed}"], [])


@pytest.mark.parametrize("name", SHIPPED)
def test_check_finds_nothing_to_say_about_the_shipped_policies(smtpguard: Typed, name: str) -> None:
    """By name or by path."""
    assert smtpguard("check", "--policy", name) == smtpguard("check", "--policy", str(POLICIES / f"{name}.yaml"))
    status, out, err = smtpguard("check", "--policy", name)
    assert (status, err) == (0, [])
    assert re.fullmatch(r".*, (\d+) of \1 tests passed, (\d+) of \2 rules reached by them", out[0])


def test_check_prints_all_faults_at_once_as_file_line_column(smtpguard: Typed, policy: Path) -> None:
    """The form that editors jump to; the status is 78."""
    policy.write_text("rulesets:\n  check_vfry: [{action: reply}]\n  check_expn: [{action: replay}]\ntest: []\n")
    assert smtpguard("check", "--policy", str(policy)) == (
        os.EX_CONFIG,
        [],
        [
            f"{policy}:2:3: unknown verb in rule set 'check_vfry' (did you mean check_vrfy?)",
            f"{policy}:3:25: action: 'replay' is none of forward, reply, close (did you mean reply?)",
            f"{policy}:4:1: unknown key 'test' (did you mean tests?)",
        ],
    )


def test_check_prints_the_faults_of_settings_and_policy_together(
    smtpguard: Typed, policy: Path, tmp_path: Path
) -> None:
    """One run, however many files are wrong."""
    settings = tmp_path / "smtpguard.yaml"
    settings.write_text("listen: tcp\nbackend: tcp:h:25\npolicy: policy.yaml\n")
    policy.write_text("rules: {}\n")
    status, out, err = smtpguard("check", "--config", str(settings))
    assert (status, out) == (78, [])
    assert [line.partition(": ")[0] for line in err] == [f"{settings}:1:9", f"{policy}:1:1"]
    policy.unlink()
    status, out, err = smtpguard("check", "--config", str(settings))
    assert (status, out) == (66, [])
    assert err[0].startswith(f"{settings}:1:9: ")
    assert err[1:] == [f"{settings}:3:9: policy: {policy}: no such policy file, nor a shipped policy"]


def test_a_policy_that_is_gone_is_told_where_it_is_named_and_where_it_was_looked_for(
    smtpguard: Typed, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every command that reads the settings; no place in a file that is not there."""
    settings = tmp_path / "smtpguard.yaml"
    settings.write_text("listen: tcp:25\nbackend: tcp:h:25\npolicy: policy.yaml\n")
    policy.unlink()
    monkeypatch.chdir(tmp_path)
    for command in ("check", "run"):
        told = f"smtpguard.yaml:3:9: policy: {policy}: no such policy file, nor a shipped policy"
        assert smtpguard(command, "--config", "smtpguard.yaml") == (66, [], [told])


def test_where_settings_with_a_fault_name_no_policy_none_is_taken_for_theirs(smtpguard: Typed, tmp_path: Path) -> None:
    """`policy` misspelt: that the shipped one passes its tests would be read as that theirs does."""
    settings = tmp_path / "smtpguard.yaml"
    settings.write_text("listen: tcp:25\nbackend: tcp:h:25\npolcy: policy.yaml\n")
    told = f"{settings}:3:1: unknown key 'polcy' (did you mean policy?)"
    assert smtpguard("check", "--config", str(settings)) == (78, [], [told])


def test_what_is_not_there_for_the_service_is_told_at_its_place(smtpguard: Typed, policy: Path, tmp_path: Path) -> None:
    """A warning where it can do without, or systemd makes it; else a fault."""
    settings = tmp_path / "smtpguard.yaml"
    least = "listen: tcp:25\nbackend: tcp:h:25\npolicy: policy.yaml\n"
    plain = tmp_path / "plain"
    plain.write_text("")
    for admin, told, status in (
        (
            "unix:/run/no-such-guard/admin.sock",
            "; systemd makes it when a unit with RuntimeDirectory=no-such-guard starts",
            0,
        ),
        (f"unix:{tmp_path}/none/admin.sock", "", 78),
    ):
        settings.write_text(
            f"{least}admin: {admin}\nstate: none/guard.db\nincidents:\n  hook: {{command: [{plain}, a]}}\n"
        )
        folder = Path(admin.removeprefix("unix:")).parent
        state = f"state: there is no directory {tmp_path}/none"
        assert smtpguard("check", "--config", str(settings))[::2] == (
            status,
            sorted(
                [
                    f"{settings}:4:8: {'' if status else 'warning: '}admin: there is no directory {folder}{told}",
                    f"{settings}:5:8: warning: {state}; bans and incidents are in memory only until there is one",
                    f"{settings}:7:20: warning: command: {plain} is not executable; no incident is told to it until "
                    "that is mended",
                ],
                key=lambda line: "warning" not in line,
            ),
        )
    (tmp_path / "none").mkdir()
    plain.chmod(0o755)
    assert smtpguard("check", "--config", str(settings))[::2] == (0, [])
    settings.write_text(f"{least}incidents: {{hook: {{command: {tmp_path}/gone}}}}\n")
    told = f"command: {tmp_path}/gone: No such file or directory; no incident is told to it until that is mended"
    assert smtpguard("check", "--config", str(settings))[::2] == (0, [f"{settings}:4:29: warning: {told}"])


def test_check_finds_source_addresses_for_networks_that_the_policy_does_not_have(
    smtpguard: Typed, policy: Path, tmp_path: Path
) -> None:
    """What only both files together show."""
    settings = tmp_path / "smtpguard.yaml"
    settings.write_text(
        "listen: tcp:25\npolicy: policy.yaml\nbackend: {endpoint: 'tcp:h:25', bind: {inside: 127.0.0.1}}\n"
    )
    status, _, err = smtpguard("check", "--config", str(settings))
    assert status == 78
    assert err == [f"{settings}:3:40: bind: unknown network 'inside' (known: default)"]
    policy.write_text("networks: {inside: [127.0.0.0/8]}\n")
    assert smtpguard("check", "--config", str(settings)) == (
        0,
        [
            f"{policy} ({version(policy)}): 0 rules, 0 of 0 tests passed",
            f"{settings}: ok",
            "backend profile default (every server but sendmail up to 8.6 and Exim up to 4.50) refuses:",
            "  command lines over 1000 octets: the server could run the rest as the next command",
            "  AUTH over 2000 octets, lines of its exchange over 2000: likewise",
        ],
        [],
    )


def test_check_tells_what_a_profile_refuses_and_why(smtpguard: Typed, policy: Path, tmp_path: Path) -> None:
    """So that nobody finds out by a bounce."""
    policy.write_text("rulesets: {}\n")
    settings = tmp_path / "smtpguard.yaml"
    for profile in PROFILES.values():
        text = f"listen: tcp:25\npolicy: policy.yaml\nbackend: {{endpoint: 'tcp:h:25', profile: {profile.name}}}\n"
        settings.write_text(text)
        status, out, _ = smtpguard("check", "--config", str(settings))
        said = "\n".join(out)
        assert status == 0
        assert f"backend profile {profile.name} ({profile.about}) refuses:" in said
        assert f"  command lines over {profile.line} octets:" in said
        assert ("  octets above 0x7f, in messages too:" in said) is profile.seven_bit
        assert ("  message lines over 2046 octets:" in said) is (profile.name == "sendmail-legacy")
        assert ("  verbs that the server does not know; it knows " in said) is (profile.verbs is not None)
        assert ("  `chunking: forward`: " in said) is not profile.knows(b"BDAT")
        settings.write_text(text.replace("}", ", chunking: forward}"))
        status, _, err = smtpguard("check", "--config", str(settings))
        if profile.knows(b"BDAT"):
            assert (status, err) == (0, [])
        else:
            assert status == 78
            assert err == [
                f"{settings}:3:10: backend: chunking: {profile.name} knows no BDAT: remove `chunking: forward`"
            ]


def test_explain_knows_what_the_settings_say_of_the_backend(smtpguard: Typed, tmp_path: Path) -> None:
    """What passes to one server does not pass to another; and their policy is the one asked."""
    settings = tmp_path / "smtpguard.yaml"

    def said(backend: str, line: str, *more: str) -> dict[str, str]:
        settings.write_text(f"listen: tcp:25\nbackend: {{endpoint: 'tcp:h:25', {backend}}}\npolicy: perimeter\n")
        return rows(smtpguard("explain", "--config", str(settings), "--from", INSIDE, *more, line)[1])

    long, chunk, utf8 = "NOOP " + "x" * 300, "BDAT 5 LAST", "MAIL FROM:<\xe9@b> SMTPUTF8"
    assert said("profile: sendmail", "EXPN all")["verdict"] == "forward"
    unknown = said("profile: postfix", "EXPN all")
    assert (unknown["verdict"], unknown["rule"]) == ("reply", "a verb that the backend's profile does not know")
    assert said("profile: sendmail", long)["verdict"] == "forward"
    assert said("profile: sendmail-legacy", long)["rule"] == "grammar: line too long"
    assert said("profile: postfix", chunk)["reply"].startswith("502 ")
    assert said("profile: postfix", chunk)["rule"] == "BDAT, under `chunking: hide` in the settings"
    assert said("profile: postfix, chunking: forward", chunk)["verdict"] == "forward"
    assert said("profile: sendmail", utf8)["verdict"] == "forward"
    assert said("profile: sendmail, seven_bit: true", utf8)["rule"] == "grammar: octet above 0x7f"
    assert "perimeter.yaml:" in said("profile: sendmail", "DEBUG")["rule"]
    assert "no-vrfy.yaml:" in said("profile: sendmail", "VRFY x", "--policy", "no-vrfy")["rule"]


def test_check_warns_about_a_last_rule_with_conditions(smtpguard: Typed, policy: Path) -> None:
    """A warning goes to stderr and leaves the status alone."""
    policy.write_text("networks: {in: [10.0.0.0/8]}\nrulesets: {check_vrfy: [{from: in, action: reply}]}\n")
    status, out, err = smtpguard("check", "--policy", str(policy))
    assert status == 0
    assert out == [f"{policy} ({version(policy)}): 1 rule, 0 of 0 tests passed"]
    assert err == [
        f"{policy}:2:25: warning: the last rule of check_vrfy has conditions: what it does not match is forwarded"
    ]


def test_check_runs_the_tests_of_the_policy(smtpguard: Typed, policy: Path) -> None:
    """One that fails is a fault at its place."""
    policy.write_text(
        "rulesets: {check_vrfy: [{action: reply}]}\n"
        "tests:\n"
        "  - {from: 10.0.0.1, command: VRFY x, expect: 252}\n"
        "  - {from: 10.0.0.1, command: VRFY x, expect: forward}\n"
    )
    status, out, err = smtpguard("check", "--policy", str(policy))
    assert status == 78
    assert out == [f"{policy} ({version(policy)}): 1 rule, 1 of 2 tests passed, 1 of 1 rule reached by them"]
    assert err == [
        f"{policy}:4:5: test failed: 10.0.0.1 'VRFY x': expected forward, got 252 2.5.2 Cannot VRFY user; "
        f"try RCPT to attempt delivery (or try finger) ({policy}:1 check_vrfy, rule 1)"
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "--config", "none.yaml"],
        ["check", "--policy", "none.yaml"],
        ["check", "--policy", "perimter"],
        ["explain", "--policy", "none.yaml", "--from", "10.0.0.1", "VRFY x"],
        ["run", "--config", "none.yaml"],
        ["run", "--listen", "tcp:0", "--backend", "tcp:h:25", "--policy", "none.yaml"],
    ],
)
def test_a_missing_file_ends_with_66_and_is_named(
    smtpguard: Typed, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever command it was given to."""
    monkeypatch.chdir(tmp_path)
    status, out, err = smtpguard(*arguments)
    assert (status, out) == (os.EX_NOINPUT, [])
    assert len(err) == 1
    assert err[0].startswith(("smtpguard: none.yaml: ", "smtpguard: perimter: no such policy file, nor a shipped"))


# -- run -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "rulesets: {check_vfry: [{action: reply}]}",
            ":1:12: unknown verb in rule set 'check_vfry' (did you mean check_vrfy?)",
        ),
        ("", ":1:1: the file is empty: to forward everything, write `rulesets: {}`"),
        ("tests: [{from: 10.0.0.1, command: NOOP, expect: 250}]", ":1:9: test failed: 10.0.0.1 'NOOP'"),
    ],
)
def test_run_does_not_start_on_a_policy_with_faults_or_failing_tests(
    smtpguard: Typed, policy: Path, text: str, fault: str
) -> None:
    """Before any reactor, any socket."""
    policy.write_text(text)
    status, out, err = smtpguard("run", "--listen", "tcp:0", "--backend", "tcp:h:25", "--policy", str(policy))
    assert (status, out) == (78, [])
    assert len(err) == 1
    assert err[0].startswith(f"{policy}{fault}")


def test_run_does_not_start_on_settings_with_faults(smtpguard: Typed, tmp_path: Path) -> None:
    """A flag mends what it replaces, and no more."""
    settings = tmp_path / "smtpguard.yaml"
    settings.write_text("listen: tcp\nbackend: tcp:h:25\ntimeout: {}\n")
    status, _, err = smtpguard("run", "--config", str(settings), "--listen", "tcp:25")
    assert status == 78
    assert err == [f"{settings}:3:1: unknown key 'timeout' (did you mean timeouts?)"]


def test_check_names_the_rules_that_no_test_reaches(smtpguard: Typed, policy: Path, tmp_path: Path) -> None:
    """They are no fault unless that is asked for; where there is no test there is nothing to say."""
    rules = (
        "rulesets:\n  check_vrfy: [{argument: x, action: forward}, {action: reply}]\n  check_expn: [{action: reply}]\n"
    )
    policy.write_text(rules)
    assert smtpguard("check", "--policy", str(policy))[1:] == (
        [f"{policy} ({version(policy)}): 3 rules, 0 of 0 tests passed"],
        [],
    )
    policy.write_text(rules + "tests: [{from: 10.0.0.1, session: [VRFY y: 252]}]\n")
    line = f"{policy} ({version(policy)}): 3 rules, 1 of 1 test passed, 1 of 3 rules reached by them"
    told = [
        "rules that no test reaches:",
        f"  {policy}:2:16 check_vrfy, rule 1",
        f"  {policy}:3:16 check_expn, rule 1",
    ]
    assert smtpguard("check", "--policy", str(policy)) == (0, [line, *told], [])
    faults = [
        f"{policy}:2:16: no test reaches check_vrfy, rule 1",
        f"{policy}:3:16: no test reaches check_expn, rule 1",
    ]
    assert smtpguard("check", "--require-coverage", "--policy", str(policy)) == (78, [line], faults)
    settings = tmp_path / "smtpguard.yaml"
    settings.write_text(f"listen: tcp:0\nbackend: tcp:127.0.0.1:2525\npolicy: {policy}\n")
    assert smtpguard("check", "--config", str(settings))[1][:4] == [line, *told]
    assert smtpguard("check", "--require-coverage", "--config", str(settings)) == (78, [line], faults)


# -- explain -------------------------------------------------------------------------------------


def rows(lines: list[str]) -> dict[str, str]:
    """Return what `explain` says, by its first column."""
    return {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in lines}


REFUSED_VRFY = "252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)"
REFUSED_EXPN = "502 5.7.0 Sorry, we do not allow this operation"
UNKNOWN = "500 5.5.1 Command unrecognized"
NOTHING = "(nothing but the session's summary)"
OUTSIDE, INSIDE = "203.0.113.9", "10.1.2.3"


@pytest.mark.parametrize(
    ("name", "source", "line", "rule", "reply", "log"),
    [
        (
            "internal-vrfy",
            OUTSIDE,
            "VRFY george",
            "8 check_vrfy, rule 2",
            REFUSED_VRFY,
            "[203.0.113.9]: VRFY george [rejected]",
        ),
        (
            "internal-vrfy",
            OUTSIDE,
            "vrfy all",
            "8 check_vrfy, rule 2",
            REFUSED_VRFY,
            "[203.0.113.9]: vrfy all [rejected]",
        ),
        ("internal-vrfy", INSIDE, "VRFY george", "7 check_vrfy, rule 1", None, "[10.1.2.3]: VRFY george"),
        (
            "internal-vrfy",
            OUTSIDE,
            "EXPN all",
            "11 check_expn, rule 2",
            REFUSED_EXPN,
            "[203.0.113.9]: EXPN all [rejected]",
        ),
        (
            "internal-vrfy",
            INSIDE,
            "debug",
            "13 check_debug, rule 1",
            UNKNOWN,
            '"debug" command from [10.1.2.3] (10.1.2.3)',
        ),
        ("internal-vrfy", OUTSIDE, "HELP", "", None, NOTHING),
        ("internal-vrfy", OUTSIDE, "MAIL FROM:<a@b.example>", "", None, NOTHING),
        ("no-vrfy", INSIDE, "VRFY george", "2 privacy_options", REFUSED_VRFY, "[10.1.2.3]: VRFY george [rejected]"),
        (
            "no-vrfy",
            INSIDE,
            "VERB",
            "2 privacy_options",
            "502 5.7.0 Verbose unavailable",
            "[10.1.2.3]: VERB [rejected]",
        ),
        ("perimeter", OUTSIDE, "FOO x", "17 check_other, rule 2", UNKNOWN, "[203.0.113.9]: FOO x [rejected]"),
        ("perimeter", INSIDE, "FOO x", "16 check_other, rule 1", None, NOTHING),
        ("perimeter", INSIDE, "ETRN x", "16 check_other, rule 1", None, "[10.1.2.3]: ETRN x"),
        ("mailguard", INSIDE, "EHLO me", "6 check_ehlo, rule 1", UNKNOWN, "[10.1.2.3]: EHLO me [rejected]"),
        ("mailguard", INSIDE, "VRFY x", "8 check_other, rule 1", UNKNOWN, "[10.1.2.3]: VRFY x [rejected]"),
    ],
)
def test_explain_names_rule_reply_and_log_line(
    smtpguard: Typed, name: str, source: str, line: str, rule: str, reply: str | None, log: str
) -> None:
    """The rule by file and line, the reply and the line as they would be, without any network."""
    status, out, err = smtpguard("explain", "--policy", name, "--from", source, line)
    assert (status, err) == (0, [])
    said = rows(out)
    assert list(said) == ["client", "rule", "verdict", "reply", "log"]
    assert said["rule"] == (f"{POLICIES / name}.yaml:{rule}" if rule else "none matches: forwarded")
    assert said["verdict"] == ("forward" if reply is None else "reply")
    assert said["reply"] == (reply or "the backend's")
    assert said["log"] == log


def test_explain_shows_the_line_of_the_rule_itself(smtpguard: Typed) -> None:
    """The number is good for an editor: that line of the file holds that rule."""
    _, out, _ = smtpguard("explain", "--from", OUTSIDE, "VRFY george")
    file, _, rest = rows(out)["rule"].partition(".yaml:")
    line = Path(f"{file}.yaml").read_text().splitlines()[int(rest.split()[0]) - 1]
    assert line.lstrip().startswith("- {action: reply}")


@pytest.mark.parametrize(
    ("source", "client"),
    [
        ("10.1.2.3", "10.1.2.3 (internal)"),
        ("::ffff:10.1.2.3", "10.1.2.3 (internal)"),
        ("203.0.113.9", "203.0.113.9 (in no named network)"),
        ("2001:DB8:0:0::9", "2001:db8::9 (in no named network)"),
        ("fe80::1%eth0", "fe80::1 (in no named network)"),
        ("fd00::1", "fd00::1 (internal)"),
    ],
)
def test_explain_says_which_networks_have_the_client(smtpguard: Typed, source: str, client: str) -> None:
    """As the policy sees its address."""
    assert rows(smtpguard("explain", "--from", source, "NOOP")[1])["client"] == client


BLANK = "blank, TAB, VT or FF where a verb or a single space belongs"


@pytest.mark.parametrize(
    ("line", "fault", "where", "verdict", "log"),
    [
        (" VRFY x", BLANK, "", "reply", ":  VRFY x"),
        ("VRFY\tx", BLANK, "", "reply", ": VRFY\\tx"),
        ("", "empty line", "", "reply", ""),
        ("NOOP\rVRFY x", "bare carriage return (CR)", " in octet 5 of line 1", "close", ": NOOP\\rVRFY x [closed]"),
        ("NOOP\nVRFY x", "bare linefeed (LF)", " in octet 5 of line 1", "close", ": NOOP\\n [closed]"),
        ("NOOP \x1b[2J", "control octet", " in octet 6 of line 1", "close", ": NOOP \\033[2J [closed]"),
    ],
)
def test_explain_knows_what_the_grammar_does_not_let_through(
    smtpguard: Typed, line: str, fault: str, where: str, verdict: str, log: str
) -> None:
    """And nothing that a client sends reaches the terminal unescaped."""
    _, out, _ = smtpguard("explain", "--from", INSIDE, line)
    said = rows(out)
    assert (said["rule"], said["verdict"]) == (f"grammar: {fault}", verdict)
    expected = f"{fault[0].upper()}{fault[1:]}{where}; " if where else "Syntax error, command unrecognized"
    assert said["reply"].startswith(f"500 5.5.2 {expected}")
    assert said["log"] == f"[10.1.2.3]: SMTP violation, {fault}{where}{log}"
    assert all(shown.isprintable() for shown in out)


@pytest.mark.parametrize("line", ["XCLIENT ADDR=127.0.0.1", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2", "xproxyfrom x"])
def test_explain_knows_what_is_never_forwarded(smtpguard: Typed, line: str) -> None:
    """Inside either."""
    said = rows(smtpguard("explain", "--from", INSIDE, line)[1])
    assert (said["rule"], said["verdict"]) == ("never forwarded, whatever the policy", "reply")
    assert said["log"] == f"[10.1.2.3]: {line} [rejected]"


def test_explain_says_that_it_is_the_listener_that_has_no_starttls(smtpguard: Typed) -> None:
    """No policy is the reason, and none would help."""
    said = rows(smtpguard("explain", "--from", INSIDE, "STARTTLS")[1])
    assert (said["rule"], said["verdict"]) == ("STARTTLS, which this listener does not offer", "reply")
    assert said["reply"] == "502 5.5.1 Command not implemented"


def test_explain_takes_the_facts_of_the_session_into_account(smtpguard: Typed, policy: Path) -> None:
    """EHLO said, no TLS, no AUTH, no listener's name, unless told."""
    policy.write_text(
        """\
rulesets:
  check_vrfy:
    - {tls: true, action: close}
    - {authenticated: true, action: forward}
    - {listener: inside, action: reply, reply: 550 5.7.1 by listener}
    - {greeted: false, delay: 2.5, action: reply, reply: 503 5.0.0 polite people}
    - {action: reply}
"""
    )

    def verdict(*options: str) -> tuple[str, str]:
        said = rows(smtpguard("explain", "--policy", str(policy), "--from", OUTSIDE, *options, "VRFY x")[1])
        return said["verdict"], said["reply"]

    assert verdict() == ("reply", REFUSED_VRFY)
    assert verdict("--tls") == ("close", "421 4.7.0 localhost Closing connection by local policy")
    assert verdict("--auth") == ("forward", "the backend's")
    assert verdict("--listener", "inside") == ("reply", "550 5.7.1 by listener")
    assert verdict("--no-ehlo") == ("reply after 2.5 s", "503 5.0.0 polite people")


def test_explain_shows_the_log_line_in_the_style_asked_for(smtpguard: Typed) -> None:
    """`classic` is that of the 1990s."""
    classic = ("explain", "--style", "classic", "--from", "222.33.44.55")
    assert rows(smtpguard(*classic, "vrfy all")[1])["log"] == "[222.33.44.55]: vrfy all"
    assert rows(smtpguard(*classic, "DEBUG")[1])["log"] == '"debug" command from [222.33.44.55] (222.33.44.55)'


def test_explain_works_on_a_policy_whose_tests_fail(smtpguard: Typed, policy: Path) -> None:
    """It is how one finds out why."""
    policy.write_text(
        "rulesets: {check_vrfy: [{action: reply}]}\ntests: [{from: 10.0.0.1, command: VRFY x, expect: forward}]\n"
    )
    status, out, _ = smtpguard("explain", "--policy", str(policy), "--from", "10.0.0.1", "VRFY x")
    assert status == 0
    assert rows(out)["rule"] == f"{policy}:1 check_vrfy, rule 1"


def test_explain_refuses_a_policy_with_faults(smtpguard: Typed, policy: Path) -> None:
    """With all of them."""
    policy.write_text("replies: none\nrulesets: {vrfy: [{action: reply}]}\n")
    status, out, err = smtpguard("explain", "--policy", str(policy), "--from", "10.0.0.1", "VRFY x")
    assert (status, out) == (78, [])
    assert [line.partition(": ")[0] for line in err] == [f"{policy}:1:10", f"{policy}:2:12"]


def test_a_file_name_cannot_write_to_the_terminal(smtpguard: Typed) -> None:
    """Not even one that does not exist."""
    status, _, err = smtpguard("check", "--policy", "a\n\x1b[2Jb.yaml")
    assert status == 66
    assert err == ["smtpguard: a\\n\\x1b[2Jb.yaml: no such policy file, nor a shipped policy"]


def test_check_tells_of_a_capability_that_is_missing(tmp_path: Path) -> None:
    """At its place in the file; the unit runs `check` with what the service will have."""
    path = tmp_path / "smtpguard.yaml"
    path.write_text(
        "listen: tcp:2500:interface=127.0.0.1\nbackend: {endpoint: tcp:127.0.0.1:2525, identity: transparent}\n"
    )
    command = [sys.executable, "-m", "smtpguard", "check", "--config", str(path)]
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-net_admin,-net_raw", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == os.EX_CONFIG
    assert f"{path}:2:51: identity: transparent needs the capability CAP_NET_ADMIN" in done.stderr
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == os.EX_OK


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        (["--from", "203.0.113.9", "STARTTLS"], "starttls"),
        (["--from", "203.0.113.9", "--tls", "STARTTLS"], "reply"),
        (["--from", "192.0.2.7", "STARTTLS"], "forward"),
        (["--from", "203.0.113.9", "--listener", "smtps", "STARTTLS"], "reply"),
        (["--from", "203.0.113.9", "--tls-name", "MX.partner.example", "ETRN x"], "forward"),
        (["--from", "203.0.113.9", "ETRN x"], "reply"),
        (["--from", "203.0.113.9", "--auth-failed", "NOOP"], "close"),
        (["--from", "203.0.113.9", "RCPT TO:<george@elsewhere.example>"], "reply"),
        (["--from", "203.0.113.9", "--auth", "RCPT TO:<george@elsewhere.example>"], "forward"),
    ],
)
def test_explain_knows_listener_tls_and_relaying(
    smtpguard: Typed, tmp_path: Path, options: list[str], verdict: str
) -> None:
    """The first listener if none is named, as `run` would have it."""
    (tmp_path / "policy.yaml").write_text(
        "networks: {old: [192.0.2.0/24]}\nrelay_domains: [example.org]\nrulesets:\n"
        "  check_etrn: [{tls_name: '*.partner.example', action: forward}, {action: reply}]\n"
        "  check_noop: [{auth_failed: true, action: close}, {action: forward}]\n"
    )
    path = tmp_path / "smtpguard.yaml"
    path.write_text(
        "listen:\n  - {endpoint: tcp:25, starttls: {certificates: x, passthrough: old}}\n"
        "  - {endpoint: tcp:465, name: smtps, tls: implicit, starttls: {certificates: x}}\n"
        "backend: tcp:h:25\npolicy: policy.yaml\n"
    )
    status, out, _ = smtpguard("explain", "--config", str(path), *options)
    assert status == 0
    assert next(line for line in out if line.startswith("verdict")).split() == ["verdict", verdict]


def test_explain_wants_a_listener_that_there_is(smtpguard: Typed, tmp_path: Path) -> None:
    """A name that nobody has would look like an answer."""
    path = tmp_path / "smtpguard.yaml"
    path.write_text("listen: {endpoint: tcp:25, name: smtp}\nbackend: tcp:h:25\n")
    status, _, err = smtpguard("explain", "--config", str(path), "--from", "192.0.2.1", "--listener", "smpt", "NOOP")
    assert status == os.EX_USAGE
    assert "no listener is named 'smpt' (did you mean smtp?)" in "".join(err)


def test_on_a_host_with_settings_their_policy_is_meant(
    smtpguard: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where neither is named; one that is named is asked about alone."""
    path = tmp_path / "smtpguard.yaml"
    path.write_text("listen: tcp:2525\nbackend: tcp:127.0.0.1:25\npolicy: own.yaml\n")
    (tmp_path / "own.yaml").write_text("rulesets:\n  check_vrfy: [{action: reply, reply: 550 5.7.1 No}]\n")
    monkeypatch.setattr("smtpguard.cli.defaults.DEFAULT_SETTINGS", str(path))
    status, out, _ = smtpguard("check")
    assert (status, f"{path}: ok" in out) == (0, True)
    asked = "explain", "--from", "203.0.113.9", "VRFY root"
    assert rows(smtpguard(*asked)[1])["reply"] == "550 5.7.1 No"
    assert rows(smtpguard(*asked, "--policy", "no-vrfy")[1])["reply"].startswith("252 ")
