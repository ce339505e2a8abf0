"""What `identity: transparent` needs of the host: a capability and routes; and what happens without."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.guard import GuardFailed
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until

from .placed import LOOPBACK, OTHER_HOST, SAME_HOST, TRANSPARENT, Placed, routes, transparent
from .support import GUARD, MAIL, OUTSIDER, UNAVAILABLE, V4, V6, Net, guarding, of_sendmail, on

# -- what is missing --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unrouted(net: Net) -> Iterator[RealSendmail]:
    """A sendmail on a host that has no such routes."""
    with on(net.mail, RealSendmail(listen=[(address, 0) for address in LOOPBACK])) as server:
        yield server


def test_without_routes_nobody_is_served_and_the_log_says_what_to_do(
    net: Net, unrouted: RealSendmail, tmp_path: Path
) -> None:
    """As long as they are missing: once they are there, it serves without a restart."""
    with guarding(net.mail, tmp_path, transparent(unrouted), timeouts={"connect": 0.5}) as guard:
        for outsider in ("198.51.100.1", "2001:db8::1"):
            guard.wait_line(
                rf"relay check: .* gave no clear answer: cannot connect: timed out, so the answers of \S+ to "
                rf"{outsider} do not come back to this host \(see smtpguard-transparent up\).*; clients get 421 until"
            )
        with net.guard.talk(MAIL[V4], guard.port) as client:
            assert client.banner.startswith(UNAVAILABLE)
        with routes(net.mail):
            guard.wait_line("refuses to relay mail from 198.51.100.1: 550 5.7.1 ")
            guard.wait_line("refuses to relay mail from 2001:db8::1: 550 5.7.1 ")

            def served() -> bool:
                with net.guard.talk(MAIL[V4], guard.port) as client:
                    return client.banner.startswith("220 ")

            wait_until(served, "the guard to serve")


def test_a_client_whose_answers_go_astray_is_no_outage(net: Net, placed: Placed, tmp_path: Path) -> None:
    """One that the mail server reaches by another way, as a neighbour of its; the guard asks, and serves all others."""
    if placed.where == SAME_HOST:
        # In front of the rule for all there is one for this client.
        net.guard.ip("rule", "add", "to", OUTSIDER[V4], "iif", "lo", "lookup", "main", "preference", "99")
    else:
        net.mail.route(OUTSIDER[V4], "dev", "lo")
    try:
        with guarding(net.guard, tmp_path, transparent(placed.server), timeouts={"connect": 0.5}) as guard:
            with net.outsider.talk(GUARD[V4], guard.port) as client:
                assert client.banner.startswith(UNAVAILABLE)
            guard.wait_line(rf"cannot connect: timed out, so the answers of \S+ to {OUTSIDER[V4]} do not come back")
            with net.customer.talk(GUARD[V4], guard.port) as client:
                assert client.banner.startswith("220 ")
            assert "421 until it has been asked again" not in "\n".join(guard.lines())
    finally:
        if placed.where == SAME_HOST:
            net.guard.ip("rule", "del", "preference", "99")
        else:
            net.mail.ip("route", "del", OUTSIDER[V4])


def test_without_the_capability_it_ends_with_78_and_says_which_and_where(
    net: Net, unrouted: RealSendmail, tmp_path: Path
) -> None:
    """CAP_NET_RAW would do as well (ip(7)), so it is taken away too."""
    without = ("setpriv", "--inh-caps=-all", "--bounding-set=-net_admin,-net_raw")
    with (
        pytest.raises(GuardFailed, match="CAP_NET_ADMIN") as failed,
        guarding(net.mail, tmp_path, transparent(unrouted), wrapper=without),
    ):
        pytest.fail("it serves")
    assert f"ended with {os.EX_CONFIG}" in str(failed.value)
    assert "smtpguard.service.d/transparent.conf" in str(failed.value)


def test_the_capability_that_the_drop_in_gives_is_enough(net: Net, placed: Placed, tmp_path: Path) -> None:
    """AmbientCapabilities=CAP_NET_ADMIN, and no other."""
    alone = ("setpriv", "--inh-caps=-all", "--bounding-set=-all,+net_admin")
    with guarding(net.guard, tmp_path, transparent(placed.server), wrapper=alone) as guard:
        for family in (V4, V6):
            with net.outsider.talk(GUARD[family], guard.ports[family]) as client:
                assert f"[{of_sendmail(OUTSIDER[family])}]" in client.banner


# -- the routes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backends", [(), ("10.25.0.9@eth0:2525", "fd25::9@eth0")], ids=[SAME_HOST, OTHER_HOST])
def test_routes_are_set_up_and_taken_back_as_often_as_one_likes(net: Net, backends: tuple[str, ...]) -> None:
    """systemd runs `up` at every start and `down` at every stop, also after a crash."""
    own = ("ip", "-4", "rule"), ("ip", "-6", "rule")
    before = [net.mail.run(*command) for command in own]
    for _ in range(2):
        net.mail.run(TRANSPARENT, "up", *backends)
    for family, was, command in zip(("-4", "-6"), before, own, strict=True):
        assert net.mail.run(*command).count("lookup 123") == was.count("lookup 123") + 1
        assert "local default dev lo" in net.mail.run("ip", family, "route", "show", "table", "123")
    for _ in range(2):
        net.mail.run(TRANSPARENT, "down", *backends)
    assert [net.mail.run(*command) for command in own] == before
    for family in ("-4", "-6"):
        said = subprocess.run([*net.mail.prefix, "ip", family, "route", "show", "table", "123"], capture_output=True)
        assert said.stdout == b""


def test_what_the_routes_would_be_is_shown_without_setting_them_up(net: Net) -> None:
    """`show`, and usage."""
    before = net.mail.run("ip", "rule")
    shown = net.mail.run(TRANSPARENT, "show", "10.25.0.9@eth0:2525")
    assert shown.splitlines() == [
        "ip -4 rule add from 10.25.0.9/32 iif eth0 ipproto tcp sport 2525 table 123 preference 123",
        "ip -4 route replace local 0.0.0.0/0 dev lo table 123",
    ]
    assert net.mail.run("ip", "rule") == before
    for arguments in ((), ("sideways",), ("up", "mail.example.org"), ("up", "10.25.0.9;reboot@eth0")):
        assert "usage: " in net.mail.run(TRANSPARENT, *arguments, status=os.EX_USAGE)
