"""Text with a little Markdown as mdoc(7), the language of manual pages.

Contract: pure functions; `prose` takes one paragraph of what descriptions are written in (`code`, **strong**, links)
and returns lines that mandoc and groff read without a warning, whatever characters are in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_MARKED: Final = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*")
_LINK: Final = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
_PAGE: Final = re.compile(r"(?:docs/)?([a-z-]+)\.md(?:#\S+)?")
_CLOSING: Final = ".,:;)?!"
"""What a macro sets close behind the word before, if it is an argument of its own."""


def plain(text: str) -> str:
    """Return text for a text line."""
    escaped = _escaped(text)
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def word(text: str) -> str:
    """Return text as one argument of a macro, which is never taken for another macro."""
    escaped = _escaped(text).replace('"', "\\(dq").replace("-", "\\-").replace("'", "\\(aq")
    return f'"\\&{escaped}"' if " " in text else f"\\&{escaped}"


def prose(text: str) -> list[str]:
    """Return a paragraph's lines."""
    # Texts at even places; a macro and its word at odd ones.
    parts = _MARKED.split(_LINK.sub(_linked, text))
    texts, marked = parts[::3], list(zip(parts[1::3], parts[2::3], strict=True))
    lines: list[str] = []
    for number, (code, strong) in enumerate(marked):
        before, opening = _opening(texts[number])
        lines += _text(before)
        closing = re.match(rf"([{re.escape(_CLOSING)}]*)(\S*)", texts[number + 1])
        assert closing is not None
        texts[number + 1] = texts[number + 1][closing.end() :]
        line = f"Pf {word(opening)} " if opening else ""
        line += f"{'Em' if code is None else 'Ql'} {word(strong if code is None else code)}"
        line += "".join(f" {one}" for one in closing[1])
        lines.append(f".{line} Ns No {word(closing[2])}" if closing[2] else f".{line}")
    return lines + _text(texts[-1])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("~", "\\(ti").replace("^", "\\(ha").replace("`", "\\(ga")


def _linked(found: re.Match[str]) -> str:
    page = _PAGE.fullmatch(found[2])
    return f"docs/{page[1]}.md" if page else found[1]


def _opening(text: str) -> tuple[str, str]:
    """Return a text less what stands at its end without a blank, as an opening bracket does, and that."""
    glued = re.search(r"\S*$", text)
    assert glued is not None
    return text[: glued.start()], glued[0]


def _text(text: str) -> list[str]:
    words = " ".join(text.split())
    return [plain(sentence) for sentence in re.split(r"(?<=[.!?])\s", words) if sentence]


def item(head: Iterable[str], body: Iterable[str]) -> list[str]:
    """Return an item of a list with tags."""
    return [".It " + " ".join(head), *body]
