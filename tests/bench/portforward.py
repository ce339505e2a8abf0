"""Twisted's own port forwarder on its stock reactor: `python -m tests.bench.portforward PORT TARGET QUEUE`.

The reactor is made here, not imported: what an import would give depends on the machine.
"""

from __future__ import annotations

import sys

from twisted.internet.epollreactor import EPollReactor
from twisted.protocols.portforward import ProxyFactory, ProxyServer


def main(port: int, target: int, queue: int) -> None:
    """Forward until killed."""
    reactor = EPollReactor()
    ProxyServer.reactor = reactor  # type: ignore[assignment]  # it is declared by what it is not
    reactor.listenTCP(port, ProxyFactory("127.0.0.1", target), backlog=queue, interface="127.0.0.1")
    reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
