"""A process of its own, for what changes the process: which reactor it has, its descriptors, sockets from systemd.

`python -m tests.transport.apart KIND ENDPOINT` echoes at the endpoint, says `listening PORT`, and ends at SIGTERM.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

from twisted.internet.protocol import Factory, Protocol

from smtpguard.net import endpoints
from smtpguard.transport.reactor import install, loop_of


class Echo(Protocol):
    """Says what it is told."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


def main(kind: Any, text: str) -> None:
    """Echo until SIGTERM."""
    install(kind)
    from twisted.internet import reactor  # noqa: TID251 - a process of its own

    own: Any = reactor
    listening = endpoints.server(own, text).listen(Factory.forProtocol(Echo))
    listening.addCallbacks(
        lambda port: print(f"listening {getattr(port.getHost(), 'port', 0)} {loop_of(own) is not None}", flush=True),  # noqa: T201
        lambda failure: print(failure.getErrorMessage(), flush=True),  # noqa: T201
    )
    signal.signal(signal.SIGTERM, lambda *_: own.callFromThread(own.stop))
    own.run(installSignalHandlers=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
