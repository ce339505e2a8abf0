"""Judges a record: what the guard promises whatever a client sends and however a server reads it.

Contract: `judge` looks at one record, `compare` at two of the same stream that were cut differently;
both return the violations, each with a short reason, and nothing if all promises were kept.  The
promises are those to an outsider under the perimeter policy; an insider may say more verbs, and all
else is the same.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from attrs import frozen

from tests.models.server import CANARY
from tests.smtp.table import INSIDE
from tests.smtp.test_streams import REFUSED

from .arena import BOUNDS, Cut, Manner, Record, Timing
from .reading import Kind, Reading, read

REFUSED_INSIDE: Final = REFUSED - frozenset(b"VRFY EXPN ETRN ONEX XUSR SEND SOML SAML".split())
"""What the perimeter policy refuses to insiders too."""
_MAGIC_RCPT: Final = re.compile(rb"RCPT TO:<(?:refused|later)@", re.IGNORECASE)


_KEYWORDS: Final = {b" BODY=": b"8BITMIME", b" SIZE=": b"SIZE", b"AUTH ": b"AUTH", b" SMTPUTF8": b"SMTPUTF8"}
"""What a client may only say if the server offers it."""


class Promise(Enum):
    """What is promised."""

    NO_REFUSED_VERB = "no refused verb runs, and nothing of its answer is told"
    SAID_IS_RUN = "the server runs commands that the client said, in that order, and no others"
    ONE_REPLY_EACH = "the client gets whole replies, one for each command, in order"
    MESSAGES = "the messages accepted are those that the client sent and was told of"
    VALID_PASSES = "a client that conforms gets through unchanged"
    OCTETS = "the server gets whole commands and contents of the client, one command at a time"
    CUTS = "it does not matter how a stream is cut into segments"
    SOUND = "nothing raises, nothing is said behind a close, buffers are bounded"


@frozen
class Violation:
    """A promise that was not kept."""

    promise: Promise
    what: str

    def __str__(self) -> str:
        return f"{self.promise.name}: {self.what}"


def reading(record: Record) -> Reading:
    """Return what the client must think of its session."""
    return read(
        record.stream,
        record.to_client,
        closed=record.closed is not None,
        hurried=record.timing is Timing.HURRIED,
        normalize=record.manner is Manner.NORMALIZE,
    )


def judge(record: Record, seen: Reading | None = None) -> list[Violation]:
    """Return what is wrong with `record`; `seen` is its reading, if there is one already."""
    if record.error:
        return [Violation(Promise.SOUND, record.error)]
    seen = reading(record) if seen is None else seen
    found = [Violation(Promise.ONE_REPLY_EACH, what) for what in seen.complaints]
    found += _refused(record)
    found += _said(record, seen)
    found += _messages(record, seen)
    found += _octets(record, seen)
    found += _sound(record)
    if record.stream.valid:
        found += _valid(record, seen)
    return found


def compare(one: Record, other: Record) -> list[Violation]:
    """Compare two plays in which the client waited for nothing."""
    looks: list[tuple[str, object, object]] = [
        ("executed", [e.line for e in one.server.executed], [e.line for e in other.server.executed]),
        ("messages", [m.raw for m in one.server.messages], [m.raw for m in other.server.messages]),
        ("to the client", one.to_client, other.to_client),
        ("closed", one.closed, other.closed),
    ]
    return [
        Violation(Promise.CUTS, f"{what}: {_short(a)} cut {one.cut.value}, {_short(b)} cut {other.cut.value}")
        for what, a, b in looks
        if a != b
    ]


def _short(what: object) -> str:
    text = repr(what)
    return text if len(text) < 160 else f"{text[:80]}...{text[-70:]}"


def _refused(record: Record) -> list[Violation]:
    inside = record.source == INSIDE
    never = (REFUSED_INSIDE if inside else REFUSED) - ({b"BDAT"} if record.manner is Manner.CHUNKING else set())
    found = [
        Violation(Promise.NO_REFUSED_VERB, f"{record.server.name} ran {executed.verb!r} of {_short(executed.line)}")
        for executed in record.server.executed
        if executed.verb in never
    ]
    if not inside and CANARY in record.to_client:
        found.append(Violation(Promise.NO_REFUSED_VERB, "the client got CANARY"))
    return found


def _said(record: Record, seen: Reading) -> list[Violation]:
    # Some servers cut blanks off the end of a line before they look at it.
    lines = iter([unit.octets[:-2].rstrip(b" ") for unit in seen.units if unit.kind is Kind.LINE])
    for executed in record.server.executed:
        if executed.line.rstrip(b" ") not in lines:  # an iterator: each line is looked for behind the one before
            return [Violation(Promise.SAID_IS_RUN, f"{record.server.name} ran {_short(executed.line)}")]
    return []


def _messages(record: Record, seen: Reading) -> list[Violation]:
    accepted = [message.raw for message in record.server.messages]
    if accepted == seen.messages:
        return []
    if len(accepted) == len(seen.messages):
        return [
            Violation(Promise.MESSAGES, f"accepted {_short(got)}, sent {_short(sent)}")
            for got, sent in zip(accepted, seen.messages, strict=True)
            if got != sent
        ]
    return [Violation(Promise.MESSAGES, f"accepted {_short(accepted)}, told {_short(seen.messages)}")]


def _octets(record: Record, seen: Reading) -> list[Violation]:
    """What was forwarded is units of the stream, whole and in order; only the last content may lack its end."""
    sent, at = record.to_backend, 0
    starts: list[int] = []
    taken = False  # the last command was forwarded; if it led to content or a chunk, so is that
    for unit in seen.units:
        if at == len(sent):
            break
        if unit.kind is Kind.LINE and not unit.reply and not (record.server.closed or unit.verb == b"BDAT"):
            break
        if not unit.octets:
            continue
        follows = unit.kind in (Kind.CONTENT, Kind.CHUNK)
        if sent.startswith(unit.octets, at) and (taken or not follows):
            if unit.kind is not Kind.CHUNK:  # it comes with its command
                starts.append(at)
            at += len(unit.octets)
            taken = True
        elif follows and taken:
            starts += [at] * (unit.kind is Kind.CONTENT)
            at = len(sent) if unit.octets.startswith(sent[at:]) else at
            break
        else:
            taken = taken and follows
    if at < len(sent):
        return [Violation(Promise.OCTETS, f"the server got {_short(sent[at:])}, which the client did not send there")]
    return _lockstep(record, starts)


def _lockstep(record: Record, starts: list[int]) -> list[Violation]:
    at = 0
    for octets in record.forwards:
        inside = [start for start in starts if at < start < at + len(octets)]
        if inside:
            return [Violation(Promise.OCTETS, f"two commands at once: {_short(octets)}")]
        at += len(octets)
    return []


def _sound(record: Record) -> list[Violation]:
    if record.unread > BOUNDS.queue + record.longest:
        return [Violation(Promise.SOUND, f"{record.unread} octets held")]
    return []


def _valid(record: Record, seen: Reading) -> list[Violation]:
    """A stream that conforms: unchanged, if the server wanted all of it."""
    stream = record.stream
    if not waits_kept(record) or not _willing(record, seen):
        return []
    own = [reply for reply in seen.replies if reply[:1] in b"45" and reply not in record.said]
    found = [Violation(Promise.VALID_PASSES, f"the guard said {reply!r}") for reply in own]
    accepted = tuple(message.raw for message in record.server.messages)
    if accepted != stream.messages:
        found.append(Violation(Promise.VALID_PASSES, f"accepted {_short(accepted)}, sent {_short(stream.messages)}"))
    if record.to_backend != stream.octets:
        found.append(Violation(Promise.VALID_PASSES, "the server did not get what the client sent"))
    return found


def waits_kept(record: Record) -> bool:
    """True if the client waited wherever the stream says."""
    return record.timing is Timing.POLITE and record.cut in (Cut.TURNS, Cut.OCTETS, Cut.RAGGED)


def _willing(record: Record, seen: Reading) -> bool:
    """True if the server offered what the stream uses, and refused nothing but recipients meant for that."""
    refusals = [unit.reply for unit in seen.units if unit.code >= 400 and not _MAGIC_RCPT.match(unit.octets)]
    if refusals and refusals[0] in record.said:
        return False  # the first counts: what is refused behind it is refused because of it
    offered = seen.replies[1].upper() if len(seen.replies) > 1 else b""
    commands = b"".join(unit.octets for unit in seen.units if unit.kind is Kind.LINE)
    return all(keyword in offered for word, keyword in _KEYWORDS.items() if word in commands)
