"""The process as its administrator meets it: exit statuses, the relay check, listeners, limits, the end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.rig.client import Talk
from tests.rig.guard import ROOT, Guard, GuardFailed, client_endpoint
from tests.rig.sendmail import RealSendmail, free_port
from tests.rig.wait import wait_until

from .support import (
    ALL,
    GEORGE,
    INSIDE,
    NO_EXPN,
    NO_VRFY,
    OUTSIDE,
    ConfiguredGuard,
    ask,
    delivered,
    hello,
    mail,
    policy,
    server_endpoint,
    write_settings,
)

NOBODY_THERE = "tcp:127.0.0.1:1"
ELSEWHERE = "RCPT TO:<somebody@else.example>"
BY_NETWORK = {"internal": "127.0.0.1", "default": "127.0.0.25"}
"""Source addresses towards sendmail, which relays for the first one."""


def run(*arguments: str, wrapper: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run `smtpguard` with a command line that must make it end by itself."""
    command = [*wrapper, sys.executable, "-m", "smtpguard", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)


# -- exit statuses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run"], "give --listen and --backend, or --config"),
        (["run", "--listen", "127.0.0.1:25", "--backend", NOBODY_THERE], "write tcp:25:interface=0.0.0.0"),
        (["run", "--listen", "tcp:0", "--backend", "127.0.0.1:25"], "write tcp:127.0.0.1:2525"),
        (["run", "--listen", "tcp:0", "--backend", NOBODY_THERE, "--relay-check", "perhaps"], "perhaps"),
        (["serve"], "serve"),
    ],
)
def test_wrong_usage_ends_with_64(arguments: list[str], text: str) -> None:
    done = run(*arguments)
    assert done.returncode == os.EX_USAGE
    assert text in done.stderr


@pytest.mark.parametrize("option", ["--config", "--policy"])
def test_a_missing_file_ends_with_66(tmp_path: Path, option: str) -> None:
    missing = str(tmp_path / "missing.yaml")
    done = run("run", "--listen", "tcp:0:interface=127.0.0.1", "--backend", NOBODY_THERE, option, missing)
    assert done.returncode == os.EX_NOINPUT
    assert missing in done.stderr


def test_a_port_that_it_may_not_have_ends_with_77() -> None:
    """Without capabilities root is not allowed more than anybody else; the text names what is missing."""
    assert int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 26
    arguments = ("run", "--listen", "tcp:26:interface=127.0.0.1", "--backend", NOBODY_THERE, "--relay-check", "off")
    done = run(*arguments, wrapper=("setpriv", "--inh-caps=-all", "--bounding-set=-all"))
    assert done.returncode == os.EX_NOPERM
    assert "CAP_NET_BIND_SERVICE" in done.stderr


def test_a_port_in_use_ends_with_69(stock: RealSendmail) -> None:
    listen = f"tcp:{stock.port}:interface=127.0.0.1"
    done = run("run", "--listen", listen, "--backend", NOBODY_THERE, "--relay-check", "off")
    assert done.returncode == os.EX_UNAVAILABLE
    assert f"cannot listen at {listen}: " in done.stderr


def test_every_fault_of_a_policy_is_told_and_ends_with_78(tmp_path: Path) -> None:
    path = tmp_path / "faulty.yaml"
    path.write_text("networks: {internal: [10.0.0.1/8]}\nrulesets:\n  check_vfry: [{action: reply}]\n")
    done = run("run", "--listen", "tcp:0", "--backend", NOBODY_THERE, "--policy", str(path))
    assert done.returncode == os.EX_CONFIG
    assert re.search(rf"^{re.escape(str(path))}:1:\d+: .*10\.0\.0\.0/8", done.stderr, re.MULTILINE)
    assert re.search(rf"^{re.escape(str(path))}:3:\d+: .*check_vrfy", done.stderr, re.MULTILINE)


