"""Where a sendmail listens, and what it does at one of its ports and not at others (DaemonPortOptions and their M=).

Contract: `daemons` reads the options as sendmail does: a key is known by its first letter in either case, the last of
a kind counts, modifiers add up, and who has no name is called Daemon and its number.  `rules` returns the modifiers
that a policy has conditions for: as rules of listeners of those names, if the guard will have them, else as rules of a
guard in front of port 25.  What else they are is told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Set
from typing import Final

from attrs import evolve, field, frozen

from .cf_file import Cf, Said
from .shapes import Judgement
from .told import Remarks

DAEMONS: Final = 64
"""sendmail has no more (MAXDAEMONS is 10, unless it was built with more)."""
PORTS: Final = {"smtp": 25, "submission": 587, "submissions": 465, "smtps": 465}
"""Names of services that a DaemonPortOptions may have."""
_OF_THE_GUARD: Final = 25
"""The port that the guard takes over, where nobody says more of it."""


@frozen
class Daemon:
    """One DaemonPortOptions."""

    said: Said
    name: str
    """What the guard's listener is called, and `$&{daemon_name}` is."""
    given: dict[str, str] = field(hash=False)
    """Values by the first letter of their keys, in upper case."""

    @property
    def modifiers(self) -> str:
        """Letters; which case they have matters."""
        return self.given.get("M", "")

    @property
    def port(self) -> int:
        """0 if it is none that is known here."""
        said = self.given.get("P", "smtp").lower()
        number = int(said) if re.fullmatch(r"[1-9]\d{0,4}", said) else 0
        return PORTS.get(said) or (number if number < 1 << 16 else 0)


def daemons(cf: Cf) -> list[Daemon]:
    """Return all of them."""
    return [_daemon(said, number) for number, said in enumerate(cf.all_of("DaemonPortOptions")[:DAEMONS])]


def _daemon(said: Said, number: int) -> Daemon:
    given: dict[str, str] = {}
    for part in said.text.split(","):
        key, equals, value = part.partition("=")
        letter, value = key.strip()[:1].upper(), value.strip()
        if equals:
            given[letter] = given.get("M", "") + value if letter == "M" else value
    name = given.get("N", "")
    return Daemon(said, name if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) else f"Daemon{number}", given)


# -- modifiers ------------------------------------------------------------------------


@frozen
class _Modifier:
    """One that a policy has a rule for."""

    verb: str
    rule: Judgement
    what: str


_RULES: Final = {
    "a": _Modifier(
        "MAIL", Judgement(0, "530 5.7.0 Authentication required", authenticated=False), "MAIL only after AUTH"
    ),
    "A": _Modifier("AUTH", Judgement(0, "503 5.3.3 AUTH not available"), "no AUTH"),
    "E": _Modifier("ETRN", Judgement(0, "502 5.7.0 Sorry, we do not allow this operation"), "no ETRN"),
}
"""Each before all rule sets, and with the words that sendmail has for it."""
_TOLD: Final = {
    "s": "TLS from the first octet: write the listener by hand, with `tls: implicit` (docs/tls.md)",
    "f": "senders need a domain: keep it at the port that sendmail is moved to",
    "r": "recipients need a domain: keep it at the port that sendmail is moved to",
    "u": "addresses need no domain: keep it at the port that sendmail is moved to",
}
"""Those that are about what sendmail does with mail later (b, c, C, h), or with a port that is taken (O), are not."""


def rules(
    cf: Cf, remarks: Remarks, closed: Collection[str] = (), *, named: bool
) -> Iterator[tuple[str, Judgement, str]]:
    """Yield rules with their verbs and where they are from, but for verbs that are `closed` everywhere.

    `named`: the guard has listeners of these names.
    """
    found = daemons(cf)
    for one in found:
        for letter, to_do in _TOLD.items():
            if letter in one.modifiers:
                _tell(remarks, one, letter, to_do)
    for letter, modifier in _RULES.items():
        having = [one for one in found if letter in one.modifiers]
        if having and modifier.verb not in closed:
            rule = _named(having, found, letter, remarks) if named else _at_one_port(having, found, letter, remarks)
            if rule is not None:
                first, names = rule
                origin = f"{first.said.file}:{first.said.line} DaemonPortOptions, M={letter}"
                yield modifier.verb, evolve(modifier.rule, line=first.said.line, listeners=names), origin


_Where = tuple[Daemon, tuple[str, ...] | None]
"""Where a rule is from, and at which listeners it holds; None stands for all."""


def _named(having: list[Daemon], found: list[Daemon], letter: str, remarks: Remarks) -> _Where:
    names = tuple(dict.fromkeys(one.name for one in having))
    for one in having:
        what = f"{letter} is a rule of listener {one.name} ({_RULES[letter].what})"
        _tell(
            remarks, one, what, "give the guard's listener that name, or take the rule out if the guard has none there"
        )
    for one in found:
        if one not in having and one.name in names:
            _tell(remarks, one, f"another one of that name has {letter}, which now holds here", "give them two names")
    return having[0], names


def _at_one_port(having: list[Daemon], found: list[Daemon], letter: str, remarks: Remarks) -> _Where | None:
    here = [one for one in having if one.port == _OF_THE_GUARD]
    for one in having:
        if one not in here:
            what = f"{letter} ({_RULES[letter].what}) is of a port that the guard does not take over"
            _tell(remarks, one, what, "with --settings the guard has a listener for it, and the policy a rule")
    for one in found:
        if here and one not in having and one.port == _OF_THE_GUARD:
            what = f"another one of port {_OF_THE_GUARD} has {letter}, which now holds here"
            _tell(remarks, one, what, "with --settings each has its own listener, and its own rules")
    return (here[0], None) if here else None


def taken_over(cf: Cf) -> frozenset[str]:
    """Return the names of those in whose place a guard at port 25 alone is."""
    return frozenset(one.name for one in daemons(cf) if one.port == _OF_THE_GUARD)


def at_the_guard(rule: Judgement, taken: Set[str]) -> Judgement | None:
    """Return a rule as it is for a guard in the place of those; None if it is about others.

    What is refused at one of them is refused here, and what is allowed at some of them only is not.
    """
    if rule.listeners is None:
        return rule
    named = taken & set(rule.listeners)
    holds = bool(named) if rule.reply is not None else bool(taken) and named == taken
    return evolve(rule, listeners=None) if holds else None


def _tell(remarks: Remarks, one: Daemon, what: str, to_do: str) -> None:
    remarks.tell(one.said.file, one.said.line, f"DaemonPortOptions {one.said.text}: {what}", to_do)
