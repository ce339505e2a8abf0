"""`smtpguard explain -`: a whole session, typed or piped."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from smtpguard.cli.main import main
from tests.rig.wait import wait_until

OUTSIDE = "203.0.113.9"
INSIDE = "10.1.2.3"
MAIL = "EHLO me.example\nMAIL FROM:<a@b.example>\nRCPT TO:<c@d.example>\nDATA\nSubject: x\n\nVRFY root\n.\nQUIT\n"

Explain = Callable[..., tuple[int, str, str]]


@pytest.fixture
def explain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Explain:
    """Pipe a session into the command; returns its status, stdout and stderr."""

    def call(said: str | bytes, *options: str, source: str = OUTSIDE) -> tuple[int, str, str]:
        octets = said if isinstance(said, bytes) else said.encode()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(octets)))
        status = main(["explain", "--from", source, *options, "-"])
        told = capsys.readouterr()
        return status, told.out, told.err

    return call


@pytest.fixture
def documents(explain: Explain) -> Callable[..., list[dict[str, Any]]]:
    """The same with `--json`; returns the documents."""

    def call(said: str | bytes, *options: str, source: str = OUTSIDE) -> list[dict[str, Any]]:
        status, out, err = explain(said, "--json", *options, source=source)
        assert (status, err) == (0, "")
        return [json.loads(line) for line in out.splitlines()]

    return call


Documents = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy with a limit, a delay and a rule that is not for everybody."""
    path = tmp_path / "policy.yaml"
    path.write_text(
        "relay_domains: [d.example]\n"
        "rulesets:\n"
        "  check_vrfy: [{authenticated: true, action: forward}, {action: reply, delay: 2}]\n"
        "  check_expn: [{action: reply, shadow: true}]\n"
        "limits:\n"
        "  scanners: {count: probes, rate: 1/hour, then: close}\n"
        "  talkers: {count: commands, rate: 100/hour, then: close}\n"
    )
    return path


def test_each_line_is_told_with_rule_reply_and_log_line(explain: Explain, policy: Path) -> None:
    """And the session at the end, as the log and the mail's recipients see it."""
    said = "EHLO me.example\nVRFY root\nVRFY a\nEXPN x\nMAIL FROM:<a@b.example>\n"
    said += "RCPT TO:<c@d.example>\nRCPT TO:<c@e.example>\n"
    status, out, err = explain(said, "--policy", str(policy))
    assert (status, err) == (0, "")
    assert out.startswith(
        f"client   {OUTSIDE} (in no named network)\nbanner   220 localhost ESMTP Sendmail\n\n1  EHLO me.example\n"
    )
    refused = "252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)"
    assert (
        "\n2  VRFY root\n"
        f"   rule     {policy}:3 check_vrfy, rule 2\n"
        "   delay    2 s\n"
        f"   guard    {refused}\n"
        f"   log      [{OUTSIDE}]: VRFY root [rejected]\n"
        "   limits   scanners: 1, talkers: 2\n"
        "\n3  VRFY a\n"
    ) in out
    assert f"   shadow   would have answered 502 ({policy}:4 check_expn, rule 1)\n   server   250 2.1.5 " in out
    assert out.endswith(
        "\nsession\n"
        f"   log      disconnect from [{OUTSIDE}] ehlo=1 vrfy=0/2 expn=1 mail=1 rcpt=1/2 commands=4/7\n"
        "   mail     from <a@b.example> to <c@d.example>: not sent\n"
        "            not to <c@e.example>: 550 5.7.1 Relaying denied\n"
        "   limits   scanners (probes: 1 in 1 hour by prefix; over 1 close): 4 by this session, which is over 1 close\n"
        "   limits   talkers (commands: 100 in 1 hour by prefix; over 100 close): 7 by this session\n"
    )


def test_a_program_gets_a_document_for_each_line(documents: Documents) -> None:
    """With the same in it; a message is one."""
    first, ehlo, mail, rcpt, data, message, last, end = documents(MAIL)
    assert first == {
        "client": f"{OUTSIDE} (in no named network)",
        "banner": "220 localhost ESMTP Sendmail",
        "remarks": [],
    }
    assert (ehlo["by"], ehlo["verdict"], ehlo["rule"]) == ("server", "forward", "")
    assert [one["line"] for one in (mail, rcpt, data)] == ["MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA"]
    assert (message["what"], message["line"]) == ("content", "(a message of 28 octets)")
    assert (last["reply"], last["closed"]) == (["221 2.0.0 localhost closing connection"], True)
    assert end["session"]["mail"] == [
        {"sender": "a@b.example", "recipients": ["c@d.example"], "refused": [], "fate": "accepted"}
    ]


