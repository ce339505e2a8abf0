"""What is on its way to the backend: one command, the content of a message, or a chunk.

Contract: `Transfer` is the part of a dialogue that forwards.  Nothing is forwarded while a reply, or
the beginning of one, waits to be read; and the last octets of a message are not, if the backend has
begun to speak before it had them.  dialogue.py has the theory.
"""

from __future__ import annotations

from typing import Final

from . import answers
from .answers import Closing
from .content import Content, ContentFault
from .effects import Normalized, Refused, ToBackend
from .grammar import Command, Fault, chunk_size, is_last_chunk
from .phases import Awaited, Phase
from .replies import BackendReply, ReplyReader
from .terms import BareNewline, Terms
from .turns import Turns
from .verdict import Action, Facts, Verdict

CONTENT_END: Final = b"."
"""Stands for the end of data where the verb of the outstanding command is asked for."""


class Transfer(Turns):
    """Forwards."""

    __slots__ = ("_chunk", "_content", "_reader", "_sent")

    def __init__(self, closing: Closing, terms: Terms, facts: Facts | None = None) -> None:
        super().__init__(closing, terms, facts)
        self._reader = ReplyReader(terms.bounds.reply_line, terms.bounds.reply)
        self._sent: Command | None = None  # what is outstanding, where the reply changes what is known
        self._content = Content(seven_bit=False)
        self._chunk = 0  # octets of a BDAT still to come

    def _forward(self, command: Command) -> None:
        if self._reader.pending:
            self._backend_fault("surplus reply", self._reader.sample)
            return
        self._known.sending(command)
        self._sent = command
        self._outstanding = command.verb
        self._await(Phase.REPLY, Awaited.DATA_REPLY if command.verb == b"DATA" else Awaited.REPLY)
        self._out.append(ToBackend(command.line))

    def _begin_content(self) -> None:
        """The backend has said 354."""
        self._content = Content(
            seven_bit=self._known.seven_bit,
            line=self._terms.profile.body_line,
            normalize=self._terms.bare_newline is BareNewline.NORMALIZE,
        )
        self._await(Phase.CONTENT, Awaited.DATA_BLOCK)

    def _feed_content(self, octets: bytes) -> None:
        bare = self._content.bare
        try:
            content, rest = self._content.feed(octets)
        except ContentFault as fault:
            where = answers.in_message(fault.fault, fault.position + 1, fault.line)
            self._out.append(Refused(where, b"", closed=True, fault=fault.fault))
            self._hang_up(answers.bad_content(fault.fault, fault.position + 1, fault.line))
            return
        if bare is None and self._content.bare is not None:
            position, line = self._content.bare
            self._out.append(Normalized(answers.in_message(Fault.BARE_LF, position + 1, line)))
        if self._content.ended and self._reader.pending:
            # What is on its way would be taken for the answer to the message.
            self._backend_fault("reply before the end of data", self._reader.sample)
            return
        if content:
            self._out.append(ToBackend(content))
        if not self._content.ended:
            self._await(Phase.CONTENT, Awaited.DATA_BLOCK)
            return
        self._intake.append(rest)
        self._outstanding = CONTENT_END
        self._sent = None
        self._await(Phase.REPLY, Awaited.DATA_END)

    def _begin_chunk(self, command: Command, verdict: Verdict) -> None:
        """Forward a BDAT (RFC 3030), or refuse it.  Its octets follow at once, so they are counted away first."""
        self._chunk = chunk_size(command.argument) or 0
        if verdict.action is not Action.FORWARD:
            self._chunk_refusal = answers.NOT_IMPLEMENTED
        elif not self._known.may_chunk:
            self._chunk_refusal = answers.NO_CHUNK
        else:
            self._chunk_refusal = None
            self._forward(command)
            if self.over:
                return
        self._await(Phase.CHUNK, Awaited.CHUNK if self._chunk_refusal else Awaited.DATA_BLOCK)
        if not self._chunk:
            self._end_chunk()

    def _feed_chunk(self) -> None:
        octets = self._intake.take(self._chunk)
        self._chunk -= len(octets)
        if not self._chunk and not self._chunk_refusal and self._reader.pending:
            # What is on its way would be taken for the answer to the chunk.
            self._backend_fault("reply before the end of a chunk", self._reader.sample)
            return
        if not self._chunk_refusal:
            self._out.append(ToBackend(octets))
            self._await(Phase.CHUNK, Awaited.DATA_BLOCK)
        if not self._chunk:
            self._end_chunk()

    def _end_chunk(self) -> None:
        if self._chunk_refusal:
            self._answer(self._chunk_refusal, b"BDAT")
        else:
            self._await(Phase.REPLY, Awaited.DATA_END)


def leaves_doubt(command: Command, reply: BackendReply) -> bool:
    """True if a refused BDAT may have been read as commands, or may change how the next one is read."""
    return command.verb == b"BDAT" and (reply.code >= 500 or not is_last_chunk(command.argument))
