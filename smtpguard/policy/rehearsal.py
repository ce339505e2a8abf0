"""A whole session without a network: what a client would say, and what would come of each line.

Theory: the dialogue is the real one (smtpguard.smtp.dialogue), with the policy's judge for this client; only the mail
server behind it is supposed (supposed.py), a handshake succeeds, and delays pass at once.  The dialogue tells of each
command that it reads (`count_by` is 1), which is how effects are known to belong to one line or the next, however the
octets came; so what depends on how they came, as input behind a DATA, is the same as on the wire.

Contract: sans-IO; never raises on what is said.  `begin` first, then `say` as often as there is something, then `end`
where the client goes without a QUIT.  `say` returns the turns that were completed by it: a line without its end, a
message without its dot and a chunk that is not all there are returned with the octets that complete them, or by `end`.
What was said before `begin` waits for the banner, as on the wire, and is in what the next `say` returns.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ..smtp.answers import Closing
from ..smtp.dialogue import Dialogue
from ..smtp.effects import (
    BeginTls,
    Close,
    CommandsRead,
    Effect,
    Judged,
    Normalized,
    Refused,
    ToBackend,
    ToClient,
    Wait,
)
from ..smtp.grammar import Command, chunk_size, looks_like_auth, well_formed
from ..smtp.invariants import overrule
from ..smtp.phases import Phase
from ..smtp.tally import Tally
from ..smtp.terms import Terms
from ..smtp.verbs import KNOWN_VERBS
from ..smtp.verdict import NOTHING_KNOWN, Facts, Verdict
from .networks import Peer
from .rehearsed import Making
from .rehearsed import Turn as Turn
from .rehearsed import What as What
from .rules import ClientJudge, Policy
from .supposed import END, Backend
from .supposed import Obliging as Obliging

_NO_NAMES: Final[frozenset[str]] = frozenset()


class Rehearsal:
    """One session."""

    def __init__(
        self,
        policy: Policy,
        peer: Peer,
        *,
        listener: str = "",
        terms: Terms | None = None,
        facts: Facts | None = None,
        closing: Closing | None = None,
        backend: Backend | None = None,
        tls_names: frozenset[str] = _NO_NAMES,
    ) -> None:
        """`terms` are those of the settings; `facts` are what is known before the first octet, as that it comes in TLS;
        `tls_names` are in the certificate that the client shows if TLS begins later."""
        terms = policy.terms_for(peer, terms or Terms())
        self._judge = _Keeping(policy.judge_for(peer, listener), terms)
        self._backend = backend or Obliging()
        self._tls_names = tls_names
        self.dialogue = Dialogue(self._judge, closing or Closing("localhost"), terms, facts)
        self.dialogue.count_by = 1
        self.dialogue.watched = True
        self._heard = bytearray()  # of what the client said, what is in no turn yet; may come line by line
        self._turn: Making | None = None
        self._next = What.COMMAND
        self._done: list[Turn] = []
        self._number = 0
        self._unasked = b""  # said to the client outside any turn: the banner
        self._wait = self._handshake = False

    @property
    def over(self) -> bool:
        return self.dialogue.over

    @property
    def at(self) -> int:
        """The number of the turn that is being made, or else of the next one."""
        return self._number + 1

    @property
    def tally(self) -> Tally:
        """What the session's summary in the log counts."""
        return self.dialogue.tally

    @property
    def cut_short(self) -> str:
        """Why it ended, for the same line, where nothing else says it."""
        return self.dialogue.cut_short

    def begin(self) -> bytes:
        """The backend speaks; return what the client sees first."""
        banner = self._backend.banner()
        self._perform(self.dialogue.from_backend(banner), banner)
        self._settle()
        return self._unasked

    def say(self, octets: bytes) -> list[Turn]:
        """The client sends `octets`, all at once; return the turns that were completed."""
        if octets and not self.over:
            self._heard += octets
            phase = self.dialogue.phase
            if phase is Phase.TUNNEL:
                self._open(What.TUNNEL)
            elif phase is Phase.CONTENT and self._turn is None:
                self._open(What.CONTENT)
            self._perform(self.dialogue.from_client(octets))
            self._settle()
        done, self._done = self._done, []
        return done

    def end(self) -> list[Turn]:
        """The client goes; return what it did not complete."""
        if not self.over:
            if self._heard and self._turn is None:
                self._open(self._next)
            self._perform(self.dialogue.client_finished())
            self._perform(self.dialogue.client_lost())
        if self._turn is not None:
            self._finish()
        done, self._done = self._done, []
        return done

    # -- effects -----------------------------------------------------------------------------------

    def _perform(self, effects: list[Effect], answer: bytes = b"") -> None:
        """Perform effects and all that follows from them; the first of them follow from the backend's `answer`."""
        answers: deque[bytes] = deque()
        while True:
            for effect in effects:
                if self._take(effect, answer, answers):
                    answer = b""
            answer = b""
            if self.dialogue.unfinished:
                effects = self.dialogue.go_on()
            elif self._wait:
                self._wait = False
                effects = self.dialogue.delay_over()
            elif self._handshake:
                self._handshake = False
                effects = self.dialogue.tls_established(self._tls_names)
            elif answers:
                answer = answers.popleft()
                effects = self.dialogue.from_backend(answer)
            else:
                return

    def _take(self, effect: Effect, answer: bytes, answers: deque[bytes]) -> bool:
        """Put an effect where it belongs; True if it is the backend's answer that the client is told."""
        if isinstance(effect, CommandsRead):
            self._begin_line()
            return False
        if isinstance(effect, ToBackend | Refused | Judged | Normalized) and (
            self._turn is None or self._turn.answered
        ):
            self._open(self._next)
        turn = self._turn
        if isinstance(effect, ToClient):
            backends = bool(answer) and effect.octets[:3] == answer[:3]
            if turn is None:
                self._unasked += effect.octets
            else:
                turn.replies += effect.octets
                turn.own = not backends
                turn.answered = True
            self._next = _BEHIND.get(effect.octets[:3], What.COMMAND) if backends else What.COMMAND
            return backends
        if isinstance(effect, ToBackend):
            if turn is not None:
                turn.forwarded += effect.octets
            if turn is None or turn.what is not What.TUNNEL:
                said = self._backend.answer(effect.octets)
                if said:
                    answers.append(said)
        elif isinstance(effect, Close):
            if turn is not None:
                turn.closed = True
        elif isinstance(effect, Wait):
            self._wait = True
            if turn is not None:
                turn.delay += effect.seconds
        elif isinstance(effect, BeginTls):
            self._handshake = True
            if turn is not None:
                turn.secured = True
        elif turn is not None:
            turn.notes.append(effect)
        return False

    # -- turns -------------------------------------------------------------------------------------

    def _begin_line(self) -> None:
        """A command was read."""
        turn = self._turn
        if turn is None or turn.what is not What.COMMAND or turn.begun:  # else a note was in front of it
            turn = self._open(What.COMMAND)
        turn.begun = True
        turn.octets = self._line()
        # The dialogue tells of a line once it has dealt with it, and of no two at once.
        turn.asked, turn.verdict = self._judge.take()
        # Not `parse`: a line of a recording has any length, and why it is no command costs more than its length to say.
        turn.command = parsed = well_formed(_with_crlf(turn.octets))
        told = parsed is not None and parsed.verb in KNOWN_VERBS
        turn.private = self.dialogue.password_may_come and not told and not looks_like_auth(turn.octets)
        if parsed is not None and parsed.verb == b"BDAT":  # its octets follow without a reply between
            turn.what = What.CHUNK
            turn.chunk = chunk_size(parsed.argument) or 0

    def _open(self, what: What) -> Making:
        if self._turn is not None:
            self._finish()
        self._turn = turn = Making(what)
        if what is What.SASL:
            turn.octets = self._line()
        self._next = What.COMMAND
        return turn

    def _settle(self) -> None:
        """Finish the turn if the dialogue has done with it."""
        turn = self._turn
        if turn is None:
            return
        phase = self.dialogue.phase
        waits = (
            (phase is Phase.CONTENT and turn.what is What.CONTENT)
            or (phase is Phase.CHUNK and turn.what is What.CHUNK)
            or phase is Phase.REPLY
        )
        if not waits:
            self._finish()

    def _finish(self) -> None:
        turn = self._turn
        assert turn is not None
        self._turn = None
        if turn.asked is None:
            turn.asked = turn.verdict = self._judge.of_free(turn)
        if turn.what is What.CONTENT:
            at = (b"\r\n" + self._heard).find(END)
            turn.octets = self._cut(len(self._heard) if at < 0 else at + len(END) - 2)
        elif turn.what is What.CHUNK:
            turn.octets += self._cut(turn.chunk)
        elif turn.what is What.TUNNEL or not turn.octets:
            turn.octets = self._cut(len(self._heard))
        self._number += 1
        self._done.append(turn.made(self._number))

    def _line(self) -> bytes:
        """Take one line of what was heard; all of it where a line is refused before it has an end."""
        return self._cut(self._heard.find(b"\n") + 1 or len(self._heard))

    def _cut(self, octets: int) -> bytes:
        cut = bytes(self._heard[:octets])
        del self._heard[:octets]
        return cut


