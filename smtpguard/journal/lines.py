"""The form of the log's lines: sendmail 8.17's, or that of the 1990s.

Contract: pure.  Every octet of a client goes through `printable`; the client's address stands in
front of the client's octets, so that what is found first is never what an attacker wrote.  Levels
are sendmail's LogLevel (Sendmail Installation and Operation Guide, "LogLevel"): a line is written if
the level set is at least its own.
"""

from __future__ import annotations

import re
import syslog
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Final, final

from ..policy.networks import Peer
from ..smtp.effects import (
    Authenticated,
    BackendFault,
    CommandsRead,
    Judged,
    Normalized,
    Note,
    OverBudget,
    RecipientRefused,
    Refused,
    TooSlow,
    Uninspected,
)
from ..smtp.tally import named
from ..smtp.verbs import MECHANISMS, PROBES
from ..smtp.verdict import Action, Verdict

SHOWN_OCTETS: Final = 203
"""sendmail's MAXSHORTSTR: a line as long as that or longer loses its middle."""

_ESCAPED: Final = {0x5C: "\\\\", 0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}
# An AUTH at the beginning of what some server takes for a line, and its mechanism if it is one that is known.
# The blanks in front are looked at from where they begin, and once: a recording may have a megabyte of them.
_CREDENTIALS: Final = re.compile(
    rb"(?is)((?:\A|(?<=[^\x00-\x20])[\x01-\x09\x0b\x0c\x0e-\x20]*+[\r\n\0])[\x00-\x20]*+AUTH(?![\w-]))"
    rb"(?:[^\w-]+(%s)(?![\w+/=-]))?(.*)" % "|".join(sorted(MECHANISMS)).encode("ascii")
)
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9])?")


class Level:
    """LogLevel from which on a kind of line is written."""

    ATTACK: Final = 1
    SERVICE: Final = 1
    BACKEND: Final = 2
    VIOLATION: Final = 4
    COMMAND: Final = 6
    SUMMARY: Final = 9
    CONNECTION: Final = 11


class Style(Enum):
    """Which sendmail the lines look like."""

    SENDMAIL = "sendmail"
    CLASSIC = "classic"


@final
class Client:
    """A client as the log names it."""

    __slots__ = ("host", "peer")

    def __init__(self, peer: Peer, host: str | None = None) -> None:
        self.peer: Final = peer
        self.host: Final = host
        """Its name, looked up and confirmed; None if there is none."""

    def __str__(self) -> str:
        return f"{self.host} {self.peer.bracketed}" if self.host else self.peer.bracketed


def _nothing_more() -> dict[str, Any]:
    return {}


@final
class Line:
    """One event, ready to be written."""

    __slots__ = ("_tell", "event", "level", "priority", "text")

    def __init__(
        self, level: int, priority: int, event: str, text: str, tell: Callable[[], dict[str, Any]] = _nothing_more
    ) -> None:
        self.level: Final = level
        self.priority: Final = priority
        """As in syslog(3)."""
        self.event: Final = event
        self.text: Final = text
        """Without the session id."""
        self._tell = tell

    @property
    def fields(self) -> dict[str, Any]:
        """For the JSON form, which few ask for; values are str, int or bool."""
        return self._tell()


Form = Callable[[Client, Style], Line]
"""What makes a line, once it is to be written and the client's name is known."""


def printable(octets: bytes) -> str:
    """Return `octets` as sendmail logs them: what is not printable ASCII as \\ooo, cut at 203."""
    if len(octets) >= SHOWN_OCTETS:
        half = (SHOWN_OCTETS - 3) // 2
        octets = octets[:half] + b"..." + octets[-half:]
    return "".join(_ESCAPED[o] if o in _ESCAPED else chr(o) if 0x20 <= o < 0x7F else f"\\{o:03o}" for o in octets)


def without_credentials(line: bytes) -> bytes:
    """Return `line`, or lines, with what an AUTH carries behind its mechanism left out (RFC 4954 4)."""
    return _CREDENTIALS.sub(_masked, line, count=1)


def as_shown(line: bytes) -> str:
    """Return a line of a client's as the log has it: without its end, without a password, printable."""
    return printable(without_credentials(line.removesuffix(b"\r\n")))


def _masked(match: re.Match[bytes]) -> bytes:
    auth, mechanism, rest = match.groups()
    shown: bytes = auth + (b" " + mechanism if mechanism else b"")
    return shown + b" ***" if rest.strip() else match.group()


