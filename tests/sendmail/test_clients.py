"""Programs that people use: an MUA that verifies recipients, swaks, and nmap's SMTP scripts."""

from __future__ import annotations

import smtplib
import subprocess
from pathlib import Path

import pytest

from tests.rig.guard import Guard
from tests.rig.sendmail import USERS, RealSendmail, comparable

from .support import INSIDE, NO_VRFY, OUTSIDE, delivered, nothing_asked

KNOWN = [f"{user}{tag}@x.test" for user in USERS for tag in ("", "+one", "+two", "+three", "+four")]
UNKNOWN = [f"nobody-{number}@x.test" for number in range(15)]
RECIPIENTS = [address for pair in zip(KNOWN, UNKNOWN, strict=True) for address in pair]


def run(*command: str) -> str:
    """Run a program that must succeed; return its output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# -- an MUA ------------------------------------------------------------------------------


def verified(port: int, source: str, recipients: list[str]) -> list[tuple[int, str]]:
    """Verify recipients in one session."""
    with smtplib.SMTP("127.0.0.1", port, "me.test", 20, (source, 0)) as client:
        client.ehlo_or_helo_if_needed()
        return [(code, text.decode("ascii")) for code, text in map(client.verify, recipients)]


def test_an_mua_inside_verifies_thirty_recipients(stock: RealSendmail, guard: Guard) -> None:
    """Each gets sendmail's own answer, five a session, since sendmail makes the sixth wait."""
    assert len(RECIPIENTS) == 30
    for start in range(0, 30, 5):
        some = RECIPIENTS[start : start + 5]
        answers = verified(guard.port, INSIDE, some)
        assert answers == verified(stock.port, INSIDE, some)
        assert [code for code, _ in answers] == [250 if address in KNOWN else 550 for address in some]


def test_an_mua_outside_learns_nothing_about_thirty_recipients(stock: RealSendmail, guard: Guard) -> None:
    """All in one session: sendmail is not asked, so it makes nobody wait."""
    with nothing_asked(stock):
        answers = verified(guard.port, OUTSIDE, RECIPIENTS)
    assert answers == [(252, NO_VRFY.removeprefix("252 "))] * 30


@pytest.mark.parametrize("source", [INSIDE, OUTSIDE])
def test_an_mua_sends_mail(stock: RealSendmail, guard: Guard, source: str) -> None:
    """smtplib's sendmail(), with a recipient that sendmail refuses."""
    sender = f"mua-{source}@b.example"
    with smtplib.SMTP("127.0.0.1", guard.port, "me.test", 20, (source, 0)) as client:
        content = "Subject: s\r\n\r\n.dot\r\n"
        refused = client.sendmail(sender, ["george@x.test", UNKNOWN[0], "bob@x.test"], content, ["body=8bitmime"])
    assert list(refused) == UNKNOWN[:1]
    assert refused[UNKNOWN[0]][0] == 550
    (delivery,) = delivered(stock, sender)
    assert sorted(delivery.recipients) == ["bob", "george"]
    assert delivery.content.endswith(b"\n\n.dot\n")


# -- swaks --------------------------------------------------------------------------------


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("source", [INSIDE, OUTSIDE])
def test_swaks_sends_mail(stock: RealSendmail, guard: Guard, source: str, pipelined: bool) -> None:
    """The mail is the one that it sends without the guard."""
    sender = f"swaks-{source}-{pipelined}@b.example"
    for port in (stock.port, guard.port):
        run(
            *("swaks", "--server", "127.0.0.1", "--port", str(port), "--local-interface", source),
            *("--helo", "me.test", "--from", sender, "--to", "george@x.test,bob@x.test"),
            *("--header", "Subject: by swaks", "--body", "text\\n.dot\\n"),
            *(["--pipeline"] if pipelined else []),
        )
    direct, guarded = delivered(stock, sender, 2)
    assert comparable(direct.content) == comparable(guarded.content)
    assert b"by swaks" in guarded.content
    assert sorted(guarded.recipients) == ["bob", "george"]


# -- nmap ----------------------------------------------------------------------------------


def scan(port: int, script: str, *arguments: str) -> str:
    """Run a script of nmap against 127.0.0.1, from 127.0.0.1; return what it tells."""
    options = ["--script-args", ",".join(arguments)] if arguments else []
    # The plus sign has it run at a port that is not known for SMTP.
    told = run("nmap", "-Pn", "-n", "--unprivileged", "-p", str(port), "--script", f"+{script}", *options, "127.0.0.1")
    assert f"{script}: " in told
    return "\n".join(line for line in told.split("\n") if line.startswith("|"))


def test_nmap_sees_the_keywords_that_the_policy_leaves(stock: RealSendmail, guard: Guard, strict_guard: Guard) -> None:
    """nmap comes from 127.0.0.1: inside for the one guard, outside for the other."""
    direct, inside, outside = (scan(port, "smtp-commands") for port in (stock.port, guard.port, strict_guard.port))
    assert "PIPELINING, EXPN, VERB, 8BITMIME" in direct
    assert inside == direct.replace(", VERB, ", ", ")
    assert outside == direct.replace(", EXPN, VERB, ", ", ")


@pytest.mark.parametrize("method", ["VRFY", "EXPN", "RCPT"])
def test_nmap_finds_users_inside_only(
    stock: RealSendmail, guard: Guard, strict_guard: Guard, tmp_path: Path, method: str
) -> None:
    """But for RCPT, which mail needs: that tells who exists, with or without a guard."""
    names = tmp_path / "users"
    names.write_text("".join(f"{user}\n" for user in USERS))
    direct, inside, outside = (
        scan(
            port,
            "smtp-enum-users",
            f"smtp-enum-users.methods={{{method}}}",
            "smtp-enum-users.domain=x.test",
            f"userdb={names}",
        )
        for port in (stock.port, guard.port, strict_guard.port)
    )
    assert all(user in direct for user in USERS)
    assert inside == direct
    if method == "RCPT":
        assert outside == direct
    else:
        assert "Couldn't find any accounts" in outside
        assert not any(user in outside for user in USERS)