def test_a_policy_whose_test_fails_is_not_served_but_ends_with_78(tmp_path: Path) -> None:
    path = tmp_path / "failing.yaml"
    path.write_text(policy() + "tests: [{from: 203.0.113.9, command: VRFY george, expect: 250}]\n")
    for command in (["run", "--listen", "tcp:0", "--backend", NOBODY_THERE], ["check"]):
        done = run(*command, "--policy", str(path))
        assert done.returncode == os.EX_CONFIG
        assert "expected 250, got" in done.stderr


def test_every_fault_of_the_settings_is_told_and_ends_with_78(tmp_path: Path) -> None:
    settings = {
        "log": {"levle": 9},
        "limits": {"sessions": 0},
        "backend": {"endpoint": NOBODY_THERE, "bind": {"internal": "here"}},
    }
    path = write_settings(tmp_path, ("127.0.0.1", 1), policy(), settings)
    done = run("run", "--config", str(path))
    assert done.returncode == os.EX_CONFIG
    for word in ("levle", "sessions", "here"):
        assert re.search(rf"^{re.escape(str(path))}:\d+:\d+: .*{word}", done.stderr, re.MULTILINE), word


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(stock: RealSendmail, number: signal.Signals) -> None:
    with Guard((stock.address, stock.port), policy()) as guard:
        guard.signal(number)
        assert guard.wait_end() == os.EX_OK


# -- the relay check ---------------------------------------------------------------------------


@pytest.mark.parametrize("option", [["--relay-check", "enforce"], []])
def test_an_open_relay_is_not_made(stock: RealSendmail, option: list[str]) -> None:
    """A stock sendmail relays for 127.0.0.1: by default the guard ends, and says what to do."""
    backend = client_endpoint(stock.address, stock.port)
    done = run("run", "--listen", "tcp:0:interface=127.0.0.1", "--backend", backend, *option)
    assert done.returncode == os.EX_CONFIG
    assert re.search(r"would relay mail from 127\.0\.0\.1 to anywhere .*bind: ", done.stderr)
    assert "listening" not in done.stderr


def asked_by(server: RealSendmail, act: Callable[[], object]) -> list[str]:
    """Return what sendmail is asked by the first one who says QUIT to it while something is done."""
    read_before = len(server.traffic())

    def lines() -> list[str]:
        return re.findall(r"<<< (.*)\r", server.traffic()[read_before:])

    act()
    return wait_until(lambda: lines() if "QUIT" in lines() else None, "a QUIT", 5, server.traffic)


@pytest.mark.parametrize("mode", ["enforce", "warn"])
def test_the_relay_check_asks_politely(stock: RealSendmail, mode: str) -> None:
    """With the empty sender and a recipient elsewhere; then it takes that back, and says good-bye."""

    def act() -> None:
        with contextlib.suppress(GuardFailed), Guard((stock.address, stock.port), policy(), relay_check=mode):
            pass

    said = asked_by(stock, act)
    assert said[0].startswith("HELO ")
    assert said[1] == "MAIL FROM:<>"
    assert re.fullmatch(r"RCPT TO:<\S+@\S+>", said[2])
    assert said[3:] == ["RSET", "QUIT"]


def test_warn_tells_and_serves(stock: RealSendmail) -> None:
    with Guard((stock.address, stock.port), policy(), relay_check="warn") as guard:
        guard.wait_line("relay check: .* would relay .*bind: ")
        with hello(guard.port, OUTSIDE) as client:
            assert client.say("VRFY george") == NO_VRFY


def bound_to(server: RealSendmail, bind: object) -> dict[str, object]:
    """Return settings with a source address towards sendmail, under the strictest relay check."""
    return {
        "relay_check": "enforce",
        "backend": {"endpoint": client_endpoint(server.address, server.port), "bind": bind},
    }


