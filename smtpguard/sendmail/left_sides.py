"""Left sides of rules that look at a client's address: which addresses they fit.

Contract: pure.  `blocks_of` returns all that fits, and nothing else, or raises ValueError with what is not known of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..policy.networks import Block, parse_block
from .prefixes import block_of

_TAILS_V4: Final = {
    3: (("$-", ".", "$-", ".", "$-"),),
    2: (("$-", ".", "$-"),),
    1: (("$-",), ("$+",)),
}


def blocks_of(left: list[str], classes: Mapping[str, Sequence[str]]) -> list[Block]:
    """Return the addresses that a left side fits."""
    if left[0].startswith("$="):
        name = left[0][2:].strip("{}")
        if left[1:] not in ([], ["$*"], [".", "$*"], [".", "$+"], ["$+"]):
            raise ValueError("what stands behind the class is not known")
        if name not in classes:
            raise ValueError(f"class {name} is not in this file")
        return list(_of_class(classes[name], left[1:]))
    if left[0].startswith("$~"):
        raise ValueError("that a class does not have it is not known")
    cut = next((place for place, one in enumerate(left) if one.startswith("$")), len(left))
    text, tail = "".join(left[:cut]), tuple(left[cut:])
    if not tail:
        return [_whole(text)]
    if tail not in (("$*",), ("$+",)) and not _exact_tail(text, tail):
        raise ValueError("its wildcards are not known")
    if not text.endswith((".", ":")):
        if tail == ("$*",):
            block = block_of(text)
            if block is not None:
                return [block]
        raise ValueError("a number of an address is cut off")
    block = block_of(text[:-1]) if text.lower() != "ipv6:" else parse_block("::/0")
    if block is None:
        raise ValueError(f"{text} begins no address")
    return [block]


def _of_class(words: Sequence[str], tail: list[str]) -> Iterator[Block]:
    """Yield what the members of a class fit that has `tail` behind it."""
    for word in words:
        if word.startswith("$"):
            raise ValueError(f"the class has another one in it ({word})")
        block = block_of(word.rstrip(".")) if word[0] != "[" else None
        if block is None:
            continue  # a name, as an address in brackets is one
        dotted = word.endswith(".")
        whole = block.first == block.last
        if tail[:1] == ["."] and (dotted or whole or block.family == 6):
            continue  # no address has such a dot there
        if (not whole and not tail) or (whole and (dotted or tail == ["$+"])):
            continue  # the beginning of an address is not an address, and behind a whole one nothing comes
        yield block


def _exact_tail(text: str, tail: tuple[str, ...]) -> bool:
    return not text.lower().startswith("ipv6") and tail in _TAILS_V4.get(4 - text.count("."), ())


def _whole(text: str) -> Block:
    block = block_of(text)
    if block is None or block.first != block.last or text.startswith("["):
        raise ValueError(f"{text} is no address")
    return block