def loggable_name(name: str) -> str | None:
    """Return a name from the DNS if it is one that may stand in a log, without its final dot."""
    name = name.rstrip(".")
    return name if _HOST.fullmatch(name) else None


def of_note(note: Note) -> tuple[int, Form] | None:
    """Return the level and the form of the line for what happened in a session; None for what limits alone count."""
    if isinstance(note, Judged):
        return Level.ATTACK if is_probe(note) else Level.COMMAND, lambda c, style: judged(note, c, style)
    if isinstance(note, Refused):
        return Level.VIOLATION if note.closed else Level.COMMAND, lambda c, style: refused(note, c, style)
    if isinstance(note, Normalized):
        return Level.COMMAND, lambda c, style: normalized(note, c, style)
    if isinstance(note, OverBudget):
        return Level.COMMAND, lambda c, style: over_budget(note, c, style)
    if isinstance(note, Authenticated):
        return Level.SUMMARY if note.accepted else Level.COMMAND, lambda c, _: authenticated(note, c)
    if isinstance(note, Uninspected):
        return Level.VIOLATION, lambda c, _: uninspected(c)
    if isinstance(note, BackendFault):
        return Level.BACKEND, lambda c, style: backend_fault(note, c, style)
    assert isinstance(note, RecipientRefused | CommandsRead | TooSlow)
    return None


def is_probe(event: Judged) -> bool:
    """True for a verb that sendmail logs as an attack."""
    return event.command.verb in PROBES


def judged(event: Judged, client: Client, style: Style) -> Line:
    """A command that was answered here, or that discloses something and was forwarded."""
    verb, verdict = event.command.verb, event.verdict
    shown = as_shown(event.command.line)
    refused = verdict.action is not Action.FORWARD
    would = verdict.would

    def fields() -> dict[str, Any]:
        told = {
            "verb": named(verb),
            "line": shown,
            "verdict": verdict.action.value,
            "reply": str(verdict.reply or ""),
            "rule": verdict.rule,
        }
        return told if would is None else {**told, "would": would.outcome, "would_rule": would.rule}

    if is_probe(event):
        place = _classic_name(client) if style is Style.CLASSIC else str(client)
        text = f'"{verb.decode("ascii").lower()}" command from {place} ({_bare(client.peer)})'
        return Line(Level.ATTACK, syslog.LOG_CRIT, "probe", text, fields)
    shadow = "" if would is None else would_have(would)
    if style is Style.CLASSIC:
        # In front, where no client can put it: this style does not tell refused from forwarded.
        text = f"{_classic_name(client)}: {shadow}{': ' if shadow else ''}{shown}"
    else:
        text = f"{client}: {shown}{f' [{shadow}]' if shadow else ''}{' [rejected]' if refused else ''}"
    return Line(Level.COMMAND, syslog.LOG_INFO, "refused" if refused else "forwarded", text, fields)


def would_have(would: Verdict) -> str:
    """Return what a rule in shadow would have done: `would have answered 252`."""
    if would.action is Action.CLOSE:
        done = "would have closed"
    else:
        done = "would have " + ("been forwarded" if would.reply is None else f"answered {would.reply.code}")
    return f"{done} after {would.delay:g} s" if would.delay else done


def refused(event: Refused, client: Client, style: Style) -> Line:
    """Octets outside the grammar, or out of turn."""
    shown = as_shown(event.octets)
    place = _classic_name(client) if style is Style.CLASSIC else str(client)
    text = f"{place}: SMTP violation, {event.what}{': ' + shown if shown else ''}{' [closed]' if event.closed else ''}"
    level = Level.VIOLATION if event.closed else Level.COMMAND
    return Line(
        level, syslog.LOG_NOTICE, "violation", text, lambda: {"what": event.what, "line": shown, "closed": event.closed}
    )


def normalized(event: Normalized, client: Client, style: Style) -> Line:
    """A bare LF that was forwarded as CRLF, because the policy says so."""
    place = _classic_name(client) if style is Style.CLASSIC else str(client)
    text = f"{place}: {event.where} replaced by CRLF"
    return Line(Level.COMMAND, syslog.LOG_INFO, "normalized", text, lambda: {"what": event.where})


def over_budget(event: OverBudget, client: Client, style: Style) -> Line:
    """A session that is slowed, or closed, from now on; in the form of sendmail's `checksmtpattack`."""
    place = _classic_name(client) if style is Style.CLASSIC else str(client)
    verb = named(event.verb)
    text = f"{place}: possible SMTP attack: command={verb}, count={event.count}"
    return Line(Level.COMMAND, syslog.LOG_INFO, "over-budget", text, lambda: {"verb": verb, "count": event.count})