def test_with_bind_by_network_insiders_relay_and_nobody_else(stock: RealSendmail, tmp_path: Path) -> None:
    """The recommended set-up, before a stock sendmail on the same host."""
    settings = bound_to(stock, BY_NETWORK)
    with ConfiguredGuard(tmp_path, (stock.address, stock.port), policy(), settings) as guard:
        guard.wait_line("relay check: .* refuses to relay mail from 127.0.0.25")
        with hello(guard.port, INSIDE) as client:
            assert ask(client, "MAIL FROM:<a@b.example>", ELSEWHERE)[1].startswith("250 2.1.5 ")
            assert client.say("VRFY george") == GEORGE
        with hello(guard.port, OUTSIDE) as client:
            assert ask(client, "MAIL FROM:<a@b.example>", ELSEWHERE)[1].startswith("550 5.7.1 ")
            assert client.say("RCPT TO:<george@x.test>").startswith("250 2.1.5 ")
            assert client.say("VRFY george") == NO_VRFY


@pytest.mark.parametrize("place", ["setting", "endpoint"])
def test_one_bind_for_all_makes_nobody_relay(stock: RealSendmail, tmp_path: Path, place: str) -> None:
    """As a setting, and as bindAddress= in the endpoint string."""
    settings = bound_to(stock, "127.0.0.25")
    if place == "endpoint":
        settings["backend"] = client_endpoint(stock.address, stock.port) + ":bindAddress=127.0.0.25"
    with ConfiguredGuard(tmp_path, (stock.address, stock.port), policy(), settings) as guard:
        for source in (INSIDE, OUTSIDE):
            with hello(guard.port, source) as client:
                assert ask(client, "MAIL FROM:<a@b.example>", ELSEWHERE)[1].startswith("550 5.7.1 ")


# -- a backend that is not there -----------------------------------------------------------------

UNAVAILABLE = re.compile(r"421 4\.3\.2 \S+ Mail server not available, try again later")


def greeting(port: int) -> str:
    """Return the first reply."""
    with Talk("127.0.0.1", port, OUTSIDE) as client:
        return client.banner


def test_under_enforce_nobody_is_served_before_the_backend_has_answered(tmp_path: Path) -> None:
    """It may start before its mail server: clients are to come again, until that has said that it does not relay."""
    port = free_port()
    settings = {"backend": {"endpoint": f"tcp:127.0.0.1:{port}", "bind": BY_NETWORK}, "relay_check": "enforce"}
    with ConfiguredGuard(tmp_path, ("127.0.0.1", port), policy(), settings) as guard:
        assert UNAVAILABLE.fullmatch(greeting(guard.port))
        with RealSendmail(listen=[("127.0.0.1", port)]):
            wait_until(lambda: greeting(guard.port).startswith("220 x.test "), "the guard to serve", 20)
            guard.wait_line("relay check: .* refuses to relay")


def test_under_enforce_a_backend_that_turns_out_to_relay_ends_it_with_78(tmp_path: Path) -> None:
    port = free_port()
    with ConfiguredGuard(tmp_path, ("127.0.0.1", port), policy(), {"relay_check": "enforce"}) as guard:
        assert UNAVAILABLE.fullmatch(greeting(guard.port))
        with RealSendmail(listen=[("127.0.0.1", port)]):
            assert guard.wait_end() == os.EX_CONFIG


def test_a_backend_that_cannot_be_reached_is_a_421_and_no_end(tmp_path: Path) -> None:
    """Without a relay check each client finds out, and the next one is served if it can be."""
    port = free_port()
    with ConfiguredGuard(tmp_path, ("127.0.0.1", port), policy()) as guard:
        with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
            assert UNAVAILABLE.fullmatch(client.banner)
            assert client.closed()
        with RealSendmail(listen=[("127.0.0.1", port)]):
            assert greeting(guard.port).startswith("220 x.test ")


def lost(reply: bytes) -> bool:
    """Tell if this is all that a client should hear of the death of its mail server."""
    return re.fullmatch(rb"421 4\.[34]\.\d \S+ [^\r\n]+\r\n", reply) is not None


