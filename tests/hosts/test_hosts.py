"""The rig's hosts: apart from each other and from this machine, and gone at the end."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.rig.hosts import Host, Wire
from tests.rig.sendmail import RealSendmail

from .support import GUARD, INNER, OUTSIDER, V4, V6, Net, both, on


def names() -> set[str]:
    """Return the namespaces that there are, of all runs."""
    return {path.name for path in Path("/run/netns").iterdir()}


@both
def test_hosts_on_a_wire_reach_each_other_and_nobody_else(net: Net, family: int) -> None:
    """A server that listens everywhere on a host is there for its neighbours, and not for this machine."""
    here, everywhere = (("127.0.0.1", "0.0.0.0"), ("::1", "::"))[family]
    kind = (socket.AF_INET, socket.AF_INET6)[family]
    with net.guard.inside(), socket.create_server((everywhere, 0), family=kind) as server:
        server.settimeout(20)
        port = server.getsockname()[1]
        with net.outsider.talk(GUARD[family], port, greet=False) as client:
            accepted, source = server.accept()
            accepted.close()
            assert source[0] == OUTSIDER[family] == client.source[0]
    with pytest.raises(ConnectionRefusedError), socket.create_connection((here, port), 5):
        pytest.fail("the server is here")


def test_the_mail_host_is_reached_through_the_guard_alone(net: Net) -> None:
    """All that it sends elsewhere goes there."""
    for family in (V4, V6):
        assert f" via {INNER[family]} " in net.mail.ip("route", "get", OUTSIDER[family])


def test_a_server_of_the_rig_runs_on_a_host_with_all_its_children(net: Net) -> None:
    """It listens there, and a child of its serves there."""
    with on(net.guard, RealSendmail()) as server:
        with net.guard.talk("127.0.0.1", server.port) as client:
            assert client.banner.startswith("220 x.test ")  # by a child
        with pytest.raises(ConnectionRefusedError):
            net.outsider.talk("127.0.0.1", server.port)


def test_two_hosts_may_have_one_name_and_none_is_left_after_a_failure() -> None:
    """Nor are the devices that a forgotten socket would keep."""
    forgotten: list[socket.socket] = []
    made: list[str] = []

    def fail_among_hosts() -> None:
        with Wire("wire") as wire, Host("twin") as one, Host("twin") as other:
            made.extend(each.namespace for each in (wire, one, other))
            one.plug(wire, "192.0.2.1")
            other.plug(wire, "192.0.2.2")
            with one.inside():
                forgotten.append(socket.socket())
            assert wire.devices() == ["switch", "port1", "port2"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_among_hosts()
    assert len(set(made)) == 3
    assert not names() & set(made)
    forgotten[0].close()


def test_what_a_killed_run_left_is_removed_and_what_runs_is_not() -> None:
    """By the process in the name."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    left, running = f"smtpguard-{ended.pid}-1-left", f"smtpguard-{os.getppid()}-1-running"
    try:
        for name in (left, running):
            subprocess.run(["ip", "netns", "add", name], check=True)
        with Host("new"):
            assert left not in names()
            assert running in names()
    finally:
        subprocess.run(["ip", "netns", "del", running], check=True)


def test_a_thread_comes_back_from_a_host_also_after_a_failure(net: Net) -> None:
    """Else all that comes behind it would be there."""

    def where() -> str:
        return os.readlink("/proc/thread-self/ns/net")

    def fail_there() -> None:
        with net.guard.inside():
            assert where() != here
            raise ZeroDivisionError

    here = where()
    with pytest.raises(ZeroDivisionError):
        fail_there()
    assert where() == here
