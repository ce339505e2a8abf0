"""Rule sets of sendmail's, understood as far as they are of a known shape.

Contract: `understood` follows a rule set as sendmail does, with the argument, the client's address and look-ups as
unknowns, and returns rules that decide alike, in order; `Unknown` tells the line that it does not follow.  It never
guesses: what it does not know in full, it does not know.

Known are: a workspace made anew of `$&{client_addr}`, or of the argument and look-ups behind `$|`; addresses, their
beginnings and classes of these on the left; `$@` and `$#error` on the right; `regex` and `sequence` maps that this
program has written itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import evolve, field, frozen

from ..policy.networks import Block
from ..smtp.replies import Reply
from .cf_file import Cf, RuleLine
from .left_sides import blocks_of
from .tokens import tokens
from .written_maps import Meaning, meaning_of

STEPS: Final = 2000
"""Rules of one rule set that are followed."""


class Unknown(Exception):
    """A line that is not followed."""

    def __init__(self, line: int, text: str, why: str) -> None:
        super().__init__(why)
        self.line, self.text, self.why = line, text, why


@frozen
class Judgement:
    """One rule of the policy to be: all conditions must hold."""

    line: int
    reply: str | None
    """None forwards."""
    blocks: tuple[Block, ...] | None = None
    not_blocks: tuple[Block, ...] | None = None
    authenticated: bool | None = None
    tls: bool | None = None
    listeners: tuple[str, ...] | None = None
    arguments: tuple[str, ...] | None = None

    @property
    def always(self) -> bool:
        """True if it has no condition."""
        return self == Judgement(self.line, self.reply)


@frozen
class _Argument:
    """What the client said."""


@frozen
class _Address:
    """The client's address."""


@frozen
class _Look:
    """What comes of a look-up."""

    conditions: Mapping[str, Any] = field(hash=False)
    negated: Mapping[str, Any] | None = field(hash=False)
    """None if `no` cannot be said as a condition."""
    yes: tuple[str, ...]
    no: tuple[str, ...]


_Element = str | _Argument | _Address | _Look
_WHOLE: Final = ("$*",)


def understood(cf: Cf, name: str, classes: Mapping[str, Sequence[str]]) -> list[Judgement]:
    """Return the rules of a rule set; raises Unknown."""
    workspace: list[_Element] = [_Argument()]
    found: list[Judgement] = []
    for rule in cf.rule_sets[name][:STEPS]:
        try:
            if not rule.right:
                raise ValueError("there is no TAB between its sides")
            matched = _match(tokens(rule.left), workspace, classes)
            if matched is None:
                continue
            conditions, bound = matched
            right = tokens(rule.right)
            if right[:1] in (["$#"], ["$@"]):
                made = evolve(_judgement(rule, right), **conditions)
                found.append(made)
                if made.always:
                    return found
            elif right[:1] == ["$:"] and not conditions:
                workspace = _rewritten(right[1:], bound, cf)
            else:
                raise ValueError("it changes what it looks at only for some")
        except ValueError as error:
            raise Unknown(rule.line, rule.text, str(error)) from None
    if len(cf.rule_sets[name]) > STEPS:
        raise Unknown(cf.first_line[name], f"S{name}", f"more than {STEPS} rules")
    return found


def _judgement(rule: RuleLine, right: Sequence[str]) -> Judgement:
    if right[0] == "$@":
        if "$#" in right or "$>" in right:
            raise ValueError("it goes on in another rule set")
        return Judgement(rule.line, None)
    if [one.lower() for one in right[1:2]] in (["ok"],):
        return Judgement(rule.line, None)
    if [one.lower() for one in right[1:2]] != ["error"]:
        raise ValueError("of the mailers only `error` is known")
    status, colon, text = "", "$:" in right, ""
    if not colon:
        raise ValueError("an error without a text")
    at = right.index("$:")
    if right[2:3] == ["$@"]:
        status = "".join(right[3:at])
    parts = right[at + 1 :]
    if any(one.startswith("$") for one in parts):
        raise ValueError("the text has something of the client's in it")
    text = rule.right.rpartition("$:")[2].strip().replace('"', "").replace("\\", "")
    return Judgement(rule.line, reply_of(text, status))


def error_of(rule: RuleLine) -> str | None:
    """Return the reply of a rule whose right side is an error; None if it is none that is known."""
    try:
        return _judgement(rule, tokens(rule.right)).reply
    except (ValueError, IndexError):
        return None


def reply_of(text: str, status: str) -> str:
    """Return a reply as sendmail would write it."""
    code, _, words = text.partition(" ")
    if not re.fullmatch(r"[245]\d\d", code):
        return str(Reply.parse(f"553 5.3.0 {text}"))
    if not re.match(r"[245]\.\d{1,3}\.\d{1,3} ", words):
        right_class = re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", status) and status[0] == code[0]
        words = f"{status if right_class else code[0] + '.0.0'} {words}"
    return str(Reply.parse(f"{code} {words.strip()}"))