def backend_fault(event: BackendFault, client: Client, style: Style) -> Line:
    """The mail server behind the guard misbehaved."""
    shown = printable(event.octets)
    place = _classic_name(client) if style is Style.CLASSIC else str(client)
    text = f"{place}: mail server: {event.what}{': ' + shown if shown else ''}"
    return Line(Level.BACKEND, syslog.LOG_ERR, "backend", text, lambda: {"what": event.what, "octets": shown})


def summary(counts: Mapping[bytes, list[int]], client: Client, seconds: float, cut_short: str = "") -> Line:
    """The commands of a session as Postfix sums them up: `verb=passed/all`, one number if equal."""
    words = []
    passed = total = 0
    for verb, (accepted, seen) in counts.items():
        passed += accepted
        total += seen
        words.append(f"{_lower(verb)}={_of(accepted, seen)}")
    words.append(f"commands={_of(passed, total)}")
    if cut_short:
        words.append(f"({cut_short})")

    def fields() -> dict[str, Any]:
        verbs = {_lower(verb): pair for verb, pair in counts.items()}
        return {
            "seconds": round(seconds, 3),
            "passed": passed,
            "commands": total,
            "verbs": verbs,
            "cut_short": cut_short,
        }

    return Line(Level.SUMMARY, syslog.LOG_INFO, "disconnect", f"disconnect from {client} {' '.join(words)}", fields)


def _lower(verb: bytes) -> str:
    return verb.decode("ascii").lower()


def connected(client: Client, listener: str) -> Line:
    text = f"connect from {client}"
    return Line(Level.CONNECTION, syslog.LOG_INFO, "connect", text, lambda: {"listener": listener})


def authenticated(event: Authenticated, client: Client) -> Line:
    """What the backend decided on an AUTH, in sendmail's forms; whose name it was is the backend's to log."""
    mechanism = event.mechanism or "UNKNOWN"

    def fields() -> dict[str, Any]:
        return {"mechanism": mechanism, "accepted": event.accepted}

    if event.accepted:
        return Line(Level.SUMMARY, syslog.LOG_INFO, "auth", f"AUTH=server, relay={client}, mech={mechanism}", fields)
    # The middle is of the form that sendmail writes for SASL, which fail2ban's `sendmail-auth` looks for.
    why = "authentication failure (535) SASL(-13): authentication failure: refused by the mail server"
    text = f"AUTH failure ({mechanism}): {why}, relay={client}"
    return Line(Level.COMMAND, syslog.LOG_NOTICE, "auth-failure", text, fields)


def secured(client: Client, version: str, cipher: str, bits: int, names: AbstractSet[str] | None) -> Line:
    """TLS with a client has begun, in sendmail's form; `names` of its certificate, None if none was verified."""
    verify = "NO" if names is None else "OK"
    text = f"STARTTLS=server, relay={client}, version={version}, verify={verify}, cipher={cipher}, bits={bits}/{bits}"
    shown = " ".join(sorted(names or ()))
    if names:
        text += f", cert={shown}"

    def fields() -> dict[str, Any]:
        return {"version": version, "cipher": cipher, "bits": bits, "verify": verify, "names": shown}

    return Line(Level.SUMMARY, syslog.LOG_INFO, "tls", text, fields)


def insecure(client: Client, why: str) -> Line:
    """TLS with a client failed, at the handshake or later."""
    text = f"STARTTLS=server, error: {why}, relay={client}"
    return Line(Level.SUMMARY, syslog.LOG_NOTICE, "tls-failure", text, lambda: {"what": why})


def uninspected(client: Client) -> Line:
    """A STARTTLS was passed through."""
    text = f"{client}: STARTTLS passed through: the rest of the session is uninspected"
    return Line(Level.VIOLATION, syslog.LOG_NOTICE, "uninspected", text)


def turned_away(client: Client, why: str, octets: bytes = b"", level: int = Level.VIOLATION) -> Line:
    """A connection that got no session."""
    shown = printable(octets)
    text = f"rejecting connection from {client}: {why}{': ' + shown if shown else ''}"
    return Line(level, syslog.LOG_NOTICE, "turned-away", text, lambda: {"what": why, "octets": shown})


def _of(passed: int, total: int) -> str:
    return str(total) if passed == total else f"{passed}/{total}"


def _classic_name(client: Client) -> str:
    return client.host or client.peer.bracketed


def _bare(peer: Peer) -> str:
    return peer.bracketed[1:-1]