def test_a_session_learns_tls_and_auth_from_what_is_said_or_from_options(documents: Documents, policy: Path) -> None:
    """`--tls` and `--auth` are what is known before the first line."""
    rules = ("--policy", str(policy))

    def verdict(said: str, *options: str) -> str:
        found: str = documents(said, *rules, *options)[-2]["verdict"]
        return found

    assert verdict("EHLO x\nVRFY a\n") == "reply"
    assert verdict("EHLO x\nAUTH PLAIN eA==\nVRFY a\n") == "forward"
    assert verdict("VRFY a\n", "--auth") == "forward"
    assert verdict("EHLO x\nSTARTTLS\n") == "starttls"
    assert verdict("EHLO x\nSTARTTLS\n", "--tls") == "reply"


def test_the_settings_say_what_the_listener_offers(documents: Documents, tmp_path: Path) -> None:
    """Without them one is supposed that has STARTTLS."""
    settings = tmp_path / "smtpguard.yaml"
    settings.write_text("listen: tcp:25\nbackend: tcp:127.0.0.1:2525\n")
    assert documents("EHLO x\nSTARTTLS\n")[-2]["reply"] == ["220 2.0.0 Ready to start TLS"]
    assert documents("EHLO x\nSTARTTLS\n", "--config", str(settings))[-2]["reply"] == [
        "502 5.5.1 Command not implemented"
    ]


@pytest.mark.parametrize(
    "transcript",
    [
        "S: 220 mx.example ESMTP\nC: EHLO me\nS: 250-mx.example\nS: 250 SIZE\nC: VRFY root\nS: 250 root\n"
        "C: MAIL FROM:<a@b>\nS: 451 4.3.0 later\nC: QUIT\nS: 221 bye\n",
        "C: EHLO me\nS: 250-mx.example\nS: 250 SIZE\nC: VRFY root\nS: 250 root\n"
        "C: MAIL FROM:<a@b>\nS: 451 4.3.0 later\nC: QUIT\nS: 221 bye\n",
        "=== Trying mx:25...\n=== Connected to mx.\n<-  220 mx.example ESMTP\n -> EHLO me\n<-  250-mx.example\n"
        "<-  250 SIZE\n -> VRFY root\n<-  250 root\n -> MAIL FROM:<a@b>\n<** 451 4.3.0 later\n -> QUIT\n<-  221 bye\n"
        "=== Connection closed with remote host.\n",
    ],
)
def test_a_transcript_has_the_servers_answers(documents: Documents, transcript: str) -> None:
    """Its own form, with or without a banner, and what swaks prints; what the guard answers itself is dropped."""
    _, ehlo, vrfy, mail, last, _ = documents(transcript)
    assert ehlo["reply"] == ["250-mx.example", "250-SIZE", "250 STARTTLS"]
    assert (vrfy["by"], vrfy["reply"][0][:3]) == ("guard", "252")
    assert (mail["by"], mail["reply"]) == ("server", ["451 4.3.0 later"])
    assert last["reply"] == ["221 bye"]


def test_what_a_client_would_not_say_any_more_is_left_out(documents: Documents, policy: Path) -> None:
    """A message whose DATA was answered otherwise, and all that comes behind the end of the session."""
    said = (
        "S: 220 mx ESMTP\nC: EHLO me\nS: 250 mx\nC: MAIL FROM:<a@b>\nS: 250 ok\nC: RCPT TO:<c@e.example>\nS: 250 ok\n"
        "C: DATA\nS: 354 go\nC: VRFY root\nC: .\nS: 250 queued\nC: QUIT\nS: 221 bye\nC: NOOP\nS: 250 ok\n"
    )
    found = documents(
        said.replace("S: 354 go\nC: VRFY root\nC: .\nS: 250 queued\n", "S: 503 no\n"), "--policy", str(policy)
    )
    assert found[-1]["session"]["unsaid"] == 1
    assert [one["line"] for one in found[1:-1]] == [
        "EHLO me",
        "MAIL FROM:<a@b>",
        "RCPT TO:<c@e.example>",
        "DATA",
        "QUIT",
    ]
    banned = policy.with_name("no-data.yaml")
    banned.write_text("rulesets: {check_data: [{action: reply, reply: 550 5.7.1 no}]}\n")
    found = documents(said, "--policy", str(banned))
    assert [one["line"] for one in found[1:-1]][3:] == ["DATA", "QUIT"]
    assert found[-1]["session"]["unsaid"] == 2


