"""The one way in which HTML comes about.

Contract: pure.  `el` makes an element of children that are elements or text; all text, in attributes too, goes through
`visible` and html.escape, so no element, attribute or reference comes from what a client, a name or a file says.  Names
of elements and attributes are those that are listed here: any other is a bug, and raises ValueError.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable
from typing import Final, TypeAlias

from attrs import frozen

LONG: Final = 120
"""Characters of a text, as written in the page; nobody reads on, and a table has to stay one."""
ELEMENTS: Final = frozenset({
    "a", "bdi", "body", "button", "caption", "code", "dd", "details", "div", "dl", "dt", "footer", "g", "h1", "h2",
    "h3", "head", "header", "html", "li", "link", "main", "meta", "nav", "noscript", "ol", "p", "path", "rect",
    "script", "section", "small", "span", "strong", "summary", "svg", "table", "tbody", "td", "th", "thead", "time",
    "title", "tr", "ul",
})  # fmt: skip
EMPTY_ELEMENTS: Final = frozenset({"link", "meta"})
"""They have neither content nor an end tag."""
ATTRIBUTES: Final = frozenset({
    "aria-hidden", "aria-label", "aria-labelledby", "aria-pressed", "charset", "class", "content", "d", "data-live",
    "datetime", "defer", "dir", "height", "hidden", "href", "id", "lang", "name", "preserveAspectRatio", "rel",
    "role", "scope", "src", "tabindex", "title", "type", "viewBox", "width", "x", "y",
})  # fmt: skip
OWN_PLACES: Final = ("#", "/assets/")
"""What `href` and `src` may begin with: places of this page, and what belongs to it."""
_INVISIBLE: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters, or a symbol, that look like nothing."""


@frozen
class Markup:
    """HTML that may stand in a page as it is."""

    html: str


Child: TypeAlias = Markup | str | None


def visible(text: str, most: int = LONG) -> str:
    """Return `text` with each character that cannot be seen, or changes others, as its number; cut at `most`."""
    long = len(text) > most
    if long:
        text = text[:most]  # before anything is done with it that takes time
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_seen, unicodedata.normalize("NFC", text)))
        long = long or len(text) > most
    return f"{text[: most - 1]}…" if long else text


def _seen(character: str) -> str:
    # Marks that NFC could not join to a letter may be stacked on it without end.
    plain = character.isprintable() and character not in _INVISIBLE
    if plain and unicodedata.category(character) not in {"Mn", "Me"}:
        return character
    return f"⟨U+{ord(character):04X}⟩"


def el(tag: str, *children: Child, most: int = LONG, **attributes: str | bool | None) -> Markup:
    """Return an element.

    `class_` is written for `class`, `aria_label` for `aria-label`.  An attribute that is None or False is left out, one
    that is True has no value.  `most` is the length at which text in it is cut.
    """
    if tag not in ELEMENTS:
        raise ValueError(f"no element of the page: {tag}")
    written = f"<{tag}"
    for name, value in attributes.items():
        if value is not None and value is not False:
            written += _attribute(name, value)
    written += ">"
    for child in children:
        if child:
            written += child.html if isinstance(child, Markup) else html.escape(visible(child, most))
    return Markup(written if tag in EMPTY_ELEMENTS else f"{written}</{tag}>")


def together(children: Iterable[Child], most: int = LONG) -> Markup:
    """Return them one after the other."""
    return Markup(
        "".join(
            child.html if isinstance(child, Markup) else html.escape(visible(child, most))
            for child in children
            if child
        )
    )


def _attribute(name: str, value: str | bool) -> str:
    written = _WRITTEN.get(name)
    if written is None:
        raise ValueError(f"no attribute of the page: {name}")
    if value is True:
        return f" {written}"
    text = str(value)
    if written in {"href", "src"} and not text.startswith(OWN_PLACES):
        raise ValueError(f"{name} to a place elsewhere")
    return f' {written}="{html.escape(visible(text, _LONGEST_ATTRIBUTE))}"'


_WRITTEN: Final = {"class_": "class", **{name.replace("-", "_"): name for name in ATTRIBUTES}}
_LONGEST_ATTRIBUTE: Final = 20_000
"""Characters; a path of an SVG has some twenty for each of 60 minutes."""