_BEHIND: Final = {b"334": What.SASL, b"354": What.CONTENT}
"""What follows such a reply."""


class _Keeping:
    """A judge (smtpguard.smtp.verdict.Judge) that keeps its last verdict."""

    def __init__(self, judge: ClientJudge, terms: Terms) -> None:
        self._judge = judge
        self._terms = terms
        self.forwards = judge.forwards
        self._kept: tuple[Verdict | None, Verdict | None] = None, None

    def judge(self, command: Command, facts: Facts) -> Verdict:
        verdict = self._judge.judge(command, facts)
        self._kept = verdict, overrule(command, verdict, self._terms, facts)
        return verdict

    def take(self) -> tuple[Verdict | None, Verdict | None]:
        """Return the last verdict, and what is left of it by what no policy can change; None if nobody asked."""
        kept, self._kept = self._kept, (None, None)
        return kept

    def may_forward(self, verb: bytes, facts: Facts) -> bool:
        return self._judge.may_forward(verb, facts)

    def of_free(self, turn: Making) -> Verdict | None:
        """Return the verdict on a command that nobody was asked about, since it is forwarded whatever the facts."""
        command = turn.command
        if not turn.forwarded or command is None or command.verb not in self.forwards:
            return None
        return self._judge.judge(command, NOTHING_KNOWN)


def _with_crlf(line: bytes) -> bytes:
    """Return a line as the grammar knows it, where a bare LF may have been mended."""
    return line.removesuffix(b"\n").removesuffix(b"\r") + b"\r\n"
