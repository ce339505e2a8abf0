"""What the tests of this folder share: the hosts, what runs on them, and the policy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final, TypeVar

import pytest
import yaml
from attrs import frozen

from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.hosts import Host, Wire, hosts
from tests.rig.sendmail import Delivery, RealSendmail, run_directory
from tests.rig.unpacked import UnpackedServer
from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard, server_endpoint

Server = TypeVar("Server")

EVERYWHERE: Final = ("0.0.0.0", "::")
FOREIGN: Final = "RCPT TO:<somebody@else.example>"
NO_VRFY: Final = "252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)"
UNAVAILABLE: Final = "421 4.3.2 "

V4, V6 = 0, 1
both: Final = pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])

# Addresses, by family.
OUTSIDER: Final = "203.0.113.9", "2001:db8:9::9"
UNWANTED: Final = "203.0.113.66", "2001:db8:9::66"
CUSTOMER: Final = "203.0.113.77", "2001:db8:9::77"
HASTY: Final = "203.0.113.88", "2001:db8:9::88"
INSIDER: Final = "10.1.2.3", "fd00::3"
BALANCER: Final = "198.51.100.80", "2001:db8:80::80"
GUARD: Final = "198.51.100.25", "2001:db8:25::25"
INNER: Final = "10.25.0.1", "fd25::1"
"""The guard's addresses towards the mail host."""
MAIL: Final = "10.25.0.2", "fd25::2"

POLICY: Final = {
    "networks": {
        # The balancer is inside, its clients are not.
        "internal": ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "fc00::/7", *BALANCER],
        "customers": list(CUSTOMER),
    },
    "rulesets": {
        "check_vrfy": [{"from": ["internal", "customers"], "action": "forward"}, {"action": "reply"}],
        "check_expn": [{"from": "internal", "action": "forward"}, {"action": "reply"}],
    },
}


@frozen
class Net:
    """The hosts: all on one wire, but that the mail host is behind the guard's."""

    outsider: Host
    unwanted: Host
    customer: Host
    hasty: Host
    insider: Host
    balancer: Host
    guard: Host
    mail: Host


@contextmanager
def network() -> Iterator[Net]:
    """Make the hosts."""
    names = "outsider", "unwanted", "customer", "hasty", "insider", "balancer", "guard", "mail"
    places = OUTSIDER, UNWANTED, CUSTOMER, HASTY, INSIDER, BALANCER, GUARD
    with Wire("public") as public, Wire("inner") as inner, hosts(*names) as made:
        net = Net(*made)
        for host, addresses in zip(made, places, strict=False):
            host.plug(public, *addresses)
        device = net.guard.plug(inner, *INNER, default=False)
        net.mail.plug(inner, *MAIL, default=False)
        for near, far in zip(INNER, MAIL, strict=True):
            net.guard.route(far, "dev", device, "src", near)
            net.mail.route(near, "dev", "eth0")
            net.mail.route("::/0" if ":" in near else "0.0.0.0/0", "via", near, "dev", "eth0", "onlink")
        yield net


def policy(**more: object) -> str:
    """Return the policy of these tests, with further keys."""
    return yaml.safe_dump({**POLICY, **more})


def endpoint(address: str, port: int) -> str:
    """Return the endpoint string for a client of this address."""
    escaped = address.replace(":", "\\:")
    return f"tcp:{escaped}:{port}"


def proxied(*trusted: str, listen: tuple[str, ...] = EVERYWHERE) -> list[dict[str, object]]:
    """Return listeners that want PROXY headers."""
    return [
        {"endpoint": server_endpoint(address), "proxy_protocol": "required", "trusted": list(trusted)}
        for address in listen
    ]


@contextmanager
def on(host: Host, server: AbstractContextManager[Server]) -> Iterator[Server]:
    """Run something of the rig on a host."""
    with ExitStack() as running:
        with host.inside():
            made = running.enter_context(server)
        yield made


@contextmanager
def guarding(
    host: Host,
    folder: Path,
    backend: Mapping[str, object],
    rules: str = "",
    wrapper: tuple[str, ...] = (),
    listen: tuple[str, ...] = EVERYWHERE,
    listeners: list[dict[str, object]] | None = None,
    **settings: object,
) -> Iterator[Guard]:
    """Run a guard on a host; `listen` are its addresses, `listeners` what the settings say of them."""
    timeouts = {"connect": 2, **_mapping(settings.pop("timeouts", {}))}
    whole = {"backend": backend, "relay_check": "enforce", "timeouts": timeouts, **settings}
    if listeners is not None:
        whole["listen"] = listeners
    guard = ConfiguredGuard(folder, ("127.0.0.1", 1), rules or policy(), whole, listen, wrapper)
    with on(host, guard):
        yield guard


@contextmanager
def access_map(entries: str) -> Iterator[Path]:
    """Make an access map for sendmail, where it trusts it."""
    folder = run_directory("access")
    try:
        write_map(folder / "access", entries)
        yield folder / "access"
    finally:
        shutil.rmtree(folder)


def write_map(access: Path, entries: str) -> None:
    """Do as an administrator does; sendmail sees it at the next connection, without a restart."""
    made = access.with_name("new")
    subprocess.run(["makemap", "hash", str(made)], input=entries.encode("ascii"), check=True)
    made.with_name("new.db").rename(access.with_name("access.db"))


def mail_from(client: Talk, content: str = "Subject: hello\r\n\r\nhello\r\n", sender: str = "a@b.example") -> None:
    """Send one mail to george, on a session that has greeted."""
    for command in (f"MAIL FROM:<{sender}>", "RCPT TO:<george@x.test>", "DATA"):
        assert client.say(command)[0] in "23", command
    client.send(content.encode("ascii"))
    assert client.say(".").startswith("250 2.0.0 ")


def leave(client: Talk) -> None:
    """Say QUIT, and wait for the end."""
    assert client.say("QUIT").startswith("221 ")
    assert client.closed()


def delivered(server: UnpackedServer | RealSendmail, sender: str) -> list[Delivery]:
    """Wait until a mail of this sender has come; return all of that sender's."""

    def found() -> list[Delivery]:
        return [one for one in server.deliveries(0) if one.sender == sender]

    return wait_until(found, f"mail of {sender}", 30, server.log)


def of_sendmail(address: str) -> str:
    """Return an address as sendmail writes it: `IPv6:` in front, and no `::`."""
    if ":" not in address:
        return address
    return "IPv6:" + ":".join(f"{int(group, 16):x}" for group in IPv6Address(address).exploded.split(":"))


def of_guard(address: str) -> str:
    """Return an address as the guard's log has it."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return value