def test_of_several_sessions_in_a_transcript_the_first_is_explained(documents: Documents) -> None:
    """And that is said."""
    found = documents("S: 220 a\nC: QUIT\nS: 221 a\n\nS: 220 b\nC: NOOP\nS: 250 b\n")
    assert found[0]["remarks"] == ["the first of 2 sessions; smtpguard replay takes all"]
    assert [one["line"] for one in found[1:-1]] == ["QUIT"]


def test_escapes_stand_for_octets_that_nobody_can_type(documents: Documents) -> None:
    """And a line may go without its end."""

    def rule(said: str) -> str:
        found: str = documents(said, "--escapes")[1]["rule"]
        return found

    assert rule("VRFY a\\nEXPN b\n") == "grammar: bare linefeed (LF)"
    assert rule("VRFY a\\rb\n") == "grammar: bare carriage return (CR)"
    assert rule("VRFY\\ta\n") == "grammar: blank, TAB, VT or FF where a verb or a single space belongs"
    assert rule("NOOP\\0\n") == rule("NOOP\\x00\n") == "grammar: NUL octet"
    assert rule("NOOP \\xe4\n") == "grammar: octet above 0x7f"
    found = documents("VRFY \\c\na\\\\c\n", "--escapes")
    assert [one["line"] for one in found[1:-1]] == ["VRFY a\\\\c"]
    assert documents("VRFY a\\nb\n")[1]["line"] == "VRFY a\\\\nb"


@pytest.mark.parametrize(
    ("options", "said", "text"),
    [
        (("--escapes",), "NOOP\nVRFY \\q\n", "line 2, column 6: no escape: write "),
        (("--escapes",), "NOOP\nVRFY \\x0\n", "line 2, column 6: no escape: write "),
    ],
)
def test_what_cannot_be_read_is_said(explain: Explain, options: tuple[str, ...], said: str, text: str) -> None:
    """With its place."""
    status, _, err = explain(said, *options)
    assert status == os.EX_USAGE
    assert text in err


def test_escapes_and_json_are_for_sessions(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a line alone there is no document."""
    assert main(["explain", "--from", OUTSIDE, "--json", "NOOP"]) == os.EX_USAGE
    assert "write - in place of the line" in capsys.readouterr().err


def test_passwords_are_not_shown_and_what_clients_say_is_escaped(explain: Explain) -> None:
    """As in the log."""
    said = b"EHLO x\nAUTH PLAIN c2VjcmV0\nAUTH LOGIN\nc2VjcmV0\nc2VjcmV0\nNOOP \x1b[2J\n"
    _, out, _ = explain(said)
    assert "c2VjcmV0" not in out
    assert "\x1b" not in out
    assert "AUTH PLAIN ***" in out
    refused = explain("EHLO x\nAUTH PLAIN c2VjcmV0 x y\nc2VjcmV0\n", "--policy", "mailguard")[1]
    assert "c2VjcmV0" not in refused


def test_a_password_that_nobody_asked_for_is_not_shown_even_if_it_is_forwarded(explain: Explain, policy: Path) -> None:
    """The server refuses the AUTH, and the client goes on all the same; neither the log nor a rule speaks of it."""
    said = (
        "S: 220 x\nC: EHLO a\nS: 250 AUTH PLAIN\nC: AUTH PLAIN\nS: 504 no\nC: AGpvaG4Ac2VjcmV0\nS: 500 what\nC: NOOP\n"
    )
    for shadow in ("", "  check_other: [{action: reply, shadow: true}]\n"):
        policy.write_text(f"rulesets:\n  check_vrfy: [{{action: reply}}]\n{shadow}")
        out = explain(said, "--policy", str(policy))[1]
        assert "AGpvaG4Ac2VjcmV0" not in out
        assert "3  ***\n" in out


def test_limits_in_shadow_count_what_rules_in_shadow_would_refuse(documents: Documents, policy: Path) -> None:
    """And those that act do not: as in the service.  What would only wait is refused by nobody."""
    policy.write_text(
        "rulesets:\n"
        "  check_mail: [{action: reply, shadow: true}]\n"
        "  check_noop: [{action: forward, delay: 2, shadow: true}]\n"
        "limits:\n"
        "  seen: {count: probes, rate: 1/hour, then: close, shadow: true}\n"
        "  acts: {count: probes, rate: 1/hour, then: close}\n"
    )
    said = "EHLO a\nMAIL FROM:<a@b.example>\nNOOP\nVRFY a\n"
    _, ehlo, mail, noop, vrfy, end = documents(said, "--policy", str(policy))
    assert [one["limits"] for one in (ehlo, mail, noop, vrfy)] == [{}, {"seen": 1}, {}, {"seen": 2, "acts": 1}]
    assert [(one["name"], one["count"]) for one in end["session"]["limits"]] == [("seen", 2), ("acts", 1)]


def test_a_line_alone_names_the_limits_in_shadow_too(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of what a rule in shadow would refuse."""
    policy.write_text(
        "rulesets: {check_mail: [{action: reply, shadow: true}]}\n"
        "limits:\n"
        "  seen: {count: probes, rate: 1/hour, then: close, shadow: true}\n"
        "  acts: {count: probes, rate: 1/hour, then: close}\n"
    )
    main(["explain", "--from", OUTSIDE, "--policy", str(policy), "MAIL FROM:<a@b.example>"])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("limits ")]
    assert "seen (" in line


