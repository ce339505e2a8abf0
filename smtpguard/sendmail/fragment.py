"""The text of an m4 fragment for a sendmail.mc: maps, rules and what is around them.

Contract: all that comes from a policy stands between quotes of m4's that none of it can have, so m4 reads nothing in
it; and nothing of it ends a line, a comment or a text of the .cf that it is in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from attrs import frozen

from ..config.faults import printable

YES: Final = "YES"
NO: Final = "NO"
"""What comes of a look-up."""
OPEN: Final = "<|"
CLOSE: Final = "|>"
"""Quotes in place of m4's own: no pattern has them (patterns.py), and no reply may."""
NAME_OCTETS: Final = 20
"""Of a map's name, without what is put around it."""
REPLY_OCTETS: Final = 240
"""Of a text: sendmail's tokens have at most 256 octets, the end included."""


@frozen
class Map:
    """A set of addresses or words that sendmail can be asked for: one `regex` map, or several in a row."""

    name: str
    about: str
    parts: tuple[tuple[str, str], ...]
    """What each pattern is of, in words, and the pattern."""

    def lines(self) -> list[str]:
        """Return its lines of the .cf."""
        found = [f"# {printable(self.about)}"]
        names = [self.name] if len(self.parts) == 1 else [f"part{n}_{self.name}" for n in range(1, len(self.parts) + 1)]
        for name, (of, pattern) in zip(names, self.parts, strict=True):
            found += [f"#= {of}"] if of else []
            found.append(f"K{name} regex -a{YES} {pattern}")
        if not self.parts:  # a network without addresses
            found.append(f"K{self.name} regex -a{YES} ^nowhere$$")
        elif len(names) > 1:
            found.append(f"K{self.name} sequence {' '.join(names)}")
        return found


def look_up(one: Map, key: str) -> str:
    """Return what becomes YES if the map has `key`, else NO."""
    return f"$({one.name} {key} $: {NO} $)"


def rule(conditions: Sequence[tuple[str, bool]], action: str) -> list[str]:
    """Return the lines of one rule; the argument of the command is the workspace before them and behind them."""
    if not conditions:
        return [f"R$*\t\t\t{action}"]
    wanted = " ".join(YES if one else NO for _, one in conditions)
    return [
        f"R$*\t\t\t$: $1 $| {' '.join(look for look, _ in conditions)}",
        f"R$* $| {wanted}\t\t{action}",
        "R$* $| $*\t\t$: $1",
    ]


def error(text: str, enhanced: str) -> str:
    """Return the action that answers with `text`, a reply with its code."""
    status = f"$@ {enhanced} " if enhanced else ""
    escaped = text.replace("#", "\\#")
    return f'$#error {status}$: "{escaped}"'


def unquotable(text: str) -> str:
    """Return what of a reply sendmail's rules cannot have; empty if they can have all of it."""
    for one in ('"', "\\", "$", OPEN, CLOSE):
        if one in text:
            return repr(one)
    return f"more than {REPLY_OCTETS} octets" if len(text) > REPLY_OCTETS else ""


def as_word(text: str) -> str:
    """Return a word of a list so that blanks in it are none: as in a URL."""
    return quote(text, safe="*?@<>")


def text(
    file: str, remarks: Sequence[str], options: Sequence[str], maps: Sequence[Map], sets: Mapping[str, Sequence[str]]
) -> str:
    """Return the whole fragment."""
    lines = [
        f"dnl # {_in_comment(file)} as rule sets of sendmail's, by `smtpguard export-sendmail`.",
        "dnl # For the end of sendmail.mc, before its MAILER lines; TABs are between the parts of an R line.",
    ]
    if remarks:
        lines.append("dnl # Not the same, or not at all:")
        lines += [f"dnl {_in_comment(one)}" for one in remarks]
    lines += options
    if maps:
        lines += ["LOCAL_CONFIG", *_quoted([line for one in maps for line in one.lines()])]
    if sets:
        lines += ["LOCAL_RULESETS"]
        lines += _quoted([line for name, rules in sets.items() for line in (f"S{name}", *rules)])
    return "\n".join([*lines, ""])


def _quoted(lines: Sequence[str]) -> list[str]:
    held = [line.replace(OPEN, "< |").replace(CLOSE, "| >") if line.startswith("#") else line for line in lines]
    return [f"changequote(`{OPEN}', `{CLOSE}')dnl", f"{OPEN}{held[0]}", *held[1:], f"{CLOSE}changequote"]


def _in_comment(line: str) -> str:
    """Return a line for behind `dnl`, which m4 reads up to the line's end and no further."""
    return printable(line)
