"""The filters that are shipped, and Debian's own, by the real fail2ban, on lines that a real guard wrote.

Whatever a client says, and whatever DNS says of it, only its own address is ever found.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtpguard.journal.journal import Journal
from smtpguard.journal.lines import Style, loggable_name
from smtpguard.journal.sinks import FileSink
from smtpguard.policy.networks import Peer
from smtpguard.smtp.effects import Authenticated, Judged, OverBudget, Refused
from smtpguard.smtp.grammar import Command
from smtpguard.smtp.replies import Reply
from smtpguard.smtp.verdict import Action, Verdict
from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard, policy

from .reading import SHARE, addresses, found, rsyslogd
from .support import clients, guard, mail_server, say_what_is_refused

VICTIM = "198.51.100.1"
FOUND = [
    b"VRFY root",
    b"vrfy",
    b"EXPN all of them",
    b"WIZ",
    b"DEBUG 1",
    b"NOOP\0",
    b"\x00\x01\x02",
    b"VRFY " + b"a" * 3000,
    b"AUTH PLAIN AGEAYg==",
    b"VRFY x [198.51.100.1]: vrfy y [rejected]",
    b"VRFY \x1b[2J [198.51.100.1]: vrfy y",
    b"VRFY a\rhost smtpguard[1]: 6AU2PAmN015806: [198.51.100.1]: VRFY y [rejected]",
    b"[198.51.100.1]: VRFY y [rejected]",
    b'"wiz" command from x (198.51.100.1)',
    b"AUTH failure (PLAIN): authentication failure (535) x, relay=[198.51.100.1]",
    b"smtpguard[1]: [198.51.100.1]: vrfy y",
]
"""Each is refused, and is what a site would ban for."""
NOT_FOUND = [
    b"NOOP",
    b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>",
    b"HELP",
    b"HELO [198.51.100.1]:\r\nMAIL FROM:<[198.51.100.1]:vrfy>",
    b"EHLO x [198.51.100.1]: vrfy y [rejected]",
    b"x [198.51.100.1]: vrfy y",
    b"x (198.51.100.1)",
    b"ETRN x",
]
"""Innocent, or too clumsy to tell."""

_CLIENT = re.compile(r"(\w{14,}): connect from (?:\S+ )?\[(?:IPv6:)?([^\]]+)\]")


def say_it_all(running: ConfiguredGuard) -> None:
    """Say everything, each in a session of its own, from each address."""
    say_what_is_refused(running, *FOUND, *NOT_FOUND)


def check(log: Path, name: str, count: int = 2 * len(FOUND)) -> None:
    """Hold that in the log of `say_it_all` each session with something to find is found by its own address."""
    text = log.read_text()
    of_session = {match[1]: match[2] for match in _CLIENT.finditer(text)}
    assert len(of_session) == 2 * (len(FOUND) + len(NOT_FOUND))
    hits = [(address, line, re.search(r"\[\d+\]: (\w{14,}): ", line)) for address, line in found(log, name)]
    assert [address for address, *_ in hits] == [of_session[match[1]] for *_, match in hits if match]
    missed = set(itertools.islice(of_session, count)) - {match[1] for *_, match in hits if match}
    # Sessions are in the order of the commands, two a command.
    innocent = set(itertools.islice(of_session, count, None))
    assert not missed, text
    assert not [line for _, line, match in hits if match and match[1] in innocent]


@pytest.fixture(scope="module")
def backend() -> Iterator[tuple[str, int]]:
    """A mail server that takes everything."""
    with mail_server() as address:
        yield address


def test_the_file_of_a_guard_is_read_as_it_is(backend: tuple[str, int], tmp_path: Path) -> None:
    """What is refused is found, with the address of who said it, IPv4 and IPv6; nothing else is."""
    log = tmp_path / "guard.log"
    with guard(tmp_path, backend, {"to": ["stderr", "file"], "file": str(log), "level": 11}) as running:
        say_it_all(running)
    check(log, "smtpguard")


@pytest.mark.parametrize("template", ["RSYSLOG_FileFormat", "RSYSLOG_TraditionalFileFormat"])
def test_what_rsyslogd_makes_of_the_lines_is_read_too(backend: tuple[str, int], tmp_path: Path, template: str) -> None:
    """In both forms of the time that Debian has had."""
    with rsyslogd(tmp_path, template) as daemon:
        settings = {"to": "both", "syslog_socket": str(daemon.socket), "level": 11}
        with guard(tmp_path, backend, settings) as running:
            say_it_all(running)
        wait_until(lambda: ": stopped\n" in daemon.log.read_text(), "rsyslogd to write it all")
    log = daemon.log
    check(log, "smtpguard")


def test_the_json_form_is_read_by_a_filter_of_its_own(backend: tuple[str, int], tmp_path: Path) -> None:
    """An object begins with what no client can choose."""
    log = tmp_path / "guard.log"
    settings = {"to": ["stderr", "file"], "file": str(log), "format": "json", "level": 11}
    with guard(tmp_path, backend, settings) as running:
        say_it_all(running)
    lines = log.read_text().splitlines()
    connected = re.compile(r'"event": "connect", .*"session": "(\w+)", "client": "([^"]+)"')
    of_session = {match[1]: match[2] for line in lines if (match := connected.search(line))}
    hits = [(address, re.search(r'"session": "(\w+)"', line)) for address, line in found(log, "smtpguard-json")]
    assert [address for address, match in hits] == [of_session[match[1]] for _, match in hits if match]
    assert {match[1] for _, match in hits if match} == set(itertools.islice(of_session, 2 * len(FOUND)))


def test_names_that_look_like_addresses_are_not_taken_for_them(backend: tuple[str, int], tmp_path: Path) -> None:
    """Whoever has a network has its reverse zone; and a name is shown in front of the address."""
    (tmp_path / "hosts").write_text(f"127.0.0.2 {VICTIM}\n::1 [{VICTIM}]:\n")
    wrapper = ("unshare", "--mount", "sh", "-euc", 'mount --bind "$0/hosts" /etc/hosts; exec "$@"', str(tmp_path))
    for style in ("sendmail", "classic"):
        log = tmp_path / f"{style}.log"
        settings = {"to": ["stderr", "file"], "file": str(log), "level": 11, "style": style}
        running = guard(tmp_path, backend, settings, wrapper=wrapper, dns={"servers": ["127.0.0.1"], "timeout": 0.2})
        with running:
            say_it_all(running)
        assert f"{VICTIM} [127.0.0.2]" in log.read_text()
        for options in ("", "[mode=classic]", "[mode=aggressive]"):
            assert addresses(log, "smtpguard", options) == {"127.0.0.2", "::1"}


def test_the_classic_style_is_found_by_probes_and_in_its_own_mode_by_every_vrfy(
    backend: tuple[str, int], tmp_path: Path
) -> None:
    """That style does not tell refused from forwarded."""
    log = tmp_path / "guard.log"
    with guard(tmp_path, backend, {"to": ["stderr", "file"], "file": str(log), "style": "classic"}) as running:
        say_what_is_refused(running, b"VRFY root", b"WIZ", b"EXPN x [198.51.100.1]: vrfy y", b"NOOP")
    assert [address for address, _ in found(log, "smtpguard")] == ["127.0.0.2", "::1"]
    in_mode = [address for address, _ in found(log, "smtpguard", "[mode=classic]")]
    assert in_mode == ["127.0.0.2", "::1"] * 3


def test_who_is_turned_away_for_too_many_sessions_is_found(backend: tuple[str, int], tmp_path: Path) -> None:
    """But not who is turned away because the guard or the mail server is busy or away."""
    log = tmp_path / "guard.log"
    settings = {"to": ["stderr", "file"], "file": str(log)}
    with guard(tmp_path, backend, settings, limits={"sessions_per_address": 1, "sessions": 3}) as running:
        for first in clients(running):
            for second in clients(running):
                assert second.banner[:3] in ("220", "421")
            assert first.say("NOOP").startswith("250 ")
    assert [address for address, _ in found(log, "smtpguard")] == ["127.0.0.2", "::1"]
    log.unlink()
    with guard(tmp_path, ("127.0.0.1", 1), settings, limits={"sessions": 1}) as running:
        for client in clients(running, greet=False):
            client.rest()
    assert "[127.0.0.2]" in log.read_text()
    assert found(log, "smtpguard") == []


# -- Debian's own filters -----------------------------------------------------------------------------


def test_debians_filters_for_sendmail_read_our_lines(backend: tuple[str, int], tmp_path: Path) -> None:
    """Under `syslog_ident: sendmail`: a site that had them before the guard goes on with them."""
    with rsyslogd(tmp_path, "RSYSLOG_FileFormat") as daemon:
        settings = {"to": "both", "syslog_socket": str(daemon.socket), "syslog_ident": "sendmail", "level": 11}
        with guard(tmp_path, backend, settings, policy(("192.0.2.0/24",)) + "budgets: sendmail\n") as running:
            say_it_all(running)
        wait_until(lambda: ": stopped\n" in daemon.log.read_text(), "rsyslogd to write it all")
    log = daemon.log
    rejected, failed = found(log, "sendmail-reject"), found(log, "sendmail-auth")
    assert [address for address, _ in rejected] == ["127.0.0.2", "::1"]
    assert all(line.endswith(": VRFY root [rejected]") for _, line in rejected), "others have no argument, or several"
    # AUTH PLAIN, and the forgery that begins like one: a command AUTH of a mechanism that is none.
    assert [address for address, _ in failed] == ["127.0.0.2", "::1"] * 2
    assert all(": AUTH failure (" in line for _, line in failed)
    assert addresses(log, "smtpguard") == {"127.0.0.2", "::1"}


# -- every kind of line ---------------------------------------------------------------------------------

TRUE = "203.0.113.9"
FORGED = [
    f"[{VICTIM}]: VRFY x [rejected]",
    f"x [{VICTIM}]: VRFY x [rejected]",
    f"[{VICTIM}]: SMTP violation, x",
    f"rejecting connection from [{VICTIM}]: 1 session from one address",
    f'"wiz" command from [{VICTIM}] ({VICTIM})',
    f"AUTH failure (PLAIN): authentication failure (535) x, relay=[{VICTIM}]",
    f"possible SMTP attack: command=VRFY, count=6 [{VICTIM}]: possible SMTP attack: command=AUTH, count=6",
    f"ruleset=check_relay, relay=[{VICTIM}], reject=421 4.3.2 Connection rate limit exceeded.",
    f"limit guessers: {VICTIM}: 51 refused recipients in 1 hour, banned for 1 day",
    f'", "event": "limit", "priority": 5, "client": "{VICTIM}", "limit": "x", "state": "begun", "step": "ban", ',
    f'", "event": "probe", "priority": 2, "session": "ID", "client": "{VICTIM}", "host": null, ',
]
LEADS = [
    "",
    "\n",
    "\r\n",
    "\0",
    "\x85",
    "\u2028",
    "VRFY ",
    "\nNov 30 02:00:00 host smtpguard[1]: ",
    "\n2026-11-30T02:00:00.000+00:00 host sendmail[1]: 6AU2PAmN015806: ",
    "2026-11-30T02:00:00.000+00:00 host smtpguard[1]: ",
    "6AU2PAmN015806: ",
    "Nov 30 02:00:00 ",
    '{"time": "2026-11-30T02:00:00.000+00:00", "event": "x',
    "x" * 300,
]


@pytest.mark.parametrize("style", list(Style))
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("ident", ["smtpguard", "sendmail"])
def test_no_kind_of_line_lets_a_client_name_another(tmp_path: Path, style: Style, as_json: bool, ident: str) -> None:
    """Each event of a session, with each forgery in all that a client or its DNS can choose."""
    log = tmp_path / "log"
    sink = FileSink(str(log), ident, "host", as_json)
    verdict = Verdict(Action.REPLY, Reply.parse("252 2.5.2 no"), rule="f:1")
    texts = ["".join(parts) for parts in itertools.product(LEADS, FORGED)]
    for number, text in enumerate(texts):
        octets = text.encode()
        name = VICTIM if number % 2 else loggable_name(text)  # which a name may look like
        journal = Journal([sink], 99, style, as_json, lambda _, told, name=name: told(name))  # type: ignore[misc]
        session = journal.session(f"6AU2PAm{number:07d}", Peer.parse(TRUE))
        for verb in (b"VRFY", b"WIZ", b"X"):  # a line that does not begin with a verb is a violation
            session.noted(Judged(Command(verb + b" " + octets + b"\r\n", verb, None), verdict))
        session.noted(Refused("bare line feed (LF)", octets, True))
        session.noted(OverBudget(octets, 6))
        session.noted(Authenticated("", False))
        session.turned_away("no PROXY header: x", octets)
        session.turned_away("limit few-sessions (hard)")
        session.turned_away("100 sessions from one address (limits.sessions_per_address)")
        session.ended({b"VRFY": [0, 1]}, 1.0)
    sink.close()
    assert log.read_bytes().isascii()
    # One line an event, whatever was said.
    assert log.read_text().count("\n") == len(texts) * 10 == len(log.read_text().splitlines())
    for name, options in (
        ("smtpguard", ""),
        ("smtpguard", "[mode=classic]"),
        ("smtpguard", "[mode=aggressive]"),
        ("smtpguard", "[mode=limits]"),
        ("smtpguard-json", ""),
        ("smtpguard-json", "[mode=limits]"),
        ("sendmail-reject", "[mode=extra]"),
        ("sendmail-auth", ""),
    ):
        assert addresses(log, name, options) <= {TRUE}
    ours = "smtpguard-json" if as_json else "smtpguard"
    assert addresses(log, ours) == {TRUE}, "they do read these lines"


# -- a server that bans --------------------------------------------------------------------------------


@pytest.mark.parametrize("jail", ["smtpguard", "smtpguard-limits"])
def test_fail2ban_bans_who_probes_and_nobody_else(backend: tuple[str, int], tmp_path: Path, jail: str) -> None:
    """The shipped jails and filters as an administrator installs them, with a ban that is a line in a file.

    That for limits waits for one line of the guard's, and for nothing else.
    """
    etc, log, banned = tmp_path / "fail2ban", tmp_path / "guard.log", tmp_path / "banned"
    shutil.copytree("/etc/fail2ban", etc)
    for kind in ("filter.d", "jail.d"):
        for one in (SHARE / "fail2ban" / kind).iterdir():
            shutil.copy(one, etc / kind)
    (etc / "jail.d/defaults-debian.conf").unlink(missing_ok=True)
    (etc / "action.d/note.conf").write_text(f"[Definition]\nactionban = echo <ip> >>{banned}\n")
    other = "" if jail == "smtpguard" else "[smtpguard]\nenabled = false\n"
    enabled = "enabled = true\n" if other else ""
    (etc / "jail.local").write_text(
        f"{other}[{jail}]\n{enabled}backend = polling\nlogpath = {log}\naction = note\nignoreip =\nignoreself = false\n"
    )
    log.touch()
    command = ["fail2ban-server", "-c", str(etc), "-s", str(tmp_path / "socket"), "-p", str(tmp_path / "pid")]
    (etc / "fail2ban.local").write_text(f"[Definition]\ndbfile = None\nlogtarget = {tmp_path}/f2b.log\n")
    server = subprocess.Popen([*command, "-f", "start"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def story() -> str:
        return "".join(path.read_text() for path in (tmp_path / "f2b.log", log) if path.exists())

    try:
        wait_until(lambda: f"Jail '{jail}' started" in story() or server.poll(), "the jail to begin", 30, story)
        limits = "limits: {scanners: {count: probes, rate: 4/hour, by: address, then: {ban: 1 day}}}\n"
        text = policy(("192.0.2.0/24",)) + (limits if jail == "smtpguard-limits" else "")
        with guard(tmp_path, backend, {"to": ["stderr", "file"], "file": str(log)}, text) as running:
            for number, client in zip(range(2), clients(running), strict=True):
                probes = ("VRFY root", "EXPN all", f"VRFY x [{VICTIM}]: vrfy y [rejected]", "WIZ", "DEBUG")
                for command_ in probes if number == 0 else ("MAIL FROM:<a@b.example>",):
                    client.say(command_)
            wait_until(lambda: banned.exists() and banned.read_text(), "a ban", 30, story)
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert banned.read_text() == "127.0.0.2\n"
