"""The servers work, tell what they know, and end; so what the other tests of this folder look for could be there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.rig import unpacked
from tests.rig.client import Talk
from tests.rig.guard import ROOT
from tests.rig.sendmail import BASE, RigError
from tests.rig.unpacked import UnpackedServer
from tests.rig.wait import wait_until
from tests.sendmail.support import INSIDE, verb_as_read
from tests.sendmail.test_streams import STREAMS, Player

from .hop import content, replies
from .support import SERVERS, Chain, is_stored

KEYWORDS = {
    "postfix": "PIPELINING SIZE VRFY ETRN ENHANCEDSTATUSCODES 8BITMIME DSN SMTPUTF8 CHUNKING",
    "exim": "SIZE 8BITMIME VRFY EXPN PIPELINING PIPECONNECT CHUNKING SMTPUTF8 HELP",
    "opensmtpd": "8BITMIME ENHANCEDSTATUSCODES SIZE DSN HELP",
}
MESSAGE = b"From: a@b.example\r\nSubject: rig\r\n\r\nfirst\r\n\r\n..\r\n..dot\r\n  blanks \r\n.\r\n"

TOLD = {
    "postfix": {"VRFY root": "252 2.0.0 root"},
    "exim": {
        "VRFY root": "250 <root@x.test> is deliverable",
        "EXPN list": "250-<CANARY-george@x.test>\n250-<CANARY-alice@x.test>\n250 <CANARY-bob@x.test>",
    },
    # It has no such verbs; that it is asked is seen in its own record.
    "opensmtpd": {"VRFY root": "500 5.5.1 Invalid command: Command unrecognized"},
}

# What these verbs are answered with holds what is looked for.
TELLING = {"postfix": {"VRFY"}, "exim": {"VRFY", "EXPN"}, "opensmtpd": set[str]()}

# Streams that make the server read VRFY or EXPN if there is no guard.
BROKEN_INTO = {
    "postfix": ("verb-vrfy", "cmd-mail-lf-vrfy", "cmd-crcrlf", "data-503-nomail", "eod-lf-dot-lf", "eod-crlf-dot-lf"),
    "exim": ("verb-vrfy", "cmd-mail-lf-vrfy", "cmd-crcrlf", "data-503-nomail", "verb-in-transaction"),
    "opensmtpd": ("verb-vrfy", "cmd-crcrlf", "data-503-nomail", "verb-in-transaction"),
}


def test_it_offers_what_it_offers_as_stock(server: UnpackedServer) -> None:
    """So the guard has to do with all of that."""
    with Talk(server.address, server.port) as client:
        _, *offered = client.say("EHLO me.test").split("\n")
        assert [line[4:].split(" ")[0] for line in offered] == KEYWORDS[server.name].split(" ")


def test_a_message_is_delivered_whole_to_all(server: UnpackedServer) -> None:
    """Whoever they are; but nothing is relayed."""
    with Talk(server.address, server.port) as client:
        for command in ("EHLO me.test", "MAIL FROM:<rig@b.example>", "RCPT TO:<bob@x.test>", "RCPT TO:<any@mx.test>"):
            assert client.say(command).startswith("250"), command
        assert client.say("RCPT TO:<bob@elsewhere.test>")[0] in "45"
        assert client.say("DATA").startswith("354")
        client.send(MESSAGE)
        assert client.replies(1)[0].startswith("250")
        assert client.say("QUIT").startswith("221")
        assert client.closed()

    def mine() -> list[str]:
        found = [one for one in server.deliveries(0) if one.sender == "rig@b.example"]
        assert all(is_stored(content(MESSAGE.removesuffix(b".\r\n")), one.content) for one in found)
        return sorted(recipient for one in found for recipient in one.recipients)

    wait_until(lambda: mine() == ["any@mx.test", "bob@x.test"], "both to have it", 20, server.story)


def test_an_insider_is_told(behind: Chain) -> None:
    """Through the guard; so it is not the guard's setting up that keeps everybody from knowing."""
    records = behind.server.mark()
    with Talk("127.0.0.1", behind.port, INSIDE) as client:
        client.say("EHLO me.test")
        for command, reply in TOLD[behind.server.name].items():
            assert client.say(command) == reply
        assert client.say("QUIT").startswith("221")
    behind.server.wait_sessions(1, records)
    assert behind.server.commands(records) == ["EHLO me.test", *TOLD[behind.server.name], "QUIT"]


