"""The guard's log against sendmail's own, for what the same client has done."""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.sendmail import PrivateSyslog, RealSendmail
from tests.rig.wait import wait_until

from .support import INSIDE, OUTSIDE, ConfiguredGuard, ask, hello, policy

# What syslog(3) sends: priority, time, program, process; then sendmail's id and text.
_DATAGRAM = re.compile(r"<(\d+)>\w{3} [ \d]\d \d\d:\d\d:\d\d (\S+)\[(\d+)\]: (?:(\w{14,}): )?(.*)")
_ID = re.compile(r"\b(\w{14,}): ")
_V6 = re.compile(r"IPv6:([0-9A-Fa-f:]+)")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"

# The prefix is run in a mount namespace: a /dev with a log socket of our own, and a hosts file.
_PRIVATE_LOG = """
mount -t tmpfs -o mode=0755 tmpfs "$0/dev"
cp -a /dev/null /dev/zero /dev/random /dev/urandom "$0/dev/"
ln -s "$0/log" "$0/dev/log"
mount --move "$0/dev" /dev
mount --bind "$0/hosts" /etc/hosts
exec "$@"
"""


class LoggingGuard(ConfiguredGuard):
    """A guard in front of `server` whose syslog is ours, and for which 127.0.0.1 and ::1 are localhost."""

    def __init__(self, folder: Path, server: RealSendmail, **log: object) -> None:
        """Prepare the files; `log` are the settings of that name."""
        (folder / "dev").mkdir()
        (folder / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        super().__init__(
            folder,
            (server.address, server.port),
            policy(),
            {"log": log},
            ("127.0.0.1", "::1"),
            ("unshare", "--mount", "sh", "-euc", _PRIVATE_LOG, str(folder)),
        )
        self._syslog = PrivateSyslog(folder / "log")
        self._last = ExitStack()
        self._last.callback(self._syslog.close)

    def stop(self) -> int:
        """Stop it, then the log."""
        with self._last:
            return super().stop()

    def datagrams(self) -> list[str]:
        """Return what came to its syslog."""
        return self._syslog.lines()


class SyslogOnlyGuard(LoggingGuard):
    """A guard that is silent on stderr: what it says is read from its syslog."""

    def lines(self) -> list[str]:
        """Return its log."""
        return self.datagrams()

    def written(self) -> list[str]:
        """Return the lines of its stderr."""
        return super().lines()


@pytest.fixture(scope="module")
def logging(stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoggingGuard]:
    """A guard that logs all it can, to stderr and syslog, as if it were sendmail."""
    with LoggingGuard(tmp_path_factory.mktemp("log"), stock, to="both", ident="sendmail", level=20) as running:
        yield running


_fences = itertools.count(1)


def session(lines: Callable[[], Sequence[str]], listener: tuple[str, int], source: str, *commands: str) -> str:
    """Say the commands in a session of their own, behind a first VRFY; return the id that the log gives it.

    The log is written by and by: only the id tells what of it belongs together.
    """
    fence = f"VRFY fence-{next(_fences)}-"
    with Talk(*listener, source) as client:
        ask(client, fence, *commands)

    def found() -> str | None:
        return next((match[1] for line in lines() if fence in line and (match := _ID.search(line))), None)

    return wait_until(found, f"a line with {fence}", 20, lambda: "\n".join(lines()))


def told(lines: Callable[[], Sequence[str]], session_id: str, pattern: str) -> str:
    """Return the line of a session that fits; the first VRFY does not count."""

    def found() -> str | None:
        of_session = (line for line in lines() if f"{session_id}: " in line and "VRFY fence-" not in line)
        return next((line for line in of_session if re.search(pattern, line)), None)

    return wait_until(found, f"a line {pattern!r} of {session_id}", 20, lambda: "\n".join(lines()))


def own_and_real(
    guard: LoggingGuard, server: RealSendmail, source: str, command: str, pattern: str
) -> tuple[tuple[str, str], tuple[str, str]]:
    """Say a command to both; return (priority, text) of what both logged about it."""
    family = ":" in source
    pairs = []
    for listener, lines in (
        (guard.listeners[family], guard.datagrams),
        (server.listeners[family], lambda: server.log().split("\n")),
    ):
        match = _DATAGRAM.fullmatch(told(lines, session(lines, listener, source, command), pattern))
        assert match is not None
        assert match[2] == "sendmail"
        pairs.append((match[1], _V6.sub(lambda v6: str(ipaddress.ip_address(v6[1])), match[5])))
    return pairs[0], pairs[1]


# -- as sendmail ------------------------------------------------------------------------

LONG = "abcdefghijklmnopqrstuvwxyz" * 20

ASKED = [
    "VRFY george",
    "vrFy  George, with blanks ",
    "VRFY",
    "VRFY back\\slash",
    'VRFY "quoted"',
    "EXPN all",
    "expn <all@x.test>",
    "VRFY " + "\\" * 150,
    "VRFY " + "\\" * 300,
    "VRFY " + LONG[:197],
    "VRFY " + LONG[:198],
    "VRFY " + LONG[:199],
    "VRFY " + LONG[:200],
    "EXPN " + LONG,
]


@pytest.mark.parametrize("command", ASKED)
def test_a_rejected_question_is_logged_as_sendmail_does(
    logging: LoggingGuard, private: RealSendmail, command: str
) -> None:
    """Octet by octet, from an address without a name."""
    own, real = own_and_real(logging, private, OUTSIDE, command, r"(?i): (vrfy|expn)")
    assert own == real
    assert own[1].startswith("[127.0.0.2]: ")
    assert own[1].endswith(" [rejected]")


@pytest.mark.parametrize("command", ASKED)
@pytest.mark.parametrize("source", [INSIDE, "::1"])
def test_an_answered_question_is_logged_as_sendmail_does(
    logging: LoggingGuard, stock: RealSendmail, source: str, command: str
) -> None:
    """With the name that belongs to the address."""
    own, real = own_and_real(logging, stock, source, command, r"(?i): (vrfy|expn)")
    assert own == real
    assert own[1].startswith("localhost [")


def test_etrn_is_logged_as_sendmail_does(logging: LoggingGuard, stock: RealSendmail) -> None:
    own, real = own_and_real(logging, stock, INSIDE, "ETRN x.test", ": ETRN ")
    assert own == real


@pytest.mark.parametrize("command", ["DEBUG", "debug 1", "ShowQ", "WIZ all of it", "DEBUG " + LONG])
@pytest.mark.parametrize("source", [OUTSIDE, INSIDE, "::1"])
def test_a_probe_is_logged_as_sendmail_does(
    logging: LoggingGuard, stock: RealSendmail, source: str, command: str
) -> None:
    own, real = own_and_real(logging, stock, source, command, '" command from ')
    assert own == real
    assert own[0] == "18", "facility mail, critical"


@pytest.mark.parametrize("argument", ["a\x1bb", "a\tb", "\x01\x02\x7f", "\xe4\xff", "\x0b\x0c", LONG + "\x08"])
def test_octets_are_escaped_as_sendmail_does(logging: LoggingGuard, private: RealSendmail, argument: str) -> None:
    """Such a line the guard refuses as such, so only what it shows of the line is compared."""
    own, real = own_and_real(logging, private, OUTSIDE, f"VRFY {argument}", ": VRFY ")
    shown = [
        text.partition(": VRFY ")[2].removesuffix(end) for (_, text), end in ((own, " [closed]"), (real, " [rejected]"))
    ]
    assert shown[0] == shown[1]
    assert own[1].startswith("[127.0.0.2]: SMTP violation, ")


def test_no_octet_of_a_client_gets_into_the_log_raw(logging: LoggingGuard) -> None:
    """A client cannot forge a line, whatever it sends."""
    forged = "VRFY a\r6AAAAAAA000001: localhost [127.0.0.1]: VRFY forged"
    session_id = session(logging.lines, logging.listeners[0], OUTSIDE, forged)
    line = told(logging.lines, session_id, "forged")
    assert line.startswith(f"{session_id}: [127.0.0.2]: SMTP violation, bare carriage return")
    assert "a\\r6AAAAAAA" in line


def test_the_session_id_has_the_shape_of_sendmails(logging: LoggingGuard, stock: RealSendmail) -> None:
    """Time to the second, two digits of sequence, process id; one for all lines of a session, no two alike."""

    def real_lines() -> list[str]:
        return stock.log().split("\n")

    own = [session(logging.lines, logging.listeners[0], OUTSIDE, "NOOP", "EXPN all") for _ in range(2)]
    real = session(real_lines, stock.listeners[0], OUTSIDE)
    for session_id in (*own, real):
        assert abs(_time_of(session_id) - time.time()) < 60
    assert len(own[0]) == len(real) or logging.pid > 999_999
    assert own[0][8:] == f"{logging.pid:06d}"
    assert own[0] != own[1]
    for session_id in own:
        for pattern in (": connect from", "EXPN all", "disconnect from"):
            told(logging.lines, session_id, pattern)


def _time_of(session_id: str) -> float:
    """Return the second that an id tells."""
    year, month, day, hour, minute, second = (_DIGITS.index(digit) for digit in session_id[:6])
    century = datetime.now(UTC).year // 60 * 60  # of 60 years, as one digit can tell; 1900 is the 40th
    return datetime(century + (year + 40) % 60, month + 1, day, hour, minute, second, tzinfo=UTC).timestamp()


def summary(guard: LoggingGuard, source: str, *commands: str) -> str:
    """Return what the last line of a session says about its commands, a VRFY before them included."""
    line = told(guard.lines, session(guard.lines, guard.listeners[0], source, *commands), "disconnect from")
    return line.partition("disconnect from ")[2]


def test_the_summary_counts_what_passed(logging: LoggingGuard) -> None:
    assert summary(logging, OUTSIDE, "EHLO me.test", "VRFY a", "EXPN c", "NOOP") == (
        "[127.0.0.2] vrfy=0/2 ehlo=1 expn=0/1 noop=1 commands=2/5"
    )


def test_a_mail_is_summed_up_with_what_sendmail_refused(logging: LoggingGuard) -> None:
    mail = ("MAIL FROM:<a@b.example>", "RCPT TO:<nobody-of-that-name@x.test>", "DATA")
    assert summary(logging, INSIDE, "EHLO me.test", *mail, "FOO", "QUIT") == (
        "localhost [127.0.0.1] vrfy=0/1 ehlo=1 mail=1 rcpt=0/1 data=0/1 unknown=0/1 quit=1 commands=3/7"
    )


# -- where to --------------------------------------------------------------------------------


def test_stderr_and_syslog_get_the_same_lines(logging: LoggingGuard) -> None:
    session_id = session(logging.lines, logging.listeners[0], OUTSIDE, "DEBUG", "EXPN all", "  EXPN all")
    for lines in (logging.lines, logging.datagrams):
        told(lines, session_id, "disconnect from")
    texts = [line for line in logging.lines() if line.startswith(session_id)]
    datagrams = [line.partition("]: ") for line in logging.datagrams() if f" {session_id}: " in line]
    assert len(texts) == 6
    assert [body for _, _, body in datagrams] == texts
    # Facility mail throughout.
    assert all(re.fullmatch(rf"<(1[6-9]|2[0-2])>.{{15}} sendmail\[{logging.pid}", head) for head, _, _ in datagrams)


def test_syslog_alone_leaves_stderr_silent(stock: RealSendmail, tmp_path: Path) -> None:
    """Under the guard's own name, since no other is set."""
    with SyslogOnlyGuard(tmp_path, stock, to="syslog") as guard:
        line = told(guard.datagrams, session(guard.datagrams, guard.listeners[0], OUTSIDE, "VRFY george"), "VRFY")
    match = _DATAGRAM.fullmatch(line)
    assert match is not None
    assert match.groups()[:3] == ("22", "smtpguard", str(guard.pid))
    assert match[5] == "[127.0.0.2]: VRFY george [rejected]"
    assert guard.written() == []


# -- other forms -------------------------------------------------------------------------------


def test_the_classic_style(stock: RealSendmail, tmp_path: Path) -> None:
    """As the logs of the 1990s: no id, no [rejected]."""
    with LoggingGuard(tmp_path, stock, style="classic") as guard:
        for source, command, expected in (
            (INSIDE, "VRFY george", "localhost: VRFY george"),
            (OUTSIDE, "vrfy all", "[127.0.0.2]: vrfy all"),
            ("::1", "EXPN all", "localhost: EXPN all"),
            (INSIDE, "DEBUG", '"debug" command from localhost (127.0.0.1)'),
            (OUTSIDE, "debug", '"debug" command from [127.0.0.2] (127.0.0.2)'),
        ):
            with Talk(*guard.listeners[":" in source], source) as client:
                client.say(command)
            guard.wait_line(f"^{re.escape(expected)}$")


def test_json_lines_have_fields(stock: RealSendmail, tmp_path: Path) -> None:
    with LoggingGuard(tmp_path, stock, format="json", level=11) as guard:
        with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
            ask(client, "VRFY george", "\tVRFY george", "WIZ")
        with Talk("127.0.0.1", guard.port, INSIDE) as client:
            ask(client, "EHLO me.test", "EXPN all")
        guard.wait_line("disconnect.*localhost")
        guard.wait_line(r"disconnect.*127\.0\.0\.2")
        parsed = [json.loads(line) for line in guard.lines()]
    assert all(datetime.fromisoformat(one["time"]).tzinfo is not None for one in parsed)
    assert all(isinstance(one["priority"], int) and one["message"] for one in parsed)
    outside = [one for one in parsed if one.get("client") == OUTSIDE]
    inside = [one for one in parsed if one.get("client") == INSIDE]
    assert [one["event"] for one in outside] == ["connect", "refused", "violation", "probe", "disconnect"]
    assert [one["event"] for one in inside] == ["connect", "forwarded", "disconnect"]
    assert {one["host"] for one in outside} == {None}
    assert {one["host"] for one in inside} == {"localhost"}
    assert len({one["session"] for one in parsed if "session" in one}) == 2
    assert {key: outside[1][key] for key in ("verb", "line", "verdict", "reply")} == {
        "verb": "VRFY",
        "line": "VRFY george",
        "verdict": "reply",
        "reply": "252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)",
    }
    assert re.search(r"policy\.yaml:\d+", outside[1]["rule"])
    assert outside[2]["line"] == "\\tVRFY george"
    assert (outside[-1]["passed"], outside[-1]["commands"]) == (0, 3)
    assert inside[-1]["verbs"] == {"ehlo": [1, 1], "expn": [1, 1]}


# The kinds of lines, by the level from which on they are written.
KINDS = {
    1: '"debug" command from ',
    4: "SMTP violation, .* \\[closed\\]$",
    6: "VRFY george \\[rejected\\]$",
    9: "disconnect from ",
    11: ": connect from ",
}


@pytest.mark.parametrize("level", [0, 1, 5, 6, 9, 11])
def test_the_level_decides_what_is_written(stock: RealSendmail, tmp_path: Path, level: int) -> None:
    with LoggingGuard(tmp_path, stock, level=level) as guard:
        with hello(guard.port, OUTSIDE) as client:
            ask(client, "DEBUG", "VRFY george")
            client.send(b"NOOP\0\r\n")
            client.rest()
        assert guard.stop() == os.EX_OK  # what it had to say, it has said
    found = {kind for kind, pattern in KINDS.items() if any(re.search(pattern, line) for line in guard.lines())}
    assert found == {kind for kind in KINDS if kind <= level}


@pytest.mark.parametrize(("level", "expected"), [(0, set()), (5, {1}), (6, {1, 6})])
def test_sendmail_has_the_same_levels(level: int, expected: set[int]) -> None:
    """What is asked of LogLevel above holds for sendmail itself, as far as it has these lines."""
    with RealSendmail(privacy_options="novrfy", log_level=level) as server:
        with hello(server.port, OUTSIDE) as client:
            ask(client, "DEBUG", "VRFY george", "QUIT")
        for kind in expected:
            server.wait_log(KINDS[kind])
        lines = server.log().split("\n")
    assert {kind for kind in (1, 6) if any(re.search(KINDS[kind], line) for line in lines)} == expected