TRANSACTION = ("MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "DATA")


@pytest.mark.parametrize("commands", [(), TRANSACTION[:1], TRANSACTION[:2], TRANSACTION])
def test_a_backend_that_dies_in_a_session_is_a_421(tmp_path: Path, commands: tuple[str, ...]) -> None:
    """And never a 250 that it has not given."""
    with (
        RealSendmail() as server,
        ConfiguredGuard(tmp_path, (server.address, server.port), policy()) as guard,
        hello(guard.port, OUTSIDE) as client,
    ):
        ask(client, *commands)
        if commands == TRANSACTION:
            client.send(b"Subject: s\r\n\r\nthe first half")
        server.stop()
        # What the client sends meanwhile changes nothing.
        with contextlib.suppress(ConnectionError):
            client.send(b"\r\n.\r\n")
        assert lost(client.rest())


# -- the end -------------------------------------------------------------------------------------


def test_sigterm_lets_transactions_finish_and_turns_the_idle_away(tmp_path: Path) -> None:
    """One has said MAIL, one is amid its message: both get their mail through, and then a 421."""
    with RealSendmail() as server, ConfiguredGuard(tmp_path, (server.address, server.port), policy()) as guard:
        with ExitStack() as stack:
            idle, fresh, early, late = (stack.enter_context(hello(guard.port, OUTSIDE)) for _ in range(4))
            ask(fresh, *TRANSACTION[:1], "RSET")
            early.say("MAIL FROM:<early@b.example>")
            ask(late, "MAIL FROM:<late@b.example>", *TRANSACTION[1:])
            late.send(b"Subject: late\r\n\r\nthe first half ")
            guard.signal(signal.SIGTERM)
            for client in (idle, fresh):
                assert lost(client.rest())
            with pytest.raises(ConnectionRefusedError):
                Talk("127.0.0.1", guard.port)
            late.send(b"and the other")
            assert late.say("\r\n.").startswith("250 2.0.0 ")
            assert early.say("RCPT TO:<bob@x.test>").startswith("250 ")
            assert early.say("VRFY george") == NO_VRFY
            assert early.say("DATA").startswith("354 ")
            assert early.say("Subject: early\r\n\r\ntext\r\n.").startswith("250 2.0.0 ")
            for client in (late, early):
                assert lost(client.rest())
        assert guard.wait_end() == os.EX_OK
        (delivery,) = delivered(server, "late@b.example")
        assert delivery.content.endswith(b"\n\nthe first half and the other\n")
        (delivery,) = delivered(server, "early@b.example")
        assert delivery.recipients == ("bob",)


def test_a_transaction_that_does_not_end_is_cut_off_in_time(stock: RealSendmail, tmp_path: Path) -> None:
    settings = {"timeouts": {"shutdown": 0.3}}
    with ConfiguredGuard(tmp_path, (stock.address, stock.port), policy(), settings) as guard:
        with hello(guard.port, OUTSIDE) as client:
            ask(client, "MAIL FROM:<cut-off@b.example>", *TRANSACTION[1:])
            client.send(b"Subject: s\r\n\r\ntext")
            guard.signal(signal.SIGTERM)
            assert lost(client.rest())
        assert guard.wait_end() == os.EX_OK
    assert not [one for one in stock.deliveries(0) if one.sender == "cut-off@b.example"]


def test_a_client_that_has_closed_its_side_too_is_not_waited_for(stock: RealSendmail, tmp_path: Path) -> None:
    """`linger` is for clients that are still sending; the place of one that is gone is free at once."""
    settings = {"timeouts": {"linger": 60}}
    with ConfiguredGuard(tmp_path, (stock.address, stock.port), policy(), settings) as guard:
        with hello(guard.port, OUTSIDE) as client:
            client.send(b"NOOP\0\r\n")
            client.rest()
        guard.wait_line("disconnect from", 5)


# -- listeners -------------------------------------------------------------------------------------


def test_two_listeners_on_the_command_line_both_serve(stock: RealSendmail) -> None:
    with Guard((stock.address, stock.port), policy(), listen=("127.0.0.1", "127.0.0.3")) as guard:
        assert [address for address, _ in guard.listeners] == ["127.0.0.1", "127.0.0.3"]
        for address, port in guard.listeners:
            with hello(port, INSIDE, address) as client:
                assert client.say("VRFY george") == GEORGE


def test_flags_win_over_the_settings_file(stock: RealSendmail, tmp_path: Path) -> None:
    """But `bind` of the file still holds under a backend of the command line."""
    settings = {"backend": {"endpoint": NOBODY_THERE, "bind": BY_NETWORK}, "relay_check": "enforce"}
    path = write_settings(tmp_path, ("127.0.0.1", 1), policy(), settings, listen=("127.0.0.4",))
    backend = stock.address, stock.port
    with Guard(backend, policy(("192.0.2.0/24",)), relay_check=None, extra_args=("--config", str(path))) as guard:
        guard.wait_line("refuses to relay mail from 127.0.0.25")
        with hello(guard.port, INSIDE) as client:
            assert client.say("VRFY george") == NO_VRFY


def test_a_rule_can_depend_on_the_listener(stock: RealSendmail, tmp_path: Path) -> None:
    """By the name that the settings give it."""
    rules = yaml.safe_load(policy())
    rules["rulesets"]["check_vrfy"] = [{"listener": "office", "action": "forward"}, {"action": "reply"}]
    listeners = [
        {"endpoint": server_endpoint("127.0.0.1"), "name": "office"},
        {"endpoint": server_endpoint("127.0.0.3"), "name": "street"},
        server_endpoint("::1"),
    ]
    addresses = ("127.0.0.1", "127.0.0.3", "::1")
    backend = stock.address, stock.port
    with ConfiguredGuard(tmp_path, backend, yaml.safe_dump(rules), {"listen": listeners}, addresses) as guard:
        answers = []
        for address, port in guard.listeners:
            with hello(port, OUTSIDE, address) as client:
                answers.append(client.say("VRFY george"))
    assert answers == [GEORGE, NO_VRFY, NO_VRFY]


class UnixTalk(Talk):
    """A client on a unix socket."""

    def __init__(self, path: Path) -> None:
        """Connect, and read the greeting."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._unread = b""
        self.banner = self._text(self.reply())


def test_a_unix_socket_is_a_listener_and_its_clients_are_outside(stock: RealSendmail, tmp_path: Path) -> None:
    """They have no address that a network could have."""
    path = tmp_path / "smtp.sock"
    settings = {"listen": [server_endpoint("127.0.0.1"), f"unix:{path}:mode=600"]}
    with ConfiguredGuard(tmp_path, (stock.address, stock.port), policy(), settings) as guard:
        guard.wait_line(f"listening on unix:{path}")
        assert path.stat().st_mode & 0o777 == 0o600
        with UnixTalk(path) as client:
            assert ask(client, "EHLO me.test", "VRFY george", "EXPN all")[1:] == [NO_VRFY, NO_EXPN]
            assert ask(client, *TRANSACTION)[-1].startswith("354 ")
            assert client.say(".").startswith("250 2.0.0 ")
        guard.wait_line(r": \[unix\]: VRFY george \[rejected\]")
    assert not path.exists()


@pytest.fixture(scope="module")
def unix_backend(stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A guard that listens on a unix socket, to stand for a mail server that does."""
    folder = tmp_path_factory.mktemp("unix")
    path = folder / "backend.sock"
    settings = {"listen": [server_endpoint("127.0.0.1"), f"unix:{path}"]}
    with ConfiguredGuard(folder, (stock.address, stock.port), "{}\n", settings) as guard:
        guard.wait_line(f"listening on unix:{path}")
        yield path


def test_the_backend_can_be_a_unix_socket(unix_backend: Path, stock: RealSendmail, tmp_path: Path) -> None:
    """And two guards in a row do what one does."""
    settings = {"backend": f"unix:{unix_backend}"}
    with ConfiguredGuard(tmp_path, ("", 0), policy(), settings) as guard:
        for source, answers in ((OUTSIDE, [NO_VRFY, NO_EXPN]), (INSIDE, [GEORGE, ALL])):
            with hello(guard.port, source) as client:
                assert ask(client, "VRFY george", "EXPN all") == answers
        mail(guard.port, b"Subject: s\r\n\r\ntext\r\n", OUTSIDE, "<two-guards@b.example>")
    delivered(stock, "two-guards@b.example")


# -- limits -----------------------------------------------------------------------------------------


def test_one_address_gets_only_so_many_sessions_unless_it_is_internal(stock: RealSendmail, tmp_path: Path) -> None:
    settings = {"limits": {"sessions_per_address": 2}}
    with ConfiguredGuard(tmp_path, (stock.address, stock.port), policy(), settings) as guard, ExitStack() as stack:
        served = [stack.enter_context(hello(guard.port, OUTSIDE)) for _ in range(2)]
        with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
            assert re.fullmatch(r"421 4\.3\.2 \S+ Too many connections, try again later", client.banner)
            assert client.closed()
        guard.wait_line(r"rejecting connection from \[127\.0\.0\.2\]: 2 sessions from one address")
        for source in ("127.0.0.3", *[INSIDE] * 5):
            served.append(stack.enter_context(hello(guard.port, source)))
        assert [client.say("NOOP") for client in served] == ["250 2.0.0 OK"] * 8
        served[0].say("QUIT")
        wait_until(lambda: greeting(guard.port).startswith("220 "), "a place to become free")


def test_all_addresses_together_get_only_so_many_sessions(stock: RealSendmail, tmp_path: Path) -> None:
    settings = {"limits": {"sessions": 2}}
    with ConfiguredGuard(tmp_path, (stock.address, stock.port), policy(), settings) as guard, ExitStack() as stack:
        for source in (INSIDE, OUTSIDE):
            stack.enter_context(hello(guard.port, source))
        assert greeting(guard.port).startswith("421 4.3.2 ")


def amid_a_message(client: Talk) -> None:
    """Begin a message and stop in it."""
    ask(client, *TRANSACTION)
    client.send(b"Subject: s\r\n\r\nte")


def amid_a_line(client: Talk) -> None:
    """Begin a command and stop in it."""
    client.send(b"NOO")


def amid_a_chunk(client: Talk) -> None:
    """Announce octets that do not come."""
    client.send(b"BDAT 100 LAST\r\nten octets")


def silent(_client: Talk) -> None:
    """Say nothing."""


IMPATIENT = {"timeouts": dict.fromkeys(("banner", "command", "data_block", "message", "reply"), 0.3)}


@pytest.fixture(scope="module")
def impatient(stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """A guard that does not wait for long."""
    folder = tmp_path_factory.mktemp("impatient")
    with ConfiguredGuard(folder, (stock.address, stock.port), policy(), IMPATIENT) as running:
        yield running


@pytest.mark.parametrize("begin", [silent, amid_a_line, amid_a_message, amid_a_chunk])
def test_a_client_that_lets_wait_is_a_421(impatient: Guard, begin: Callable[[Talk], None]) -> None:
    with hello(impatient.port, OUTSIDE) as client:
        begin(client)
        assert re.fullmatch(rb"421 4\.4\.2 \S+ Time-out waiting for input, [^\r\n]+\r\n", client.rest())


def test_a_backend_that_lets_wait_is_a_421(tmp_path: Path) -> None:
    """One that accepts the connection and says nothing, or nothing after its banner."""
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        ConfiguredGuard(tmp_path, ("127.0.0.1", mute.getsockname()[1]), policy(), IMPATIENT) as guard,
    ):
        for spoken in (b"", b"220 mute.test\r\n"):
            with Talk("127.0.0.1", guard.port, OUTSIDE, greet=False) as client:
                peer, _ = mute.accept()
                with peer:
                    peer.sendall(spoken)
                    client.send(b"EHLO me.test\r\n")
                    answer = client.rest().removeprefix(spoken)
            assert re.fullmatch(rb"421 4\.4\.2 \S+ Time-out waiting for the mail server\r\n", answer)