@pytest.mark.parametrize("name", sorted({name for names in BROKEN_INTO.values() for name in names}))
def test_without_the_guard_it_would(server: UnpackedServer, name: str) -> None:
    """What is looked for in the other tests is there where there is no guard."""
    records = server.mark()
    player = Player(server.port)
    player.play(next(stream for stream in STREAMS if stream.id == name))
    server.wait_sessions(1, records)
    verbs = {verb_as_read(line) for line in server.commands(records)}
    if name in BROKEN_INTO[server.name]:
        assert verbs & {"VRFY", "EXPN"}
        assert server.tells.search(player.heard) or not verbs & TELLING[server.name]
    assert replies(bytes(player.heard))


def test_one_packet_with_a_bare_newline(server: UnpackedServer) -> None:
    """A reader of lines that end in CRLF sees one NOOP here; two servers see more, and one sees through it."""
    records = server.mark()
    with Talk(server.address, server.port) as client:
        client.say("HELO me.test")
        client.send(b"NOOP\nVRFY root\r\n")
        client.half_close()
        client.rest()
    server.wait_sessions(1, records)
    both = [] if server.name == "opensmtpd" else ["NOOP", "VRFY root"]
    assert server.commands(records) == ["HELO me.test", *both]


@pytest.fixture(params=SERVERS, ids=[kind.name for kind in SERVERS])
def another(request: pytest.FixtureRequest) -> Iterator[UnpackedServer]:
    """A server that is for one test, so that it may end."""
    with request.param() as running:
        yield running


def free(port: int) -> bool:
    """Tell if nobody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_nothing_is_left_behind(another: UnpackedServer) -> None:
    """No process, no file."""
    folder = another.root.parent
    assert any(folder.name in line for line in everything_running())
    another.stop()
    another.stop()
    assert not folder.exists()
    assert free(another.port)
    assert not any(folder.name in line for line in everything_running())


@pytest.mark.parametrize("kind", SERVERS, ids=[kind.name for kind in SERVERS])
def test_it_ends_with_who_started_it(kind: type[UnpackedServer]) -> None:
    """Even if that is killed; only files stay then."""
    code = (
        f"from {kind.__module__} import {kind.__name__} as K\nwith K() as s: print(s.port, s.root, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        port, root = starter.stdout.readline().split()
        assert not free(int(port))
        os.kill(starter.pid, signal.SIGKILL)
    folder = Path(root).parent
    wait_until(lambda: free(int(port)), "the port to be free")
    wait_until(lambda: not any(folder.name in line for line in everything_running()), "all processes to end")
    subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)
    with suppress(OSError):  # another run uses it, or has removed it before us
        BASE.rmdir()


def everything_running() -> list[str]:
    """Return, for each process of the machine, its command line and its root directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            found.append(f"{(path / 'cmdline').read_bytes()!r} {(path / 'root').readlink()}")
        except OSError:
            continue  # it has ended
    return found


def test_what_is_not_unpacked_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the command that helps; nothing is skipped."""
    monkeypatch.setattr(unpacked, "UNPACKED", tmp_path)
    with pytest.raises(RigError, match=r"cannot run postfix: missing: .*tools/unpack-debian .* postfix"), SERVERS[0]():
        pass


def test_a_failed_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of the server."""
    monkeypatch.setattr(SERVERS[0], "command", lambda _: ["/usr/lib/postfix/sbin/master", "-nonsense"])
    with pytest.raises(RigError, match=r"postfix ended with 1 at start\n(.*\n)*.*usage"), SERVERS[0]():
        pass
