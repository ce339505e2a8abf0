"""What the backend says, and what that means for a session.

Contract: `Hearing` is the part of a dialogue that reads replies; each belongs to the one command that is outstanding,
or is a fault.  What it may not say now ends the session.  dialogue.py has the theory.
"""

from __future__ import annotations

from . import ehlo
from .answers import Closing
from .effects import Authenticated, BackendFault, RecipientRefused, ToClient
from .ends import LIMIT, Ends
from .grammar import Command, recipient_of
from .intake import SAMPLE_OCTETS
from .invariants import not_offered, offers_tls
from .phases import BACKEND_SPEAKS, MUTE, Phase
from .replies import BackendReply
from .tally import Tally
from .terms import Terms
from .transfer import CONTENT_END, leaves_doubt
from .verdict import Facts, Judge


class Hearing(Ends):
    """Replies of the backend."""

    __slots__ = ("_judge", "tally")

    def __init__(self, judge: Judge, closing: Closing, terms: Terms, facts: Facts | None = None) -> None:
        super().__init__(closing, terms, facts)
        self._judge = judge
        self.tally = Tally()

    @property
    def _backend_may_speak(self) -> bool:
        """A reply, or the beginning of one, may come."""
        return self.phase in BACKEND_SPEAKS or self._inside_message

    def _handle_reply(self, reply: BackendReply) -> None:
        if reply.code == 421:
            if self.phase not in MUTE:
                self._out.append(ToClient(reply.octets))
            self._close(linger=self.phase not in MUTE)
        elif self.phase is Phase.REPLY:
            self._handle_owed(reply)
        elif self.phase is Phase.BANNER:
            self._handle_banner(reply)
        elif self._inside_message and reply.code >= 400:
            self._out.append(BackendFault("refusal in the middle of a message", reply.octets[:SAMPLE_OCTETS]))
            self._out.append(ToClient(reply.octets))
            self._close(linger=True)
        else:
            self._backend_fault("surplus reply", reply.octets[:SAMPLE_OCTETS])

    def _handle_banner(self, reply: BackendReply) -> None:
        if reply.code == 220:
            self._out.append(ToClient(self._terms.banner.octets if self._terms.banner else reply.octets))
            self._await(Phase.COMMAND)
        elif reply.code >= 400:
            self._out.append(ToClient(reply.octets))
            self._only_quit = True
            self._await(Phase.REFUSED)
        else:
            self._backend_fault("banner that is neither 220 nor a refusal", reply.octets[:SAMPLE_OCTETS])

    def _handle_owed(self, reply: BackendReply) -> None:
        verb, command = self._outstanding, self._sent
        if 300 <= reply.code < 400:
            self._handle_go_ahead(verb, reply)
            return
        if reply.code < 300 and (verb == b"DATA" or (verb == b"BDAT" and reply.code != 250)):
            self._backend_fault("reply of the wrong class", reply.octets[:SAMPLE_OCTETS])
            return
        self._outstanding = b""
        self._sent = None
        octets = reply.octets
        if verb == CONTENT_END or (verb == b"BDAT" and reply.code >= 400):
            self._known.message_over()
        if verb == b"AUTH":
            self._note_authentication(reply)
        if verb == b"RCPT" and reply.code >= 500:
            self._recipient_refused(command, reply.code)
        if reply.code < 300:
            self._known.accepted(verb, command, reply)
            self.tally.passed(b"DATA" if verb == CONTENT_END else verb)
            if verb == b"EHLO":
                octets = self._offer(octets)
        if verb == b"STARTTLS" and reply.code == 220:
            self._begin_tunnel(reply)
            return
        self._out.append(ToClient(octets))
        if verb == b"QUIT":
            self._close()
        elif reply.code >= 400 and command is not None and leaves_doubt(command, reply):
            self._out.append(BackendFault("refusal of a chunk", reply.octets[:SAMPLE_OCTETS]))
            self._close(linger=True)
        else:
            self._await(Phase.COMMAND)

    def _handle_go_ahead(self, verb: bytes, reply: BackendReply) -> None:
        """A 3yz: only 354 to DATA and 334 to AUTH have a meaning that is beyond doubt."""
        if self.leaving:
            self._hang_up(self._closing.limited, LIMIT)
            return
        if verb == b"DATA" and reply.code == 354:
            self._begin_content()
        elif verb == b"AUTH" and reply.code == 334:
            # What is sent now is a response; what follows it is read when its reply is there.
            self._sent = None
            self._await(Phase.SASL)
        else:
            self._backend_fault("intermediate reply out of place", reply.octets[:SAMPLE_OCTETS])
            return
        self._out.append(ToClient(reply.octets))

    def _recipient_refused(self, command: Command | None, code: int) -> None:
        if code == 552:  # too many of them, or too much mail for this one
            self._known.recipients_overfull()
        elif code != 503 and command is not None:  # out of turn
            self._out.append(RecipientRefused(recipient_of(command), code))
            self._noted = True

    def _note_authentication(self, reply: BackendReply) -> None:
        self._known.password_may_come = reply.code >= 400
        if reply.code in (235, 535):
            self._out.append(Authenticated(self._known.mechanism, reply.code == 235))
            self._noted = True
        if reply.code == 535:
            self._known.authentication_failed()

    def _offer(self, reply: bytes) -> bytes:
        """Return the EHLO reply that the client sees."""
        reply = ehlo.visible(reply, self._offers)
        facts = self._known.facts
        # A keyword stands in a 250 (RFC 5321 4.1.1.1), and all lines of a reply have one code.
        if reply.startswith(b"250") and offers_tls(self._terms, facts) and self._judge.may_forward(b"STARTTLS", facts):
            reply = ehlo.offering(reply, b"STARTTLS")
        return reply

    def _offers(self, verb: bytes) -> bool:
        return not not_offered(verb, self._terms) and self._judge.may_forward(verb, self._known.facts)
