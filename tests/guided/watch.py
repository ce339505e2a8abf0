"""Who watches a dialogue from outside, and knows what it may say when.

Contract: `Watch` feeds a Dialogue, follows its turns by the octets on both wires alone, and raises
AssertionError when it says something that it may not.
"""

from __future__ import annotations

from typing import Final

from smtpguard.smtp.effects import (
    BackendFault,
    BeginTls,
    Close,
    Effect,
    Judged,
    Normalized,
    Refused,
    ToBackend,
    ToClient,
    Wait,
)
from smtpguard.smtp.terms import BareNewline, EarlyInput, Terms
from smtpguard.smtp.terms import StartTls as Offer
from smtpguard.smtp.verdict import Judge
from tests.smtp.backends import Lenient

from . import oracle, parts

EVENTS: Final = {
    "F": "client_finished",
    "L": "client_lost",
    "K": "backend_lost",
    "U": "backend_unreachable",
    "T": "timed_out",
    "D": "delay_over",
    "R": "drain",
    "S": "stop",
    "X": "fail",
}
_FINAL: Final = "LKUTSX"
"""Events behind which a session is over."""
NEVER: Final = frozenset(b"XCLIENT XFORWARD PROXY XPROXYTO BURL XEXCH50 TURN ATRN STARTTLS".split())
"""Verbs that no policy lets through."""
PERIMETER: Final = NEVER | frozenset(b"VRFY EXPN ETRN DEBUG SHOWQ WIZ KILL SHELL VERB ONEX XUSR SEND SAML SOML".split())
"""Verbs that the perimeter policy refuses to outsiders."""
LONGEST_WAIT: Final = 240.0


