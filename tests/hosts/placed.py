"""A real sendmail before which the guard is transparent: on the guard's own host, or on one behind it.

The latter has the guard's host for its default gateway, as identity.md demands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from tests.rig.guard import ROOT, Guard
from tests.rig.hosts import Host
from tests.rig.sendmail import RealSendmail

from .support import CUSTOMER, HASTY, MAIL, UNWANTED, V4, V6, Net, access_map, endpoint, guarding, of_sendmail, on

LOOPBACK: Final = "127.0.0.1", "::1"
SAME_HOST: Final = "its own host"
OTHER_HOST: Final = "a host of its own"
TRANSPARENT: Final = str(ROOT / "systemd/smtpguard-transparent")
RATE: Final = 3
"""Connections a minute that sendmail grants to HASTY, of either family."""

_ACCESS: Final = "".join(
    f"{key}:{of_sendmail(address)} {value}\n"
    for key, addresses, value in (("Connect", UNWANTED, "REJECT"), ("ClientRate", HASTY, str(RATE)))
    for address in addresses
) + (f"Connect:{of_sendmail(CUSTOMER[V6])} RELAY\nClientRate: 0\n")


def _configuration(access: Path) -> str:
    """Return what the administrator has in sendmail.mc: relaying, limits, and a rule set of his own for VRFY."""
    refused = "".join(
        f'R{of_sendmail(address)}\t$#error $@ 5.7.1 $: "550 No VRFY for " $&{{client_addr}}\n' for address in CUSTOMER
    )
    return (
        f"FEATURE(`access_db', `hash -o {access}')dnl\n"
        "FEATURE(`ratecontrol', `nodelay', `terminate')dnl\n"
        f"RELAY_DOMAIN(`{CUSTOMER[V4]}')dnl\n"
        "LOCAL_RULESETS\nScheck_vrfy\n"
        f"R$*\t$: $&{{client_addr}}\n{refused}"
        "divert(0)dnl\n"
    )


@frozen
class Placed:
    """A sendmail, where it is, and the guard before it."""

    where: str
    server: RealSendmail
    guard: Guard

    def port(self, family: int) -> int:
        return self.guard.ports[family]


@contextmanager
def routes(host: Host, *backends: str) -> Iterator[None]:
    """Set the routes up, and take them back."""
    host.run(TRANSPARENT, "up", *backends)
    try:
        yield
    finally:
        host.run(TRANSPARENT, "down", *backends)


def transparent(server: RealSendmail) -> dict[str, object]:
    """Return the settings for a sendmail that listens at an address of either family."""
    v4, v6 = (endpoint(*at) for at in server.listeners)
    return {"endpoint": v4, "endpoint_ipv6": v6, "identity": "transparent", "profile": "sendmail"}


@contextmanager
def placing(net: Net, where: str, folder: Path) -> Iterator[Placed]:
    """Run both, with the routes between them."""
    host, addresses = (net.guard, LOOPBACK) if where == SAME_HOST else (net.mail, MAIL)
    with ExitStack() as stack:
        access = stack.enter_context(access_map(_ACCESS))
        listen = [(address, 0) for address in addresses]
        server = stack.enter_context(on(host, RealSendmail(listen=listen, extra_mc=_configuration(access))))
        backends = [] if where == SAME_HOST else [f"{address}@eth1:{port}" for address, port in server.listeners]
        stack.enter_context(routes(net.guard, *backends))
        yield Placed(where, server, stack.enter_context(guarding(net.guard, folder, transparent(server))))
