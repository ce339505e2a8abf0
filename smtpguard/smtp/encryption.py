"""How a session comes to be encrypted: STARTTLS that ends at the guard, and STARTTLS that is passed on.

Contract: `Encryption` is the part of a dialogue that STARTTLS changes (RFC 3207).  Between the 220 and
the end of the handshake nothing is read and nothing is said; octets that were there before the 220
end the session, on either side, so that nothing said in clear counts inside TLS.  Behind a STARTTLS that was passed
on there is a tunnel, of which nobody knows what it carries.  dialogue.py has the theory.
"""

from __future__ import annotations

from . import answers
from .effects import BeginTls, ToBackend, ToClient, Uninspected
from .phases import Phase
from .replies import BackendReply, Reply
from .transfer import Transfer


class Encryption(Transfer):
    """Begins TLS."""

    __slots__ = ()

    def _begin_tls(self, ready: Reply) -> None:
        """Answer a STARTTLS; it is known to be the last octet that the client has sent."""
        if self._reader.pending:  # what has begun in clear must not end inside
            self._backend_fault("surplus reply", self._reader.sample)
            return
        if self._client_finished:
            self._close()
            return
        if self._known.in_transaction or self._known.facts.authenticated:
            # The backend would go on where it was, and the client begins anew (RFC 3207 4.2).
            self._answer(answers.NO_TLS_NOW, b"STARTTLS")
            return
        self._out += (ToClient(ready.octets), BeginTls())
        self._await(Phase.TLS)

    def _begin_tunnel(self, reply: BackendReply) -> None:
        """The backend has accepted a STARTTLS that was passed on."""
        if self._reader.pending or len(self._intake):
            self._backend_fault("octets behind the reply to STARTTLS", self._reader.sample)
            return
        if self._client_finished:
            self._close()
            return
        self._out += (Uninspected(), ToClient(reply.octets))
        self._await(Phase.TUNNEL)

    def _through_tunnel(self, effect: ToBackend | ToClient) -> None:
        self._out.append(effect)
        self._await(Phase.TUNNEL)
