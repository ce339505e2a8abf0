"""Listening: addresses, unix sockets, and sockets that somebody else has opened."""

from __future__ import annotations

import gc
import os
import socket
import stat
from pathlib import Path

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import AlreadyListened, CannotListenError

from smtpguard.net import endpoints
from smtpguard.transport.places import backlog_of

from .recorder import Recorder
from .running import SECONDS, Given, Running


def connected(name: tuple[str, int] | str, family: int = socket.AF_INET) -> socket.socket:
    client = socket.socket(family)
    client.settimeout(SECONDS)
    try:
        client.connect(name)
    except OSError:
        client.close()
        raise
    return client


def test_a_port_says_where_it_is_and_each_client_who_it_is(running: Running) -> None:
    recorder = Recorder()
    port = running.listen("tcp:0:interface=127.0.0.1", recorder)
    here = port.getHost()
    assert (here.type, here.host) == ("TCP", "127.0.0.1")
    with connected((here.host, here.port)) as client:
        recorder.wait("connectionMade")
        assert recorder.told == IPv4Address("TCP", *client.getsockname())
        assert running.do(lambda: recorder.transport.getPeer()) == recorder.told
        assert running.do(lambda: recorder.transport.getHost()) == here


def test_ipv6(running: Running) -> None:
    recorder = Recorder()
    port = running.listen("tcp6:0:interface=\\:\\:1", recorder)
    with connected(("::1", port.getHost().port), socket.AF_INET6) as client:
        recorder.wait("connectionMade")
        assert recorder.told == IPv6Address("TCP", *client.getsockname())
        assert running.do(lambda: recorder.transport.getHost()) == port.getHost()


def test_all_of_this_host_in_both_families(running: Running) -> None:
    recorder = Recorder()
    port = running.listen("tcp6:0:interface=\\:\\:", recorder)
    with connected(("127.0.0.1", port.getHost().port)):
        recorder.wait("connectionMade")
        assert recorder.told.host == "::ffff:127.0.0.1"


def test_a_place_that_is_taken_cannot_be_listened_at(running: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListenError) as caught:
            running.listen(f"tcp:{port}:interface=127.0.0.1")
    assert caught.value.socketError.errno == 98
    assert str(caught.value) == f"Couldn't listen on 127.0.0.1:{port}: [Errno 98] Address already in use."


def test_an_address_that_is_not_this_hosts_cannot_be_listened_at(running: Running) -> None:
    with pytest.raises(CannotListenError):
        running.listen("tcp:0:interface=192.0.2.1")


def test_who_stops_listening_is_not_connected_to_any_more_and_keeps_what_it_has(running: Running) -> None:
    recorder = Recorder()
    factory = Given([recorder])
    endpoint = running.do(lambda: endpoints.server(running.reactor, "tcp:0:interface=127.0.0.1"))
    port = running.do(endpoint.listen, factory)
    assert factory.running == 1
    name = ("127.0.0.1", port.getHost().port)
    with connected(name) as client:
        recorder.wait("connectionMade")
        running.do(port.stopListening)
        assert factory.running == 0
        with pytest.raises(ConnectionRefusedError):
            connected(name)
        client.sendall(b"still here")
        recorder.wait_for(b"still here")
    recorder.wait("connectionLost")
    with socket.create_server(name):
        """The place is free."""


def test_a_client_for_whom_there_is_no_protocol_is_closed(running: Running) -> None:
    port = running.listen("tcp:0:interface=127.0.0.1")
    with connected(("127.0.0.1", port.getHost().port)) as client:
        assert client.recv(1) == b""


@pytest.mark.parametrize(("text", "backlog"), [("", endpoints.BACKLOG), (":backlog=7", 7)])
def test_the_backlog_is_the_one_that_was_asked_for(running: Running, text: str, backlog: int) -> None:
    port = running.listen(f"tcp:0:interface=127.0.0.1{text}")
    assert queue_of(port.getHost().port) == backlog


def queue_of(port: int) -> int:
    """Return the backlog of the socket that listens at a port, by its duplicate in this process."""
    for number in os.listdir("/proc/self/fd"):
        try:
            copy = socket.socket(fileno=os.dup(int(number)))
        except OSError:
            continue
        with copy:
            if (
                copy.family == socket.AF_INET
                and copy.getsockname()[1] == port
                and copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            ):
                return backlog_of(copy)
    raise AssertionError(f"nothing listens at {port}")


