"""What a socket of this process may do on this host.

Contract: questions to the kernel, without a reactor: `check` asks them too.  Nothing is sent.
"""

from __future__ import annotations

import socket
from typing import Final

_TRANSPARENT: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, 19),  # IP_TRANSPARENT, linux/in.h
    socket.AF_INET6: (socket.IPPROTO_IPV6, 75),  # IPV6_TRANSPARENT, linux/in6.h
}
_NO_PORT_YET: Final = (socket.IPPROTO_IP, 24)  # IP_BIND_ADDRESS_NO_PORT, linux/in.h


def make_transparent(unbound: socket.socket) -> None:
    """Let a TCP socket be bound to any address (ip(7)); raises OSError."""
    unbound.setsockopt(*_TRANSPARENT[unbound.family], 1)
    # The port is chosen when the destination is known, so that one address may have more sessions than ports.
    unbound.setsockopt(*_NO_PORT_YET, 1)


def no_transparency(family: int) -> str:
    """Return why no socket of this family (4 or 6) can be transparent here, or "" if one can."""
    with socket.socket(_family(family), socket.SOCK_STREAM) as probe:
        try:
            make_transparent(probe)
        except PermissionError:
            return (
                "identity: transparent needs the capability CAP_NET_ADMIN, which this process does not have: check as "
                "root; with systemd, the service has it by the drop-in smtpguard.service.d/transparent.conf"
            )
        except OSError as error:
            return f"identity: transparent does not work on this host: {error.strerror}"
    return ""


def unbindable(address: str) -> str:
    """Return why nothing can connect from `address` on this host, or "" if it can."""
    with socket.socket(_family(6 if ":" in address else 4), socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _family(version: int) -> socket.AddressFamily:
    return socket.AF_INET6 if version == 6 else socket.AF_INET
