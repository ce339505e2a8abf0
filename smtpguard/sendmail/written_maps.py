"""What a `regex` map means that export-sendmail has written.

Contract: the comment above a map says in words what it is of; it is believed only if the same words make the same
pattern again.  So a pattern that was edited, or written by hand, is unknown, whatever stands above it.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Final
from urllib.parse import unquote

from attrs import frozen

from ..policy.networks import Block, parse_block
from . import patterns
from .cf_file import Cf
from .tokens import tokens

_REGEX: Final = re.compile(r"regex\s+-a(\S+)\s+(.*)")
_DEPTH: Final = 100
"""Maps in one `sequence`."""


@frozen
class Meaning:
    """What a map is of, and what comes if it has the key."""

    kind: str
    """`networks`, `any`, `words` or `globs`."""
    yes: tuple[str, ...]
    blocks: tuple[Block, ...] = ()
    words: tuple[str, ...] = ()


def meaning_of(cf: Cf, name: str) -> Meaning | None:
    """Return what a map means; None if that is not known."""
    said = cf.maps.get(name)
    if said is None:
        return None
    kind, _, rest = said.text.partition(" ")
    if kind == "sequence":
        return _together([_of_regex(cf, one) for one in rest.split()[:_DEPTH]], len(rest.split()))
    return _of_regex(cf, name)


def _together(parts: list[Meaning | None], count: int) -> Meaning | None:
    known = [one for one in parts if one is not None]
    if not known or len(known) != count or any((one.kind, one.yes) != ("networks", known[0].yes) for one in known):
        return None
    return Meaning("networks", known[0].yes, tuple(block for one in known for block in one.blocks))


def _of_regex(cf: Cf, name: str) -> Meaning | None:
    said = cf.maps.get(name)
    match = _REGEX.fullmatch(said.text) if said is not None else None
    if said is None or match is None:
        return None
    yes, pattern = tuple(tokens(match[1])), match[2]
    if pattern == ".":
        return Meaning("any", yes)
    if pattern == "^nowhere$$":
        return Meaning("networks", yes)
    comment = cf.above.get(said.line, "")
    if not comment.startswith("#="):
        return None
    words = comment[2:].split()
    try:
        networks = [ip_network(word) for word in words]
    except ValueError:
        networks = []
    if networks:
        # The class reads `\#` as `#`; no network has one.
        if [text for _, text in patterns.of_networks(networks)] == [pattern]:
            return Meaning("networks", yes, tuple(parse_block(str(one)) for one in networks))
        return None
    listed = tuple(map(unquote, words))
    if patterns.of_words(listed).replace("\\#", "#") == pattern:
        return Meaning("words", yes, words=listed)
    globs = patterns.of_globs(listed)
    if globs is not None and globs.replace("\\#", "#") == pattern:
        return Meaning("globs", yes, words=listed)
    return None