def _match(
    left: list[str], workspace: list[_Element], classes: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], list[list[_Element]]] | None:
    """Return the conditions on which the left side fits, and what its wildcards have; None if it never does."""
    if tuple(left) == _WHOLE:
        return {}, [workspace]
    if "$|" in left:
        if "$|" not in workspace:
            return None
        at, cut = left.index("$|"), workspace.index("$|")
        before, behind = workspace[:cut], workspace[cut + 1 :]
        if tuple(left[at + 1 :]) == _WHOLE and before == [_Address()] and tuple(left[:at]) != _WHOLE:
            return {"blocks": tuple(blocks_of(left[:at], classes))}, []
        if tuple(left[at + 1 :]) == _WHOLE:
            if tuple(left[:at]) != _WHOLE:
                raise ValueError("what stands before `$|` is not `$*`")
            return {}, [before, behind]
        if tuple(left[:at]) != _WHOLE:
            raise ValueError("what stands before `$|` is not `$*`")
        conditions = _conditions(left[at + 1 :], behind, classes)
        return None if conditions is None else (conditions, [before])
    conditions = _conditions(left, workspace, classes)
    return None if conditions is None else (conditions, [])


def _conditions(
    left: list[str], workspace: list[_Element], classes: Mapping[str, Sequence[str]]
) -> dict[str, Any] | None:
    if len(workspace) == 1 and isinstance(workspace[0], _Address):
        return {"blocks": tuple(blocks_of(left, classes))}
    found: dict[str, Any] = {}
    at = 0
    for element in workspace:
        if not isinstance(element, _Look):
            raise ValueError("it looks into what the client said")
        given = tuple(left[at:])
        if given[: len(element.yes)] == element.yes:
            at, what = at + len(element.yes), element.conditions
        elif given[: len(element.no)] == element.no:
            if element.negated is None:
                raise ValueError("that an argument does not fit is no condition of a policy")
            at, what = at + len(element.no), element.negated
        else:
            raise ValueError("what comes of the look-up is not asked for as it comes")
        if set(what) & set(found):
            raise ValueError("the same is asked for twice")
        found.update(what)
    if at != len(left):
        raise ValueError("there is more on the left than comes of the look-ups")
    return found


def _rewritten(right: list[str], bound: list[list[_Element]], cf: Cf) -> list[_Element]:
    """Return the workspace that the right side makes."""
    made: list[_Element] = []
    at = 0
    while at < len(right):
        token = right[at]
        at += 1
        if token == "$(":
            if "$)" not in right[at:]:
                raise ValueError("a look-up without its end")
            end = right.index("$)", at)
            made.append(_look(right[at:end], bound, cf))
            at = end + 1
        elif token in ("$&{client_addr}",):
            made.append(_Address())
        elif re.fullmatch(r"\$[1-9]", token):
            if int(token[1]) > len(bound):
                raise ValueError(f"{token} is nothing")
            made += bound[int(token[1]) - 1]
        elif token == "$|" or not token.startswith("$"):
            made.append(token)
        else:
            raise ValueError(f"{token} is not known")
    return made


def _look(inside: list[str], bound: list[list[_Element]], cf: Cf) -> _Look:
    if "$:" not in inside:
        raise ValueError("a look-up without `$:`")
    cut = inside.index("$:")
    name, key, no = inside[0], inside[1:cut], tuple(inside[cut + 1 :])
    meaning = meaning_of(cf, name)
    if meaning is None:
        raise ValueError(f"map {name} is not known")
    if not no or tuple(meaning.yes) == no:
        raise ValueError("yes and no are the same")
    if key == ["$1"] and (not bound or bound[0] != [_Argument()]):
        raise ValueError("$1 is not the argument")
    conditions, negated = _meant("".join(key), meaning)
    return _Look(conditions, negated, meaning.yes, no)


def _meant(key: str, meaning: Meaning) -> tuple[dict[str, Any], dict[str, Any] | None]:
    match key, meaning.kind:
        case "$&{client_addr}", "networks":
            return {"blocks": meaning.blocks}, {"not_blocks": meaning.blocks}
        case "$&{auth_type}", "any":
            return {"authenticated": True}, {"authenticated": False}
        case "$&{tls_version}", "any":
            return {"tls": True}, {"tls": False}
        case "$&{daemon_name}", "words":
            return {"listeners": meaning.words}, None
        case "$1", "globs":
            return {"arguments": meaning.words}, None
        case "$1", "words" if not any(set("*?") & set(word) for word in meaning.words):
            return {"arguments": meaning.words}, None
    raise ValueError(f"{key} in such a map is not known")
