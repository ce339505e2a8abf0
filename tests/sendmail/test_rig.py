"""The rig itself, without the guard: what it builds works, and the danger is real.

What sendmail answers here is what the guard is measured against elsewhere: if a new
sendmail answers otherwise, it shows here first.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.rig import guard as guard_module
from tests.rig.client import NotSmtp, Talk
from tests.rig.guard import Guard, GuardFailed
from tests.rig.recorder import Recorder
from tests.rig.sendmail import (
    AUTH_PASSWORD,
    AUTH_USER,
    RealSendmail,
    RigError,
    comparable,
    free_port,
)
from tests.rig.wait import NotHappened, wait_until

from .support import ALL, GEORGE, NO_EXPN, NO_VRFY, hello, mail, wire

# -- what sendmail tells -----------------------------------------------------


def test_vrfy_and_expn_give_names_away(stock: RealSendmail) -> None:
    with hello(stock.port) as client:
        assert client.say("VRFY george") == GEORGE
        assert client.say("VRFY nobody-of-that-name") == ("550 5.1.1 nobody-of-that-name... User unknown")
        assert client.say("EXPN all") == ALL


def test_vrfy_answers_before_helo(stock: RealSendmail) -> None:
    with Talk(stock.address, stock.port) as client:
        assert client.banner.startswith("220 x.test ESMTP Sendmail ")
        assert client.say("VRFY george") == GEORGE


def test_ehlo_offers_the_stock_extensions(stock: RealSendmail) -> None:
    with Talk(stock.address, stock.port) as client:
        first, *words = client.say("EHLO me.test").split("\n")
    assert first == "250-x.test Hello [127.0.0.2], pleased to meet you"
    assert [word[4:] for word in words] == [
        "ENHANCEDSTATUSCODES",
        "PIPELINING",
        "EXPN",
        "VERB",
        "8BITMIME",
        "SIZE",
        "DSN",
        "ETRN",
        "DELIVERBY",
        "HELP",
    ]


@pytest.mark.parametrize("privacy", ["novrfy,noexpn", "goaway"])
@pytest.mark.parametrize("greeting", [None, "HELO me.test", "EHLO me.test"])
def test_privacy_options_hide_names(privacy: str, greeting: str | None) -> None:
    with (
        RealSendmail(privacy_options=privacy) as server,
        Talk(server.address, server.port) as client,
    ):
        if greeting is not None:
            words = [line[4:] for line in client.say(greeting).split("\n")]
            assert "EXPN" not in words
            assert "VERB" not in words
        assert client.say("VRFY george") == NO_VRFY
        assert client.say("VRFY nobody-of-that-name") == NO_VRFY
        assert client.say("EXPN all") == NO_EXPN
        line = server.wait_log(r"VRFY george \[rejected\]$")
        assert re.fullmatch(
            r"<22>\w{3} [ \d]\d \d\d:\d\d:\d\d sendmail\[\d+\]: \w{14}: "
            r"\[127\.0\.0\.2\]: VRFY george \[rejected\]",
            line,
        )
        server.wait_log(r": \[127\.0\.0\.2\]: EXPN all \[rejected\]$")


# -- the danger: lines that a careless filter would not take for VRFY or EXPN ------


@pytest.mark.parametrize(
    "line",
    [
        b"  vrfy george\r\n",
        b"\tVRFY george\r\n",
        b"\rVRFY george\r\n",
        b"\x0bVRFY george\r\n",
        b"\x0cVRFY george\r\n",
        b"VRFY\tgeorge\r\n",
        b"VRFY\rgeorge\r\n",
        b"VRFY\x0bgeorge\r\n",
        b"VRFY\x0cgeorge\r\n",
        b"VRFY george\r\r\n",
        b"VRFY george\n",
        # The connection ends without a line end: it is obeyed all the same.
        b"VRFY george",
    ],
)
def test_sendmail_takes_this_for_vrfy(stock: RealSendmail, line: bytes) -> None:
    assert wire(stock.port, line) == GEORGE.encode() + b"\r\n"


@pytest.mark.parametrize("line", [b"EXPN\x0ball\r\n", b"EXPN\x0call\r\n", b"EXPN all\x0b\r\n", b" eXpN\tall\n"])
def test_sendmail_takes_this_for_expn(stock: RealSendmail, line: bytes) -> None:
    assert wire(stock.port, line) == ALL.replace("\n", "\r\n").encode() + b"\r\n"


@pytest.mark.parametrize("gap", [b"\n", b"\n\r", b"\r\r\n"])
def test_a_line_end_that_hides_a_second_command(stock: RealSendmail, gap: bytes) -> None:
    answers = wire(stock.port, b"NOOP" + gap + b"VRFY george\r\n")
    assert answers == b"250 2.0.0 OK\r\n" + GEORGE.encode() + b"\r\n"


def test_a_lone_cr_is_no_line_end(stock: RealSendmail) -> None:
    assert wire(stock.port, b"NOOP\rVRFY george\r\n") == b"250 2.0.0 OK\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"\x00VRFY george\r\n",
        b"\x01VRFY george\r\n",
        b"VR\x00FY george\r\n",
        b"VRFY\x1fgeorge\r\n",
        b"VRFY\x85george\r\n",
        b"VRFY\xa0george\r\n",
        b"\xd6RFY george\r\n",
        b"VRFYX george\r\n",
        b"VRFY:george\r\n",
        b"VRFY<george>\r\n",
    ],
)
def test_sendmail_does_not_take_this_for_vrfy(stock: RealSendmail, line: bytes) -> None:
    assert wire(stock.port, line).startswith(b"500 5.5.1 Command unrecognized: ")


def test_data_sent_before_the_answer_to_ehlo_spoils_the_session(stock: RealSendmail) -> None:
    # So a proxy that holds back EHLO and then sends more along with it breaks a client.
    with Talk(stock.address, stock.port) as client:
        client.send(b"EHLO me.test\r\nNOOP\r\nVRFY george\r\n")
        assert client.replies(3) == [
            "554 5.5.0 SMTP protocol error",
            "250 2.0.0 OK",
            "550 5.0.0 Command rejected",
        ]


@pytest.mark.parametrize(
    ("end", "answer"),
    [
        (b"\n.\n", b"421 4.5.0 Bare linefeed (LF) not allowed\r\n"),
        (b"\r\n.\n", b"421 4.5.0 Bare linefeed (LF) not allowed\r\n"),
        (b"\n.\r\n", b"421 4.5.0 Bare linefeed (LF) not allowed\r\n"),
        (b"\r.\r", b"421 4.5.0 Bare carriage return (CR) not allowed\r\n"),
        (b"\r\n.\r\r\n", b"421 4.5.0 Bare carriage return (CR) not allowed\r\n"),
    ],
)
def test_a_false_end_of_data_ends_the_connection(stock: RealSendmail, end: bytes, answer: bytes) -> None:
    with hello(stock.port) as client:
        for command in ("MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "DATA"):
            client.say(command)
        client.send(b"Subject: s\r\n\r\nbody" + end + b"VRFY george\r\n.\r\n")
        assert client.rest() == answer


# -- relaying ------------------------------------------------------------------


@pytest.mark.parametrize("source", ["127.0.0.2", "127.0.0.25"])
def test_only_127_0_0_1_may_relay(stock: RealSendmail, source: str) -> None:
    with hello(stock.port) as near, hello(stock.port, source) as far:
        near.say("MAIL FROM:<a@b.example>")
        far.say("MAIL FROM:<a@b.example>")
        assert near.say("RCPT TO:<u@else.example>") == ("250 2.1.5 <u@else.example>... Recipient ok")
        assert far.say("RCPT TO:<u@else.example>") == (
            f"550 5.7.1 <u@else.example>... Relaying denied. IP name lookup failed [{source}]"
        )
        assert far.say("RCPT TO:<george@x.test>") == "250 2.1.5 <george@x.test>... Recipient ok"


def test_the_ipv6_loopback_may_relay_too(stock: RealSendmail) -> None:
    with Talk(*stock.listeners[1]) as client:
        assert client.say("EHLO me.test").startswith("250-x.test Hello localhost [IPv6:0:0:0:0:0:0:0:1], ")
        client.say("MAIL FROM:<a@b.example>")
        assert client.say("RCPT TO:<u@else.example>").startswith("250 2.1.5 ")


# -- log and traffic -------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "shown", "address"),
    [
        ("127.0.0.1", "localhost [127.0.0.1]", "127.0.0.1"),
        ("127.0.0.3", "[127.0.0.3]", "127.0.0.3"),
        ("::1", "localhost [IPv6:0:0:0:0:0:0:0:1]", "IPv6:0:0:0:0:0:0:0:1"),
    ],
)
def test_the_log_tells_who_asked(stock: RealSendmail, source: str, shown: str, address: str) -> None:
    host, port = stock.listeners[":" in source]
    with Talk(host, port, source) as client:
        client.say("VRFY george")
        client.say("EXPN all")
        for word in ("DEBUG", "SHOWQ", "WIZ"):
            assert client.say(word) == f'500 5.5.1 Command unrecognized: "{word}"'
    who = re.escape(shown)
    # 22: facility mail, info; 18: facility mail, critical.
    for pattern in (
        rf"^<22>.{{15}} sendmail\[\d+\]: \w{{14}}: {who}: VRFY george$",
        rf"^<22>.{{15}} sendmail\[\d+\]: \w{{14}}: {who}: EXPN all$",
        *(
            rf"^<18>.{{15}} sendmail\[\d+\]: \w{{14}}: "
            rf'"{word}" command from {who} \({re.escape(address)}\)$'
            for word in ("debug", "showq", "wiz")
        ),
    ):
        stock.wait_log(pattern)


def test_the_traffic_file_shows_what_sendmail_read(stock: RealSendmail) -> None:
    with hello(stock.port) as client:
        client.send(b"NOOP with-lf\nNOOP with-crlf\r\n")
        client.replies(2)
    # Written before it is answered: no need to wait.
    assert re.search(
        r"^(\d+) <<< NOOP with-lf\n\1 >>> 250 2\.0\.0 OK\n\1 <<< NOOP with-crlf\r\n",
        stock.traffic(),
        re.MULTILINE,
    )


# -- mail ------------------------------------------------------------------------


def test_a_message_arrives_byte_for_byte() -> None:
    body = b"From the start\r\n..dot\r\n \t\r\n\xff\x80caf\xc3\xa9\r\n" + b"x" * 3000 + b"\r\n\r\n\r\n"
    with RealSendmail() as server:
        mail(server.port, b"Subject: one\r\nX-Own: 1\r\n\r\n" + body)
        (delivery,) = server.deliveries(1)
    assert delivery.sender == "a@b.example"
    assert delivery.recipients == ("george",)
    assert delivery.content.startswith(b"Return-Path: <a@b.example>\nReceived: from me.test ")
    assert comparable(delivery.content) == (
        b"Return-Path: <a@b.example>\nFrom: a@b.example\nSubject: one\nX-Own: 1\n\n"
        + body.replace(b"\r\n", b"\n").replace(b"\n..dot", b"\n.dot")
    )


def test_one_file_for_a_message_to_many_and_a_stable_order() -> None:
    with RealSendmail() as server:
        with hello(server.port) as client:
            for subject in ("two", "one"):
                client.say("MAIL FROM:<a@b.example>")
                client.say("RCPT TO:<all@x.test>")
                client.say("DATA")
                client.send(f"Subject: {subject}\r\n\r\ntext\r\n".encode())
                client.say(".")
        found = server.deliveries(2)
        assert server.messages(2) == [one.content for one in found]
    assert [sorted(one.recipients) for one in found] == [["alice", "bob", "george"]] * 2
    assert b"Subject: one\n" in found[0].content
    assert b"Subject: two\n" in found[1].content


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_auth_lets_a_stranger_relay(mechanism: str) -> None:
    def coded(text: str) -> str:
        """Return base64 as AUTH wants it."""
        return base64.b64encode(text.encode()).decode()

    with RealSendmail(auth=True) as server, Talk(server.address, server.port) as client:
        assert "\n250-AUTH PLAIN LOGIN\n" in client.say("EHLO me.test")
        wrong = coded(f"\0{AUTH_USER}\0not the password")
        assert client.say(f"AUTH PLAIN {wrong}") == "535 5.7.0 authentication failed"
        if mechanism == "PLAIN":
            answer = client.say("AUTH PLAIN " + coded(f"\0{AUTH_USER}\0{AUTH_PASSWORD}"))
        else:
            assert client.say("AUTH LOGIN") == "334 VXNlcm5hbWU6"
            assert client.say(coded(AUTH_USER)) == "334 UGFzc3dvcmQ6"
            answer = client.say(coded(AUTH_PASSWORD))
        assert answer == "235 2.0.0 OK Authenticated"
        client.say("MAIL FROM:<a@b.example>")
        assert client.say("RCPT TO:<u@else.example>").startswith("250 ")


# -- life of the rig ---------------------------------------------------------------


def test_nothing_is_left_behind() -> None:
    name = socket.gethostname()
    with RealSendmail() as server:
        address, port = server.address, server.port
        directory = Path(re.findall(r"-C(\S+)/sendmail\.cf", server.wait_log("started as"))[0])
        assert directory.is_dir()
        # Open at the end: the child that serves it must go too.
        client = hello(server.port)
    assert not directory.exists()
    assert client.rest() == b""
    client.close()
    with pytest.raises(ConnectionRefusedError):
        Talk(address, port)
    assert socket.gethostname() == name


def test_a_failed_start_says_why() -> None:
    with (
        pytest.raises(RigError, match="unknown configuration line"),
        RealSendmail(extra_mc="LOCAL_CONFIG\n?nonsense"),
    ):
        pass


def test_a_port_in_use_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(RigError, match=f"port {port} of 127.0.0.1 is in use"),
            RealSendmail(listen=(("127.0.0.1", port),)),
        ):
            pass


def test_wait_until_tells_what_it_waited_for() -> None:
    with pytest.raises(NotHappened, match="the impossible\nits story"):
        wait_until(lambda: False, "the impossible", 0.02, lambda: "its story")
    assert wait_until(lambda: 7, "seven", 0) == 7


# -- recorder and talker -------------------------------------------------------------


def test_a_recorder_shows_both_directions_and_keeps_the_source(stock: RealSendmail) -> None:
    with Recorder((stock.address, stock.port)) as recorder:
        with Talk(recorder.host, recorder.port, "127.0.0.9") as client:
            raw = client.banner.encode() + b"\r\n"
            hello = client.say("EHLO me.test")
            assert hello.startswith("250-x.test Hello [127.0.0.9], ")
            raw += hello.replace("\n", "\r\n").encode() + b"\r\n"
            # The end of the own direction passes through without ending the other.
            client.send(b"VRFY george")
            client.half_close()
            raw += client.rest()
        (recording,) = recorder.finished(1)
    assert recording.client[0] == "127.0.0.9"
    assert recording.client_bytes == b"EHLO me.test\r\nVRFY george"
    assert recording.server_bytes == raw
    assert raw.endswith(GEORGE.encode() + b"\r\n")


def test_a_recorder_without_a_target_ends_the_connection() -> None:
    with (
        Recorder(("127.0.0.1", free_port())) as recorder,
        Talk("127.0.0.1", recorder.port, greet=False) as client,
    ):
        assert client.closed()


def test_a_mail_through_a_recorder_is_the_mail_sent_directly() -> None:
    content = b"Subject: same\r\n\r\n..\r\ntext\r\n"
    with RealSendmail() as server, Recorder((server.address, server.port)) as recorder:
        mail(server.port, content)
        mail(recorder.port, content)
        direct, relayed = server.messages(2)
    assert comparable(direct) == comparable(relayed)


@pytest.mark.parametrize(
    "answer",
    [
        b"250 no CR\n",
        b"250-one\r\n251 two\r\n",
        b"250-no end\r\n",
        b"hello\r\n",
        b"250_x\r\n",
        b"",
    ],
)
def test_the_talker_refuses_what_is_no_reply(answer: bytes) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Talk("127.0.0.1", server.getsockname()[1], greet=False) as client,
    ):
        peer, _ = server.accept()
        with peer:
            peer.sendall(answer)
        with pytest.raises(NotSmtp):
            client.reply()


# -- the guard's own helper, with a stand-in for the guard ----------------------------

STAND_IN = """
import signal, sys, time
print("arguments", sys.argv[1:], flush=True)
policy = sys.argv[sys.argv.index("--policy") + 1]
text = open(policy).read()
print("policy", repr(text), file=sys.stderr, flush=True)
if text == "bad":
    sys.exit(3)
