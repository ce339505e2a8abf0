"""The dialogue: one client, one backend, and the proof that both read the same bytes.

Theory
------
The backend is kept in lockstep.  At most one command is outstanding; the next one is forwarded when
one complete, valid, final reply has come and nothing stands behind it.  So a reply can belong to one
command only, and whether the next octets are a command, message content or a SASL response is known
before they are looked at.  Towards the client PIPELINING (RFC 2920) goes on: what it sends early
waits in a bounded buffer, and is read line by line, each in the phase that the reply before it led
to.  Since a command is looked at only when every earlier one is answered, the guard's own answers
are in order by construction: there is no queue of replies.

    phase      the next octets of the client are          it ends with
    BANNER     held                                        the backend's 220 -> COMMAND, 4yz 5yz -> REFUSED
    COMMAND    a command line                              forwarded -> REPLY, answered here -> COMMAND
    DELAYED    held                                        the end of the delay -> as COMMAND
    REPLY      held, but an error behind DATA or AUTH      final reply -> COMMAND, 354 -> CONTENT, 334 -> SASL
    CONTENT    message content                             CRLF.CRLF -> REPLY
    SASL       a response of RFC 4954                      forwarded -> REPLY
    CHUNK      octets of a refused BDAT                    the last of them -> COMMAND
    REFUSED    a command line, only QUIT is forwarded      QUIT -> REPLY
    OVER       dropped                                     -

Contract: one method for each thing that can happen, each returns the effects in order.  No method
raises on anything that a client or a backend sends.  All changes of phase are in this file.
"""

from __future__ import annotations

from typing import Final

from . import answers, ehlo
from .answers import Closing
from .bounds import Bounds
from .content import Content, ContentFault
from .effects import BackendFault, Close, Effect, Judged, Refused, ToBackend, ToClient, Wait
from .grammar import Command, Fault, Malformed, chunk_size, parse, parse_sasl
from .invariants import is_other_protocol, must_be_last, never_forwarded, overrule
from .knowledge import Knowledge
from .lines import LineBuffer
from .phases import AWAITED, BACKEND_SPEAKS, CLIENT_OWES, Awaited, Phase
from .replies import BackendReply, Reply, ReplyFault, ReplyReader
from .tally import UNKNOWN, Tally
from .verbs import DISCLOSING, KNOWN_VERBS, PROBES
from .verdict import Action, Judge, Verdict

SAMPLE_OCTETS: Final = 256
"""How much of a refused line that is not complete goes to the log."""
_CONTENT_END: Final = b"."
"""Stands for the end of data where the verb of the outstanding command is asked for."""