def test_options_are_set_and_read_back(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder):

        def options() -> list[bool]:
            transport, seen = recorder.transport, []
            for on in (True, False, True):
                transport.setTcpNoDelay(on)
                transport.setTcpKeepAlive(on)
                seen += [transport.getTcpNoDelay(), transport.getTcpKeepAlive()]
                seen += [bool(kernels(socket.IPPROTO_TCP, socket.TCP_NODELAY))]
                seen += [bool(kernels(socket.SOL_SOCKET, socket.SO_KEEPALIVE))]
            return seen

        def kernels(level: int, option: int) -> int:
            if running.kind == "libuv":
                own = recorder.transport._libuv.get_extra_info("socket")
            else:
                own = recorder.transport.socket
            value: int = own.getsockopt(level, option)
            return value

        assert running.do(options) == [True] * 4 + [False] * 4 + [True] * 4


# -- sockets that were opened elsewhere ----------------------------------------------------------------


def test_a_socket_that_was_inherited_is_taken_over(running: Running) -> None:
    given = socket.create_server(("127.0.0.1", 0), backlog=9)
    name = given.getsockname()
    with connected(name) as first:  # before anybody accepts
        recorders = [Recorder(), Recorder()]
        port = running.listen("tcp:25", *recorders, inherited=given)
        assert port.getHost() == IPv4Address("TCP", *name)
        assert queue_of(name[1]) == 9
        first.sendall(b"first")
        recorders[0].wait_for(b"first")
        with connected(name) as second:
            second.sendall(b"second")
            recorders[1].wait_for(b"second")
    running.do(port.stopListening)
    with pytest.raises(ConnectionRefusedError):
        connected(name)


def test_a_unix_socket_that_was_inherited_stays_in_the_file_system(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "s"
    given = socket.socket(socket.AF_UNIX)
    given.bind(os.fspath(path))
    given.listen()
    recorder = Recorder()
    port = running.listen("unix:x", recorder, inherited=given)
    with connected(os.fspath(path), socket.AF_UNIX) as client:
        client.sendall(b"x")
        recorder.wait_for(b"x")
    running.do(port.stopListening)
    if running.kind == "libuv":
        assert path.is_socket()  # Twisted's own removes what it has not made


def test_an_inherited_socket_is_one_port(running: Running) -> None:
    given = socket.create_server(("127.0.0.1", 0))
    endpoint = running.do(lambda: endpoints.server(running.reactor, "tcp:25", given))
    port = running.do(endpoint.listen, Given([]))
    with pytest.raises(AlreadyListened):
        running.do(endpoint.listen, Given([]))
    running.do(port.stopListening)


# -- unix sockets --------------------------------------------------------------------------------------


def test_a_unix_socket_has_its_mode_and_its_lock_and_leaves_nothing(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "smtp.sock"
    recorder = Recorder()
    port = running.listen(f"unix:{path}:mode=640", recorder)
    assert port.getHost() == UNIXAddress(os.fspath(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (tmp_path / "smtp.sock.lock").is_symlink()
    with connected(os.fspath(path), socket.AF_UNIX) as client:
        recorder.wait("connectionMade")
        for option in ("setTcpNoDelay", "setTcpKeepAlive"):
            if hasattr(recorder.transport, option):
                running.do(getattr(recorder.transport, option), True)
        assert isinstance(running.do(lambda: recorder.transport.getPeer()), UNIXAddress)
        assert isinstance(running.do(lambda: recorder.transport.getHost()), UNIXAddress)
        client.sendall(b"x")
        recorder.wait_for(b"x")
        running.do(lambda: recorder.transport.write(b"y"))
        assert client.recv(1) == b"y"
    running.do(port.stopListening)
    assert not list(tmp_path.iterdir())


def test_a_unix_socket_that_somebody_holds_cannot_be_listened_at(running: Running, tmp_path: Path) -> None:
    running.listen(f"unix:{tmp_path}/s")
    with pytest.raises(CannotListenError):
        running.listen(f"unix:{tmp_path}/s")
    assert (tmp_path / "s").is_socket()


def test_what_the_dead_have_left_is_removed(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(path))
    (tmp_path / "s.lock").symlink_to("999999999")
    recorder = Recorder()
    running.listen(f"unix:{path}", recorder)
    with connected(os.fspath(path), socket.AF_UNIX):
        recorder.wait("connectionMade")


# Twisted leaves a socket open that could not be bound, and says so when it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_file_that_is_no_socket_is_not_removed(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(CannotListenError):
        running.listen(f"unix:{path}:lockfile=0")
    assert path.read_text() == "mine"
    gc.collect()