if text == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print("2026 listening on [::1]:4001 ok", file=sys.stderr, flush=True)
print("2026 listening on 127.0.0.1:4000", file=sys.stderr, flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program that only talks like the guard in its place."""
    (tmp_path / "smtpguard").mkdir()
    (tmp_path / "smtpguard" / "__main__.py").write_text(STAND_IN)
    monkeypatch.setattr(guard_module, "ROOT", tmp_path)


@pytest.mark.usefixtures("stand_in")
def test_the_guard_helper_finds_ports_and_status() -> None:
    with Guard(("::1", 25), "some: policy\n", listen=("127.0.0.1", "::1")) as guard:
        assert guard.listeners == [("127.0.0.1", 4000), ("::1", 4001)]
        assert (guard.port, guard.ports) == (4000, [4000, 4001])
        assert guard.wait_line("^policy") == "policy 'some: policy\\n'"
        assert guard.command()[3:9] == [
            *("run", "--listen", "tcp:0:interface=127.0.0.1"),
            *("--listen", "tcp6:0:interface=\\:\\:1", "--backend"),
        ]
        assert guard.command()[9] == "tcp:host=\\:\\:1:port=25"
        assert guard.command()[-2:] == ["--relay-check", "off"]
        assert guard.stop() == 5
        assert guard.lines()[-1] == "2026 listening on 127.0.0.1:4000"
        with pytest.raises(ProcessLookupError):
            os.kill(guard.pid, 0)


@pytest.mark.usefixtures("stand_in")
def test_the_guard_helper_tells_of_a_failed_start(tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    policy.write_text("bad")
    with (
        pytest.raises(GuardFailed, match=r"(?s)ended with 3 at start.*policy 'bad'"),
        Guard("tcp:127.0.0.1:25", policy),
    ):
        pass


@pytest.mark.usefixtures("stand_in")
def test_the_guard_helper_kills_what_does_not_end() -> None:
    guard = Guard("tcp:127.0.0.1:25", "stubborn", stop_seconds=0.2)
    with (
        pytest.raises(GuardFailed, match="had to be killed"),
        guard,
        pytest.raises(NotHappened, match="never said"),
    ):
        guard.wait_line("never said", 0.05)
    assert guard.stop() == -signal.SIGKILL