def test_a_recorded_answer_that_would_be_out_of_turn_now_is_not_given(documents: Documents, policy: Path) -> None:
    """The guard has refused the recipient, so the server has none, and says so."""
    said = "\n".join(
        [
            "S: 220 x", "C: EHLO a", "S: 250 x", "C: MAIL FROM:<a@b.example>", "S: 250 x", "C: RCPT TO:<c@e.example>",
            "S: 250 x", "C: DATA", "S: 354 go", "C: hello", "C: .", "S: 250 taken",
        ]
    )  # fmt: skip
    *_, rcpt, data, end = documents(said, "--policy", str(policy))
    assert rcpt["reply"] == ["550 5.7.1 Relaying denied"]
    assert data["reply"] == ["503 5.0.0 Need RCPT (recipient)"]
    assert [one["fate"] for one in end["session"]["mail"]] == ["not sent"]


def test_octets_of_a_server_are_escaped_once(documents: Documents) -> None:
    """As the log does."""
    line = documents(b"S: 220 x\nC: NOOP\nS: 250 \x9b\x1b[2J\n")[1]
    assert line["reply"] == ["250 \\233\\033[2J"]


def test_the_number_of_a_line_stands_apart_from_it(explain: Explain) -> None:
    """However many there are."""
    assert "\n1000 NOOP\n" in explain("EHLO x\n" + "NOOP\n" * 1000)[1]


def test_what_the_server_gets_is_shown_where_it_is_not_what_was_said(documents: Documents, tmp_path: Path) -> None:
    """As with bare newlines that are mended."""
    own = tmp_path / "p.yaml"
    own.write_text("bare_newline: normalize\nrulesets: {}\n")
    line = documents("NOOP a\\n\\c\n", "--escapes", "--policy", str(own))[1]
    assert line["sent"] == "NOOP a\\r\\n"
    assert line["log"] == [f"[{OUTSIDE}]: bare linefeed (LF) in line 1 replaced by CRLF"]


def test_no_session_is_a_session_too(documents: Documents) -> None:
    """Nothing was said."""
    _, end = documents("")
    assert end["session"]["log"] == f"disconnect from [{OUTSIDE}] commands=0"


def test_at_a_terminal_each_line_is_answered_at_once() -> None:
    """As `sendmail -bt` and `exim -bh` do; it ends with the session."""
    controller, terminal = pty.openpty()
    os.set_blocking(controller, False)
    command = [sys.executable, "-m", "smtpguard", "explain", "--from", OUTSIDE, "-"]
    seen = b""

    def told(text: bytes) -> bool:
        nonlocal seen
        with suppress(BlockingIOError):
            seen += os.read(controller, 65536)
        return text in seen

    environment = {**os.environ, "TERM": "dumb"}
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment) as process:
        try:
            wait_until(lambda: told(b"> "), "the prompt")
            os.write(controller, b"VRFY root\n")
            wait_until(lambda: told(b"VRFY root [rejected]"), "an answer")
            os.write(controller, b"QUIT\n")
            wait_until(lambda: told(b"disconnect from"), "the end")
            assert process.wait(20) == 0
        finally:
            process.kill()
            os.close(controller)
            os.close(terminal)
