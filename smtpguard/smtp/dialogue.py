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
    CHUNK      octets of a BDAT                            the last of them -> REPLY, of a refused one COMMAND
    REFUSED    a command line, only QUIT is forwarded      QUIT -> REPLY
    TLS        the handshake, which the shell does         its end -> COMMAND, with nothing known
    TUNNEL     whatever they are                           -
    OVER       dropped                                     -

Contract: one method for each thing that can happen, each returns the effects in order.  No method
raises on anything that a client or a backend sends.  All changes of phase are in this file, in
hearing.py, which has the backend's replies, in ends.py, which has the ends that neither side asked for,
in encryption.py, which has STARTTLS, in transfer.py, which has what is on its way to the backend, and in
turns.py, which has the guard's own answers and waits.
"""

from __future__ import annotations

from typing import Final

from . import answers
from .answers import Closing
from .effects import (
    CommandsRead,
    Effect,
    Judged,
    Normalized,
    Refused,
    ToBackend,
    ToClient,
)
from .ends import LIMIT
from .grammar import Command, Fault, Malformed, eight_bit_at
from .hearing import Hearing
from .intake import SAMPLE_OCTETS
from .invariants import is_free, must_be_last, overrule
from .phases import MUTE, Phase
from .replies import Reply, ReplyFault
from .tally import UNKNOWN
from .terms import EarlyInput, Terms
from .verbs import BETWEEN_CHUNKS, DISCLOSING, KNOWN_VERBS, PROBES, RESETTING
from .verdict import FORWARD, Action, Facts, Judge, Verdict


class Dialogue(Hearing):
    """One session.

    `judge` decides about commands; `closing` has the 421 replies; `terms` say what else this client
    may expect; `facts` are what is known before its first octet, as that it comes in TLS.
    """

    __slots__ = (
        "_draining", "_forwards", "_left", "_normalized", "_uncounted", "count_by", "lines_a_turn", "rests",
        "unfinished", "watched",
    )  # fmt: skip

    def __init__(self, judge: Judge, closing: Closing, terms: Terms | None = None, facts: Facts | None = None) -> None:
        terms = terms or Terms()
        super().__init__(judge, closing, terms, facts)
        self._forwards = judge.forwards
        self._normalized = False  # a bare LF behind a line was reported
        self._draining = False
        self._uncounted = 0  # commands since the last CommandsRead
        self.count_by = 0
        """After so many commands there is a `CommandsRead`; 0 is never."""
        self.watched = False
        """Stop reading behind each note of what limits may count, until `go_on`."""
        self.unfinished = False
        """It has stopped so: `go_on` is to be said once the notes were read."""
        self._left = 0  # of `lines_a_turn`
        self.lines_a_turn = 0
        """Lines, or pieces of messages, that are read of what is held before it `rests`; 0 is all of them."""
        self.rests = False
        """There may be more to be read: `go_on` is to be said in a while."""

    @property
    def uninspected(self) -> bool:
        """True behind a STARTTLS that was passed through."""
        return self.phase is Phase.TUNNEL

    @property
    def encrypted(self) -> bool:
        """True if the client speaks TLS, up to the guard."""
        return self._known.facts.tls

    @property
    def password_may_come(self) -> bool:
        """True from an AUTH that was refused up to the next command: a line between may be what a client still says."""
        return self._known.password_may_come

    @property
    def uncounted(self) -> int:
        """Commands since the last `CommandsRead`."""
        return self._uncounted

    @property
    def hungry(self) -> bool:
        """False while more input waits than may; the shell then stops reading the client."""
        return len(self._intake) < self._terms.bounds.queue

    # -- what can happen ---------------------------------------------------------------------------

    def from_client(self, octets: bytes) -> list[Effect]:
        """The client sent `octets`."""
        if self.over:
            return []
        if self.phase is Phase.CONTENT:
            self._feed_content(octets)
            self._read_on()
        elif self.phase is Phase.TUNNEL:
            self._through_tunnel(ToBackend(octets))
        elif self.phase is Phase.TLS:
            self._refuse_early(b"", "input amid the TLS handshake")
        elif self.phase is Phase.REPLY and self._sent and self._must_be_last(self._sent):
            self._refuse_early(self._sent.line)
        elif self.phase is Phase.BANNER and self._terms.early_input is EarlyInput.REJECT:
            self._refuse_early(octets[:SAMPLE_OCTETS], "input before the banner")
        else:
            self._intake.append(octets)
            self._read_on()
        return self._effects()

    def from_backend(self, octets: bytes) -> list[Effect]:
        """The backend sent `octets`."""
        if self.over:
            return []
        if self.phase is Phase.TUNNEL:
            self._through_tunnel(ToClient(octets))
            return self._effects()
        self._reader.append(octets)
        try:
            while (reply := self._reader.take()) is not None:
                self._handle_reply(reply)
                if self.over:
                    return self._effects()
        except ReplyFault as fault:
            self._backend_fault(fault.what, fault.octets)
            return self._effects()
        if self._reader.pending and not self._backend_may_speak and not self._reader.may_be_421:
            self._backend_fault("surplus reply", self._reader.sample)
        else:
            self._read_on()
        return self._effects()

    def client_finished(self) -> list[Effect]:
        """The client will send nothing more, and may still be reading (a half-close)."""
        self._client_finished = True
        if self.phase in MUTE:
            self._close()
        self._read_on()
        return self._effects()

    def delay_over(self) -> list[Effect]:
        """The seconds of the last `Wait` have passed."""
        if self.phase is Phase.DELAYED and self._pending is not None:
            pending, self._pending = self._pending, None
            if isinstance(pending, Reply):
                self._say(pending)
            elif self._draining and not self._known.in_transaction:
                self._hang_up(self._closing.shutdown, "shutdown")
            elif isinstance(pending, tuple):
                self._await(Phase.COMMAND)
                self._carry_out(*pending)
            else:
                self._await(Phase.REFUSED if self._only_quit else Phase.COMMAND)
                self._waited = self.slowed
                self._take(pending)
                self._waited = 0.0
            self._read_on()
        return self._effects()

    def go_on(self) -> list[Effect]:
        """Read on behind a note, or a rest, if there is still to be read."""
        if not self.unfinished:  # else it is the same turn
            self._left = self.lines_a_turn
        self.unfinished = self._noted = self.rests = False
        self._read_further()
        return self._effects()

    def tls_established(self, names: frozenset[str]) -> list[Effect]:
        """The handshake with the client is done; `names` are those of its certificate, if that was verified."""
        if self.phase is Phase.TLS:
            self.tally.passed(b"STARTTLS")
            self._known.secured(names)
            self._await(Phase.COMMAND)
            self._read_on()
        return self._effects()

    def drain(self) -> list[Effect]:
        """The service stops: end now if there is no transaction, or as soon as there is none (a tunnel does itself)."""
        self._draining = True
        stalled = self.phase is Phase.COMMAND and self._reader.pending
        if stalled or self.phase in (Phase.BANNER, Phase.SASL, Phase.REFUSED, Phase.TLS):
            self._hang_up(self._closing.shutdown, "shutdown")
        elif self.phase is Phase.COMMAND:
            self._read_on()
        return self._effects()

    # -- what the client sends ---------------------------------------------------------------------

    def _read_on(self) -> None:
        """Read held input as far as the phase allows."""
        self._left = self.lines_a_turn
        self._read_further()

    def _read_further(self) -> None:
        while True:
            if self._left == 0 and self.lines_a_turn:
                self.rests = True
                return
            self._left -= 1
            if self._noted and self.watched:
                self.unfinished = True
                return
            match self.phase:
                case Phase.COMMAND | Phase.REFUSED:
                    if self._reader.pending or not self._read_command():
                        return
                case Phase.SASL:
                    if self._reader.pending or not self._read_response():
                        return
                case Phase.CONTENT if len(self._intake):
                    self._feed_content(self._intake.take_all())
                case Phase.CHUNK if len(self._intake):
                    self._feed_chunk()
                case Phase.CONTENT | Phase.CHUNK if self._client_finished:
                    self._close()
                case _:
                    return

    def _read_command(self) -> bool:
        """Read one command line; False if there is none to read or the session ends."""
        if self.leaving:
            self._hang_up(self._closing.limited, LIMIT)
            return False
        if self._draining and not self._known.in_transaction:
            self._hang_up(self._closing.shutdown, "shutdown")
            return False
        command = self._intake.take_command()
        if command is None:
            if self._client_finished:
                self._close()
            return False
        self._note_bare_newline()
        self._uncounted += 1
        if self._uncounted >= self.count_by > 0:
            self._count()
        if self.slowed:
            self._delay(self.slowed, command)
        else:
            self._take(command)
        return not self.over

    def _count(self) -> None:
        self._out.append(CommandsRead(self._uncounted))
        self._uncounted = 0
        self._noted = True

    def _take(self, command: Command | Malformed) -> None:
        """Do what is to be done with a line that was read."""
        if isinstance(command, Command):
            self.tally.seen(command.verb)
            if command.verb in KNOWN_VERBS:
                self._known.password_may_come = False
            if not command.line.isascii() and not self._known.allows_eight_bit(command):
                command = Malformed(command.line, Fault.EIGHT_BIT, eight_bit_at(command.line) + 1)
        else:
            self.tally.seen(UNKNOWN)
        if isinstance(command, Malformed):
            self._refuse(command)
        elif not self._only_quit:
            self._decide(command)
        elif command.verb == b"QUIT" and command.argument is None:
            self._forward(command)
        else:
            self._answer(answers.ONLY_QUIT, command.verb)  # RFC 5321 3.1

    def _decide(self, command: Command) -> None:
        if is_free(command, self._forwards, self._terms):
            self._carry_out(command, FORWARD)
            return
        facts = self._known.facts
        verdict = overrule(command, self._judge.judge(command, facts), self._terms, facts)
        if verdict.action not in _PASSES or command.verb in DISCLOSING or command.verb in PROBES:
            self._note(Judged(command, verdict))
        elif verdict.would is not None:
            self._note_shadow(command, verdict)
        if verdict.delay > self._waited:
            self._delay(verdict.delay - self._waited, (command, verdict))
        else:
            self._carry_out(command, verdict)

    def _note_shadow(self, command: Command, verdict: Verdict) -> None:
        """Report what only a rule in shadow speaks of: it is no violation, and no limit that acts may count it."""
        if self._known.password_may_come:
            command = HIDDEN
        self._out.append(Judged(command, verdict))
        self._noted = True

    def _carry_out(self, command: Command, verdict: Verdict) -> None:
        if verdict.action is Action.CLOSE:
            self._hang_up(verdict.reply or self._closing.policy, verdict.rule)
        elif command.verb == b"BDAT":
            self._begin_chunk(command, verdict)
        elif self._must_be_last(command) and len(self._intake):
            self._refuse_early(command.line)
        elif verdict.action is Action.STARTTLS:
            self._begin_tls(verdict.reply or answers.READY_FOR_TLS)
        elif verdict.action is Action.REPLY:
            self._answer(verdict.reply or answers.UNKNOWN, command.verb)
        elif self._known.between_chunks and command.verb in RESETTING:
            self._hang_up(self._closing.given_up)
        elif self._known.between_chunks and command.verb not in BETWEEN_CHUNKS:
            self._answer(answers.BETWEEN_CHUNKS, command.verb)
        else:
            self._forward(command)

    def _must_be_last(self, command: Command) -> bool:
        greeting = command.verb in (b"EHLO", b"HELO") and self._terms.early_input is EarlyInput.REJECT
        return greeting or must_be_last(command)

    def _refuse_early(
        self, line: bytes, what: str = "input behind a command whose reply decides what it means"
    ) -> None:
        self._out.append(Refused(what, line, closed=True))
        self._hang_up(answers.OUT_OF_TURN)

    def _read_response(self) -> bool:
        """Read one line of a SASL exchange; as _read_command."""
        line = self._intake.take_response()
        if line is None:
            if self._client_finished:
                self._close()
            return False
        self._note_bare_newline()
        if isinstance(line, Malformed):
            self.tally.seen(UNKNOWN)
            self._refuse(line)
            return False
        self._await(Phase.REPLY)
        self._out.append(ToBackend(line))
        return True

    def _note_bare_newline(self) -> None:
        if self._intake.bare and not self._normalized:
            self._normalized = True
            self._out.append(Normalized(answers.in_line(Fault.BARE_LF, 0, self._intake.lines)))


HIDDEN: Final = Command(b"***\r\n", UNKNOWN, None)
"""Stands for a line that may be a password, in a note."""
_PASSES: Final = frozenset({Action.FORWARD, Action.STARTTLS})
"""Nothing was refused."""