class Watch:
    """One session; `turn` is what the backend was led to: banner, command, owed, sasl, content or chunk."""

    def __init__(self, judge: Judge, terms: Terms) -> None:
        self._terms = terms
        self._profile = terms.profile
        self._normalize = terms.bare_newline is BareNewline.NORMALIZE
        self.dialogue = parts.dialogue(judge, terms)
        self.outside = False
        """The perimeter's refusals are in force."""
        self.to_client = bytearray()
        self.to_backend = bytearray()
        self.closed: Close | None = None
        self.turn = "banner"
        self._only_quit = False
        self._shaking_hands = False
        self._in_tls = False
        self._verb = b""
        self._seven_bit_asked = False
        self._client = b""  # all that the client sent
        self._at = 0  # the backend has what is before this, or will never have it
        self._pending = b""  # of the backend, no complete reply
        self._replies: list[bytes] = []  # of the backend, that may go to the client now
        self._content = b""  # of the message, that went to the backend
        self._content_at = 0  # where the client began it
        self._chunk = 0  # octets of a BDAT still to come
        self._offers_chunking = False
        self._may_chunk = False
        self._last_chunk = False
        self._answered_early = False
        self._finished = False
        self._lenient = Lenient(seven_bit=terms.profile.seven_bit)

    def client(self, octets: bytes, cut: bool) -> None:
        """The client sends, unless it has said that it will send no more."""
        if self._finished or self.closed:
            return
        for segment in _each(octets) if cut else [octets]:
            self._client += segment
            self._perform(self.dialogue.from_client(segment))
            self._shake_hands()
            assert not self._answered_early or self.closed, "goes on behind an answer to half a chunk"

    def backend(self, octets: bytes, cut: bool) -> None:
        """The backend sends; cut only where what it means does not depend on what goes there in between."""
        found, _, rest = oracle.replies(self._pending + octets)
        for segment in _each(octets) if cut and not (found and (rest or len(found) > 1)) else [octets]:
            self._backend(segment)

    def event(self, letter: str) -> None:
        """Something else happens."""
        if letter == "X" and self.closed:
            return
        self._finished |= letter == "F"
        self._perform(getattr(self.dialogue, EVENTS[letter])())
        assert letter not in _FINAL or self.closed, f"goes on behind {EVENTS[letter]}"

    def _shake_hands(self) -> None:
        """A handshake that has begun is done before anything else happens."""
        if self._shaking_hands and not self.closed:
            assert not self._in_tls, "TLS within TLS"
            self._shaking_hands, self._in_tls = False, True
            self._perform(self.dialogue.tls_established(frozenset()))

    def done(self) -> None:
        """The script ended."""
        if self.outside:
            self._lenient.finish()
            assert not PERIMETER & set(self._lenient.executed)
            assert self._terms.chunking or b"BDAT" not in self._lenient.executed

    def _backend(self, octets: bytes) -> None:
        if self.closed:
            assert self.dialogue.from_backend(octets) == []
            return
        before = self.turn
        self._replies, faulty, self._pending = oracle.replies(
            self._pending + octets, self._terms.bounds.reply_line, self._terms.bounds.reply
        )
        must_close = faulty or len(self._replies) > 1
        for reply in self._replies[:1]:
            must_close |= not self._follow(reply)
        if self._pending and self.turn in ("command", "sasl") and not b"421".startswith(self._pending[:3]):
            must_close = True
        self._perform(self.dialogue.from_backend(octets))
        self._replies = []
        assert not must_close or self.closed, f"goes on behind {octets!r} in {before}"

    def _follow(self, reply: bytes) -> bool:
        """Take the turn that a reply leads to; False if the session must end instead."""
        code, verb = int(reply[:3]), self._verb
        if code == 421:
            return False
        if self.turn == "banner":
            self._only_quit = code >= 400
            self.turn = "command" if code == 220 or code >= 400 else "banner"
            return self.turn == "command"
        if self.turn != "owed":
            return False
        if 300 <= code < 400:
            self.turn = {(b"DATA", 354): "content", (b"AUTH", 334): "sasl"}.get((verb, code), "owed")
            self._content = b""
            if self.turn == "content":
                self._lenient.go_ahead()
            return self.turn != "owed"
        if verb == b"MAIL" and code < 300:
            self._lenient.seven_bit = self._seven_bit_asked or self._profile.seven_bit
        self._follow_chunking(reply, code)
        self.turn = "command"
        return verb != b"QUIT" and not (verb == b"BDAT" and 500 <= code < 510)

    def _follow_chunking(self, reply: bytes, code: int) -> None:
        """A BDAT has its turn behind a RCPT accepted, if the last EHLO offered it, until a message is over."""
        verb = self._verb
        if verb == b"RCPT" and code < 300:
            self._may_chunk = self._offers_chunking
        over = verb == b"." or (verb == b"BDAT" and (code >= 400 or self._last_chunk))
        if over or (verb in (b"EHLO", b"HELO", b"MAIL", b"RSET") and code < 300):
            self._may_chunk = False
        if verb in (b"EHLO", b"HELO") and code < 300:
            words = [line[4:].upper() for line in reply.split(b"\r\n")[1:]]
            self._offers_chunking = verb == b"EHLO" and any(
                word.startswith(b"CHUNKING") and word[8:9] in (b"", b" ") for word in words
            )

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert self.closed is None, f"{effect} behind Close"
            match effect:
                case ToClient(octets):
                    self._check_reply(octets)
                    self.to_client += octets
                case ToBackend(octets):
                    self.to_backend += octets
                    self._forwarded(octets)
                case BeginTls():
                    assert self._terms.starttls is Offer.OFFERED
                    assert self._client.upper().rstrip(b"\r\n").endswith(b"STARTTLS"), "octets behind STARTTLS"
                    assert not self._pending, "the backend has begun a reply"
                    self._shaking_hands = True
                case Wait(seconds):
                    assert 0 < seconds <= LONGEST_WAIT
                case Close():
                    message = self.turn in ("content", "chunk") or (self.turn == "owed" and self._verb == b"DATA")
                    assert effect.abort_backend or not message, "an orderly end of what is no message"
                    self.closed = effect
                case Refused(_, octets):
                    assert self._was_sent(octets)
                    assert self.turn != "sasl" or not octets, "a response of AUTH for the log"
                case Judged(command, _):
                    assert self._was_sent(command.line)
                case Normalized(where):
                    assert self._normalize
                    assert where
                case BackendFault(what, _):
                    assert what
                case _:
                    pass
        assert self.dialogue.over is (self.closed is not None)
        if self._finished and not self.closed and not self._pending:
            waits_for_client = self.dialogue.phase.value in ("command", "sasl", "content", "chunk", "refused")
            assert not waits_for_client, "waits for a client that sends no more"

    def _check_reply(self, octets: bytes) -> None:
        """What goes to the client is one whole reply: of the backend, or of the guard's own strict form."""
        assert oracle.replies(octets) == ([octets], False, b""), octets
        if octets in self._replies:
            self._replies.remove(octets)
            return
        if self._replies and self._verb == b"EHLO":
            if self._terms.starttls is Offer.OFFERED and not self._in_tls:
                octets = octets.removesuffix(b"250 STARTTLS\r\n")
            lines = iter([line[4:] for line in self._replies[0].split(b"\r\n")])
            if all(line[4:] in lines for line in octets.split(b"\r\n")[:-1]):
                del self._replies[0]
                return
        own = octets[:-2]
        assert b"\r" not in own, "a reply of the guard's own of many lines"
        assert own[:1] in (b"2", b"4", b"5")
        assert own[3:4] == b" "
        assert all(0x20 <= octet < 0x7F for octet in own)

    def _forms(self, line: bytes) -> tuple[bytes, ...]:
        """Return what the client may have sent where the dialogue has `line`."""
        return (line, line[:-2] + b"\n") if self._normalize else (line,)

    def _was_sent(self, line: bytes) -> bool:
        return any(form in self._client for form in self._forms(line))

    def _end_of(self, line: bytes) -> int:
        """Return where the first such line of the client's ends that the backend does not have yet."""
        found = [(self._client.find(form, self._at), len(form)) for form in self._forms(line)]
        ends = [at + length for at, length in found if at >= 0]
        assert ends, f"the client did not send {line!r}"
        return min(ends)

    def _forwarded(self, octets: bytes) -> None:
        assert octets
        if self.turn == "content":
            self._forwarded_content(octets)
            return
        if self.turn == "chunk":
            self._forwarded_chunk(octets)
            return
        assert self.turn in ("command", "sasl"), f"{octets!r} goes to the backend, which is in {self.turn}"
        assert not self._pending, "the backend has begun a reply"
        self._at = self._end_of(octets)
        sasl, self.turn = self.turn == "sasl", "owed"
        if sasl:
            assert oracle.is_sasl(octets)
            assert len(octets) <= self._profile.response
        else:
            self._forwarded_command(octets)

    def _forwarded_command(self, octets: bytes) -> None:
        form = oracle.verb_and_argument(octets)
        assert form is not None, octets
        self._verb, argument = form
        assert self._verb not in NEVER
        assert self._profile.knows(self._verb) or self._only_quit
        assert len(octets) <= (self._profile.auth if self._verb == b"AUTH" else self._profile.line)
        assert not self._only_quit or octets.upper() == b"QUIT\r\n"
        assert argument is None or self._verb not in (b"DATA", b"RSET", b"QUIT")
        if not octets.isascii():
            assert self._verb in (b"MAIL", b"RCPT")
            assert not self._profile.seven_bit
            octets.decode("utf-8")
        if self._verb == b"MAIL":
            self._seven_bit_asked = b"BODY=7BIT" in octets.upper()
            self._lenient.seven_bit |= self._seven_bit_asked
        self._lenient.feed(octets)
        greeting = self._verb in (b"EHLO", b"HELO") and self._terms.early_input is EarlyInput.REJECT
        if self._verb == b"DATA" or greeting:
            assert self._client.endswith(self._forms(octets)), f"{octets!r} goes on with input behind it"
            self._at = self._content_at = len(self._client)
        if self._verb == b"BDAT":
            self._begin_chunk(argument)

    def _begin_chunk(self, argument: bytes | None) -> None:
        assert self._terms.chunking
        assert self._may_chunk, "a BDAT without CHUNKING or RCPT"
        size = oracle.chunk(argument)
        assert size is not None
        self._chunk = size
        self._last_chunk = b" " in (argument or b"")
        if size:
            self.turn = "chunk"

    def _forwarded_chunk(self, octets: bytes) -> None:
        assert len(octets) <= self._chunk, "more than the chunk"
        assert self._client[self._at : self._at + len(octets)] == octets, "not the chunk that the client sent"
        self._at += len(octets)
        self._chunk -= len(octets)
        if not self._chunk:
            self._answered_early = bool(self._pending)
            self.turn = "owed"

    def _forwarded_content(self, octets: bytes) -> None:
        self._content += octets
        self._lenient.feed(octets)
        sent = self._client[self._content_at :]
        read = oracle.normalized(sent) if self._normalize else oracle.message(sent)
        assert read[0].startswith(self._content), "not the content that the client sent"
        message, behind = oracle.message(self._content)
        assert oracle.first_bad(message, self._lenient.seven_bit, complete=True) is None
        widest = self._profile.body_line
        assert widest is None or oracle.first_wide(message, widest - 2, normalize=False) is None
        if behind is not None:
            assert not behind, "something behind the end of data"
            assert not self._pending, "the backend has begun a reply"
            assert not self._lenient.in_content
            assert read[1] is not None
            self._at = len(self._client) - len(read[1])
            self.turn, self._verb = "owed", b"."


def _each(octets: bytes) -> list[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))] or [b""]
