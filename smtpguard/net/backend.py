"""Connecting to the mail server, from the address that the client's network gets.

Contract: `BackendConnector.connect` starts a connection for one session.  The source address is
chosen by the first network in `backend.bind` that has the client, else by its `default`.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory

from ..config.settings import Backend
from ..policy.networks import NetworkTable, Peer
from . import endpoints
from .session import BackendSide


class BackendConnector:
    """Knows the one backend."""

    def __init__(self, reactor: Any, settings: Backend, networks: NetworkTable, timeout: float) -> None:
        self._networks = networks
        self._by_network = [
            (networks.bits_of(name), endpoints.client(reactor, settings.endpoint, address, timeout))
            for name, address in settings.bind.items()
            if name != "default"
        ]
        self.for_outsiders = endpoints.client(reactor, settings.endpoint, settings.bind.get("default"), timeout)
        """Where a client of no named network is connected to."""

    @staticmethod
    def unusable(settings: Backend) -> list[str]:
        """Return what is wrong with the source addresses on this host, in words."""
        found = []
        for name, address in settings.bind.items():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                try:
                    probe.bind((address, 0))
                except OSError as error:
                    found.append(f"bind: {name}: {address} cannot be used on this host: {error.strerror}")
        return found

    def connect(self, protocol: BackendSide, peer: Peer) -> Deferred[Any]:
        endpoint = self.for_outsiders
        if self._by_network:
            bits = self._networks.classify(peer)
            endpoint = next((e for bit, e in self._by_network if bits & bit), endpoint)
        return endpoint.connect(Factory.forProtocol(lambda: protocol))