class Dialogue:
    """One session.

    `judge` decides about commands; `closing` has the 421 replies; `banner` replaces the text of the
    backend's 220 where a site wants its own.
    """

    __slots__ = (
        "_banner", "_bounds", "_buffer", "_chunk", "_client_finished", "_closing", "_content",
        "_draining", "_first", "_judge", "_known", "_out", "_outstanding", "_pending", "_reader", "_sent",
        "awaited", "awaited_serial", "cut_short", "phase", "tally",
    )  # fmt: skip

    def __init__(
        self, judge: Judge, closing: Closing, bounds: Bounds | None = None, banner: Reply | None = None
    ) -> None:
        self._judge = judge
        self._closing = closing
        self._bounds = bounds or Bounds()
        self._banner = banner
        self._buffer = LineBuffer()
        self._reader = ReplyReader(self._bounds.reply_line, self._bounds.reply)
        self._out: list[Effect] = []
        self._outstanding = b""  # the verb that the backend owes a reply to
        self._sent: Command | None = None  # its command, where the reply changes what is known
        self._pending: tuple[Command, Verdict] | None = None  # while DELAYED
        self._content = Content(seven_bit=False)
        self._chunk = 0  # octets of a refused BDAT still to come
        self._first = True  # no line was read yet
        self._client_finished = False
        self._draining = False
        self._known = Knowledge()
        self.tally = Tally()
        self.cut_short = ""
        """Why the session ended where nothing else in the log says it."""
        self.phase = Phase.BANNER
        self.awaited = Awaited.BANNER
        self.awaited_serial = 0
        """Changes whenever the time-out begins anew."""

    @property
    def over(self) -> bool:
        """True once `Close` was said."""
        return self.phase is Phase.OVER

    @property
    def hungry(self) -> bool:
        """False while more input waits than may; the shell then stops reading the client."""
        return len(self._buffer) < self._bounds.queue

    # -- what can happen ---------------------------------------------------------------------------

    def from_client(self, octets: bytes) -> list[Effect]:
        """The client sent `octets`."""
        if self.over:
            return []
        if self.phase is Phase.REPLY and self._sent and must_be_last(self._sent):
            self._buffer.append(octets)
            self._refuse_early(self._sent.line)
        elif self.phase is Phase.CONTENT:
            self._feed_content(octets)
            self._read_on()
        else:
            self._buffer.append(octets)
            self._read_on()
        return self._effects()

    def from_backend(self, octets: bytes) -> list[Effect]:
        """The backend sent `octets`."""
        if self.over:
            return []
        self._reader.append(octets)
        try:
            while (reply := self._reader.take()) is not None:
                self._handle_reply(reply)
                if self.over:
                    return self._effects()
        except ReplyFault as fault:
            self._backend_fault(fault.what, fault.octets)
            return self._effects()
        if self._reader.pending and self.phase not in BACKEND_SPEAKS and not self._reader.may_be_421:
            self._backend_fault("surplus reply", self._reader.sample)
        else:
            self._read_on()
        return self._effects()

    def client_finished(self) -> list[Effect]:
        """The client will send nothing more, and may still be reading (a half-close)."""
        self._client_finished = True
        self._read_on()
        return self._effects()

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
            if self._outstanding == b"QUIT" or self.phase is Phase.REFUSED:
                self._close()
            else:
                self._out.append(BackendFault("connection lost", self._reader.sample))
                self._hang_up(self._closing.backend_lost)
        return self._effects()

    def delay_over(self) -> list[Effect]:
        """The seconds of the last `Wait` have passed."""
        if self.phase is Phase.DELAYED and self._pending is not None:
            command, verdict = self._pending
            self._pending = None
            self._await(Phase.COMMAND)
            self._carry_out(command, verdict)
            self._read_on()
        return self._effects()

    def timed_out(self) -> list[Effect]:
        """The time-out for `awaited` has passed."""
        if not self.over:
            if self.awaited in CLIENT_OWES:
                self._hang_up(self._closing.client_timeout, "time-out")
            else:
                self._out.append(BackendFault(f"no reply in time ({self.awaited.value})", self._outstanding))
                self._hang_up(self._closing.backend_timeout, "time-out")
        return self._effects()

    def drain(self) -> list[Effect]:
        """The service stops: end now if there is no transaction, or as soon as there is none."""
        self._draining = True
        if self.phase in (Phase.BANNER, Phase.SASL, Phase.REFUSED):
            self._hang_up(self._closing.shutdown, "shutdown")
        elif self.phase is Phase.COMMAND:
            self._read_on()
        return self._effects()

    def stop(self) -> list[Effect]:
        """The time for draining is over."""
        if not self.over:
            self._hang_up(self._closing.shutdown, "shutdown")
        return self._effects()

    def fail(self) -> list[Effect]:
        """A method above raised: that is a fault of this program, and the session ends closed."""
        self._out = [ToClient(self._closing.internal.octets)]
        self._outstanding = b"DATA"  # whatever the backend has of a message, it must not become one
        self._close(linger=True)
        return self._effects()

    # -- what the client sends ---------------------------------------------------------------------

    def _read_on(self) -> None:
        """Read held input as far as the phase allows."""
        while True:
            match self.phase:
                case Phase.COMMAND | Phase.SASL | Phase.REFUSED:
                    if self._reader.pending or not self._read_line():
                        return
                case Phase.CONTENT if len(self._buffer):
                    self._feed_content(self._buffer.take_all())
                case Phase.CONTENT | Phase.CHUNK if self._client_finished and not len(self._buffer):
                    self._close()
                case Phase.CHUNK if len(self._buffer):
                    self._chunk -= len(self._buffer.take(self._chunk))
                    if self._chunk:
                        return
                    self._answer(answers.NOT_IMPLEMENTED)
                case _:
                    return

    def _read_line(self) -> bool:
        """Read one line; False if there is none to read or the session ends."""
        if self._draining and not self._known.in_transaction and self.phase is Phase.COMMAND:
            self._hang_up(self._closing.shutdown, "shutdown")
            return False
        line = self._buffer.take_line(self._bounds.line)
        if line is None:
            if self._client_finished:
                self._close()
            return False
        if isinstance(line, Fault):
            self.tally.seen(UNKNOWN)
            # A response to AUTH may be a password: its octets are not for the log.
            sample = b"" if self.phase is Phase.SASL else self._buffer.sample(SAMPLE_OCTETS)
            self._refuse(Malformed(sample, line))
            return False
        if self.phase is Phase.SASL:
            self._read_sasl(line)
            return True
        first, self._first = self._first, False
        command = parse(line)
        if isinstance(command, Command) and command.verb in KNOWN_VERBS:
            self._known.password_may_come = False
        if first and is_other_protocol(command):
            self.tally.seen(UNKNOWN)
            self._out.append(Refused("another protocol", line, closed=True))
            self._hang_up(answers.NOT_SMTP)
        elif isinstance(command, Malformed):
            self.tally.seen(UNKNOWN)
            self._refuse(command)
        elif not line.isascii() and not self._known.allows_eight_bit(command):
            self.tally.seen(command.verb)
            self._refuse(Malformed(line, Fault.EIGHT_BIT))
        elif self.phase is Phase.REFUSED:
            self._read_refused(command)
        else:
            self._read_command(command)
        return not self.over

    def _read_command(self, command: Command) -> None:
        self.tally.seen(command.verb)
        verdict = overrule(command, self._judge.judge(command, self._known.facts))
        if verdict.action is not Action.FORWARD or command.verb in DISCLOSING or command.verb in PROBES:
            self._note(Judged(command, verdict))
        if verdict.delay and self._client_finished:
            self._close()  # it sends no more, so there is nothing to slow down: do not keep it
        elif verdict.delay:
            self._pending = command, verdict
            self._await(Phase.DELAYED)
            self._out.append(Wait(verdict.delay))
        else:
            self._carry_out(command, verdict)

    def _carry_out(self, command: Command, verdict: Verdict) -> None:
        if verdict.action is Action.CLOSE:
            self._hang_up(verdict.reply or self._closing.policy)
        elif command.verb == b"BDAT":
            self._swallow(command)
        elif must_be_last(command) and len(self._buffer):
            self._refuse_early(command.line)
        elif verdict.action is Action.REPLY:
            self._known.password_may_come |= command.verb == b"AUTH"
            self._answer(verdict.reply or answers.UNKNOWN)
        else:
            self._forward(command)

    def _forward(self, command: Command) -> None:
        if self._reader.pending:
            self._backend_fault("surplus reply", self._reader.sample)
            return
        self._known.sending(command)
        self._sent = command
        self._outstanding = command.verb
        self._await(Phase.REPLY, Awaited.DATA_REPLY if command.verb == b"DATA" else Awaited.REPLY)
        self._out.append(ToBackend(command.line))

    def _swallow(self, command: Command) -> None:
        """Refuse a BDAT (RFC 3030).  Its octets follow at once, so they are counted away first."""
        self._chunk = chunk_size(command.argument) or 0
        if self._chunk:
            self._await(Phase.CHUNK, Awaited.CHUNK)
        else:
            self._answer(answers.NOT_IMPLEMENTED)

    def _read_refused(self, command: Command) -> None:
        """The backend's banner was no 220: RFC 5321 3.1 leaves the client QUIT."""
        self.tally.seen(command.verb)
        if command.verb == b"QUIT" and command.argument is None:
            self._forward(command)
        else:
            self._answer(answers.ONLY_QUIT)

    def _read_sasl(self, line: bytes) -> None:
        malformed = parse_sasl(line)
        if malformed is not None:
            self._refuse(Malformed(b"", malformed.fault))  # not for the log, as above
            return
        self._await(Phase.REPLY)
        self._out.append(ToBackend(line))

    def _feed_content(self, octets: bytes) -> None:
        try:
            content, rest = self._content.feed(octets)
        except ContentFault as fault:
            what = f"{fault.fault.value} in message content, octet {fault.position}"
            self._out.append(Refused(what, b"", closed=True, fault=fault.fault))
            self._hang_up(answers.BAD_CONTENT)
            return
        if self._content.ended and self._reader.pending:
            # What is on its way would be taken for the answer to the message.
            self._backend_fault("reply before the end of data", self._reader.sample)
            return
        if content:
            self._out.append(ToBackend(content))
        if not self._content.ended:
            self._await(Phase.CONTENT, Awaited.DATA_BLOCK)
            return
        self._buffer.append(rest)
        self._outstanding = _CONTENT_END
        self._sent = None
        self._await(Phase.REPLY, Awaited.DATA_END)

    # -- what the backend sends --------------------------------------------------------------------

    def _handle_reply(self, reply: BackendReply) -> None:
        if reply.code == 421:
            self._out.append(ToClient(reply.octets))
            self._close(linger=True)
        elif self.phase is Phase.REPLY:
            self._handle_owed(reply)
        elif self.phase is Phase.BANNER:
            self._handle_banner(reply)
        elif self.phase is Phase.CONTENT and reply.code >= 400:
            self._out.append(ToClient(reply.octets))
            self._close(linger=True)
        else:
            self._backend_fault("surplus reply", reply.octets[:SAMPLE_OCTETS])

    def _handle_banner(self, reply: BackendReply) -> None:
        if reply.code == 220:
            self._out.append(ToClient(self._banner.octets if self._banner else reply.octets))
            self._await(Phase.COMMAND)
        elif reply.code >= 400:
            self._out.append(ToClient(reply.octets))
            self._await(Phase.REFUSED)
        else:
            self._backend_fault("banner that is neither 220 nor a refusal", reply.octets[:SAMPLE_OCTETS])

    def _handle_owed(self, reply: BackendReply) -> None:
        verb, command = self._outstanding, self._sent
        if 300 <= reply.code < 400:
            self._handle_go_ahead(verb, reply)
            return
        self._outstanding = b""
        self._sent = None
        octets = reply.octets
        if verb == _CONTENT_END:
            self._known.in_transaction = False
        if verb == b"AUTH":
            self._known.password_may_come = reply.code >= 400
        if reply.code < 300:
            self._known.accepted(verb, command, reply)
            self.tally.passed(b"DATA" if verb == _CONTENT_END else verb)
            if verb == b"EHLO":
                octets = ehlo.visible(octets, self._offers)
        self._out.append(ToClient(octets))
        if verb == b"QUIT":
            self._close()
        else:
            self._await(Phase.COMMAND)

    def _handle_go_ahead(self, verb: bytes, reply: BackendReply) -> None:
        """A 3yz: only 354 to DATA and 334 to AUTH have a meaning that is beyond doubt."""
        if verb == b"DATA" and reply.code == 354:
            self._content = Content(seven_bit=self._known.seven_bit)
            self._await(Phase.CONTENT, Awaited.DATA_BLOCK)
        elif verb == b"AUTH" and reply.code == 334:
            # What is sent now is a response; what follows it is read when its reply is there.
            self._sent = None
            self._await(Phase.SASL)
        else:
            self._backend_fault("intermediate reply out of place", reply.octets[:SAMPLE_OCTETS])
            return
        self._out.append(ToClient(reply.octets))

    def _offers(self, verb: bytes) -> bool:
        return not never_forwarded(verb) and self._judge.may_forward(verb, self._known.facts)

    # -- ends and answers --------------------------------------------------------------------------

    def _answer(self, reply: Reply) -> None:
        """Send a reply of our own to a command that goes no further."""
        self.tally.refused += 1
        if self.tally.refused > self._bounds.refused > 0:
            self._out.append(Refused("too many refused commands", b"", closed=True))
            self._hang_up(self._closing.too_many)
            return
        self._out.append(ToClient(reply.octets))
        self._await(self.phase if self.phase is Phase.REFUSED else Phase.COMMAND)

    def _refuse(self, malformed: Malformed) -> None:
        closed = malformed.fault.ends_session
        self._note(Refused(malformed.fault.value, malformed.line, closed, malformed.fault))
        if closed:
            self._hang_up(answers.SYNTAX)
        else:
            self._answer(answers.SYNTAX)

    def _note(self, event: Judged | Refused) -> None:
        """Report a line of the client's, unless it may be a password."""
        if self._known.password_may_come:
            closed = isinstance(event, Refused) and event.closed
            event = Refused("line behind a refused AUTH", b"", closed)
        self._out.append(event)

    def _refuse_early(self, line: bytes) -> None:
        self._out.append(Refused("input behind a command whose reply decides what it means", line, closed=True))
        self._hang_up(answers.OUT_OF_TURN)

    def _backend_fault(self, what: str, octets: bytes) -> None:
        self._out.append(BackendFault(what, octets))
        self._hang_up(self._closing.backend_fault)

    def _hang_up(self, reply: Reply, why: str = "") -> None:
        self.cut_short = why
        self._out.append(ToClient(reply.octets))
        self._close(linger=True)

    def _close(self, *, linger: bool = False) -> None:
        # A backend that is in DATA, or about to be, must see no orderly end of what it was sent.
        self._out.append(Close(abort_backend=self._outstanding == b"DATA", linger=linger))
        self.phase = Phase.OVER
        self.awaited = Awaited.NOTHING
        self.awaited_serial += 1

    def _await(self, phase: Phase, awaited: Awaited | None = None) -> None:
        self.phase = phase
        self.awaited = awaited or AWAITED[phase]
        self.awaited_serial += 1

    def _effects(self) -> list[Effect]:
        out, self._out = self._out, []
        return out
