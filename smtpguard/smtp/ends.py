"""The ends of a session that neither side asked for: lost peers, time-outs, the end of the service, a fault of ours.

Contract: `Ends` is the part of a dialogue that has one method for each of them; behind any of them there
is a `Close`, and the client has been told why if it could be.  dialogue.py has the theory.
"""

from __future__ import annotations

from typing import Final

from .answers import Closing
from .effects import BackendFault, Effect, TooSlow
from .encryption import Encryption
from .phases import CLIENT_OWES, Phase
from .terms import Terms
from .transfer import CONTENT_END
from .verdict import Facts

LIMIT: Final = "limit"
"""Why a session was cut short whose client was sent away."""
_MESSAGES: Final = frozenset({CONTENT_END, b"BDAT"})
"""What is outstanding where the backend has a message, or a chunk of one, and is about to answer."""


class Ends(Encryption):
    """Ends."""

    __slots__ = ("broken_off",)

    def __init__(self, closing: Closing, terms: Terms, facts: Facts | None = None) -> None:
        super().__init__(closing, terms, facts)
        self.broken_off = False
        """The backend went away in the middle."""

    def client_lost(self) -> list[Effect]:
        """The client is gone.  A message whose end the backend has not seen must not become one."""
        if not self.over:
            self._close()
        return self._effects()

    def backend_unreachable(self) -> list[Effect]:
        """No connection to the backend could be made."""
        if not self.over:
            self._hang_up(self._closing.unavailable)
        return self._effects()

    def backend_lost(self) -> list[Effect]:
        """The backend closed the connection."""
        if not self.over:
            if self._outstanding == b"QUIT" or self._only_quit or self.phase is Phase.TUNNEL:
                self._close()
            else:
                self.broken_off = True
                self._out.append(BackendFault("connection lost", self._reader.sample))
                self._hang_up(self._closing.backend_lost)
        return self._effects()

    def timed_out(self, backend_full: bool = False, client_full: bool = False) -> list[Effect]:
        """The time-out for `awaited` has passed.

        `backend_full` if the client was not read meanwhile, for that; `client_full` if neither was, since the client
        does not read: then it says nothing of the backend.
        """
        if not self.over:
            if client_full or (self.awaited in CLIENT_OWES and not self._reader.pending and not backend_full):
                self._hang_up(self._closing.client_timeout, "time-out")
            else:
                octets = self._outstanding or self._reader.sample
                self._out.append(BackendFault(f"no reply in time ({self.awaited.value})", octets))
                self._hang_up(self._closing.backend_timeout, "time-out")
        return self._effects()

    def too_slow(self, octets: int, seconds: float) -> list[Effect]:
        """No more than `octets` of a message came in so many seconds."""
        if not self.over:
            self._out.append(TooSlow(octets, seconds))
            self._hang_up(self._closing.too_slow, "too slow")
        return self._effects()

    def send_away(self) -> list[Effect]:
        """The client may no longer be here: end now; only a message that is on its way gets its reply before."""
        self.leaving = True
        on_its_way = self._inside_message or (self.phase is Phase.REPLY and self._outstanding in _MESSAGES)
        if not self.over and not on_its_way:
            self._hang_up(self._closing.limited, LIMIT)
        return self._effects()

    def stop(self) -> list[Effect]:
        """The time for draining is over."""
        if not self.over:
            self._hang_up(self._closing.shutdown, "shutdown")
        return self._effects()

    def fail(self) -> list[Effect]:
        """A method of the dialogue raised: that is a fault of this program, and the session ends closed."""
        self._out = []
        self._outstanding = b"DATA"  # whatever the backend has of a message, it must not become one
        self._hang_up(self._closing.internal)
        return self._effects()
