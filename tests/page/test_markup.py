"""The page as HTML: nothing of it comes from data, whatever the data are."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpguard.admin import page
from smtpguard.admin.page_markup import EMPTY_ELEMENTS, LONG, el, visible
from tests.page import documents

BETWEEN = st.characters(codec=None, categories=None)
TEXTS = st.one_of(
    st.sampled_from(documents.HOSTILE),
    st.text(BETWEEN, max_size=30),
    st.lists(st.sampled_from([*documents.HOSTILE[:6], "<", ">", '"', "'", "&", "</td>", "a"]), max_size=5).map("".join),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OWN_ATTRIBUTES = {"class", "d", "height", "href", "id", "role", "scope", "src", "viewbox", "width", "x", "y"}
"""Attributes whose values are the page's own, whatever the document says (an id may have a number in it)."""


class Reader(HTMLParser):
    """Reads a page, and finds faults in it."""

    def __init__(self, octets: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        """Each with the names of its attributes."""
        self.own: set[tuple[str, str]] = set()
        self.ids: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(octets.decode("utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.own |= {(name, value or "") for name, value in attrs if name in OWN_ATTRIBUTES}
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in EMPTY_ELEMENTS:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")


def every_text(value: Any, change: Any) -> Any:
    """Return a document with each of its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        counts = value and all(type(one) is int for one in value.values())
        more = {change("") + "!": 1} if counts else {}  # names of what is counted are texts, too
        return {key: every_text(one, change) for key, one in value.items()} | more
    return [every_text(one, change) for one in value] if isinstance(value, list) else value


@settings(max_examples=50)
@given(st.data())
def test_no_element_and_no_attribute_comes_from_a_text(data: st.DataObject) -> None:
    """The page with hostile texts has the skeleton of the page with harmless ones."""
    hostile = data.draw(st.lists(TEXTS.filter(bool), min_size=1, max_size=8))
    place = iter(range(10**9))
    # As long, seen, as the hostile ones are, so that the same cells are wrapped.
    document = documents.troubled()
    spoilt = every_text(document, lambda _: hostile[next(place) % len(hostile)])
    place = iter(range(10**9))
    harmless = every_text(document, lambda _: "x" * len(visible(hostile[next(place) % len(hostile)])))
    seen, wanted = Reader(page.render(spoilt, documents.NOW)), Reader(page.render(harmless, documents.NOW))
    assert seen.elements == wanted.elements
    assert seen.own == wanted.own


@settings(max_examples=60)
@given(st.sampled_from([None, *documents.busy()]), VALUES)
def test_whatever_the_document_is_there_is_a_page(key: str | None, value: Any) -> None:
    """Parts may be missing, or be something else; a page that fails helps nobody."""
    document: dict[str, Any] = {} if key is None else {**documents.busy(), key: value}
    octets = page.render(document)
    assert octets.startswith(b"<!DOCTYPE html>")
    assert "main" in {tag for tag, _ in Reader(octets).elements}


@settings(max_examples=60)
@given(st.sampled_from([key for key, value in documents.busy().items() if isinstance(value, list | dict)]), st.data())
def test_whatever_a_part_of_it_holds_there_is_a_page(key: str, data: st.DataObject) -> None:
    """The same, one level below."""
    document = documents.busy()
    part = document[key][0] if isinstance(document[key], list) and document[key] else document[key]
    if part:
        part[data.draw(st.sampled_from(sorted(part)))] = data.draw(VALUES)
    Reader(page.render(document))


@given(st.text(BETWEEN, max_size=300), st.integers(1, 200))
def test_a_text_is_seen_as_what_it_is_and_no_longer_than_it_may_be(text: str, most: int) -> None:
    """No control, no zero width, no change of direction, no surrogate, no mark that floats."""
    shown = visible(text, most)
    assert len(shown) <= most
    assert shown.isprintable()
    shown.encode("utf-8")
    assert not set(shown) & set("\u202e\u2066\u200b\u00ad\ufeff\u3164\u2800\u0301\u115f")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("VRFY root", "VRFY root"),
        ("Gr\u00f6\u00dfe \u6f22\u5b57", "Gr\u00f6\u00dfe \u6f22\u5b57"),
        ("a\u202eb", "a\u27e8U+202E\u27e9b"),
        ("\x1b[31m", "\u27e8U+001B\u27e9[31m"),
        ("\ud800", "\u27e8U+D800\u27e9"),
        ("x" * LONG, "x" * LONG),
        ("x" * (LONG + 1), "x" * (LONG - 1) + "\u2026"),
    ],
)
def test_what_is_harmless_is_left_alone(text: str, shown: str) -> None:
    """And what is not is shown by its number."""
    assert visible(text) == shown


@pytest.mark.parametrize("text", documents.HOSTILE)
def test_a_text_stays_in_its_place(text: str) -> None:
    """In an element, and in an attribute, though the page has no attribute now that says what a client said."""
    read = Reader(el("p", text, title=text).html.encode())
    assert read.elements == [("p", ("title",))]
    assert read.text == [visible(text)]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: el("iframe"),
        lambda: el("p", onclick="x"),
        lambda: el("p", style="x"),
        lambda: el("a", href="javascript:alert(1)"),
        lambda: el("script", src="//evil.example/x.js"),
    ],
)
def test_what_is_not_on_the_list_is_a_bug(wrong: Any) -> None:
    """No element that loads, no attribute that runs, no place elsewhere."""
    with pytest.raises(ValueError):
        wrong()


@pytest.mark.parametrize("kind", ["quiet", "busy", "troubled", "hostile"])
def test_the_page_can_be_used_without_eyes(kind: str) -> None:
    """Landmarks, one first heading, named sections, tables with captions, heads with a scope, ids that are unique."""
    octets = page.render(getattr(documents, kind)())
    read = Reader(octets)
    tags = [tag for tag, _ in read.elements]
    assert [tags.count(tag) for tag in ("html", "head", "h1", "main", "footer")] == [1, 1, 1, 1, 1]
    assert b'<html lang="en">' in octets
    assert tags.count("table") == tags.count("caption") == tags.count("thead")
    assert all("scope" in names for tag, names in read.elements if tag == "th")
    assert all("aria-labelledby" in names for tag, names in read.elements if tag == "section")
    assert all({"aria-hidden", "aria-label"} & set(names) for tag, names in read.elements if tag == "svg")
    assert len(set(read.ids)) == len(read.ids)
