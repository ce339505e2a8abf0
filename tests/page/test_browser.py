"""The page in a real browser, from the admin endpoint itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.page import documents
from tests.page.browser import Browser, Tab
from tests.page.site import Site

NARROW, WIDE = 380, 1600
DOCUMENTS = {
    "quiet": documents.quiet,
    "busy": documents.busy,
    "troubled": documents.troubled,
    "hostile": documents.hostile,
}
REFRESH = "document.dispatchEvent(new Event('visibilitychange'))"
"""Has the page ask at once, as if somebody had come back to it."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def serving() -> Iterator[Site]:
    """One for all tests."""
    with Site(documents.busy()) as site:
        yield site


@pytest.fixture
def site(serving: Site) -> Site:
    """A site that says that a guard is busy."""
    serving.says(documents.busy())
    return serving


def refreshed(tab: Tab, expression: str) -> Any:
    """Have the page ask until the expression is true."""
    return tab.wait(f"{REFRESH}, {expression}")


def text_of(tab: Tab, selector: str) -> str:
    """Return what can be read there."""
    found: str = tab.value(f"document.querySelector({json.dumps(selector)}).innerText")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_the_browser_has_nothing_to_complain_of(
    browser: Browser, site: Site, kind: str, width: int, scheme: str
) -> None:
    """No violation of the policy, no error, no request to elsewhere, and no page that has to be pushed sideways."""
    site.says(DOCUMENTS[kind]())
    with browser.tab(width, 900, scheme) as tab:
        tab.open(site.address)
        tab.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert tab.value("document.documentElement.scrollWidth") == width
        assert tab.value("document.styleSheets[0].cssRules.length > 50")
        assert tab.value("document.getElementById('pause').hidden === false")
        assert {one.removeprefix(site.address) for one in tab.requests} >= {"", "assets/style.css", "assets/page.js"}
        assert all(one.startswith(site.address) for one in tab.requests)
        assert tab.complaints == []


def test_a_violation_of_the_policy_would_be_seen(browser: Browser, site: Site) -> None:
    """What the test above looks at is not blind."""
    with browser.tab() as tab:
        tab.open(site.address)
        tab.value("document.body.setAttribute('style', 'color: red')")
        tab.value("document.body.append(Object.assign(new Image(), {src: 'http://evil.example/'}))")
        tab.value("document.body.append(Object.assign(document.createElement('script'), {text: 'globalThis.ran = 1'}))")
        tab.wait("true")
        complaints = "\n".join(tab.complaints)
        assert "style-src" in complaints or "inline style" in complaints
        assert "img-src" in complaints
        assert tab.value("globalThis.ran === undefined")


def test_all_of_it_is_there_without_a_script(browser: Browser, site: Site) -> None:
    """Tables, pictures, and what can be unfolded."""
    with browser.tab(script=False) as tab:
        tab.open(site.address)
        assert tab.value("document.querySelectorAll('table').length") == 13
        assert tab.value("document.querySelector('#verdicts .chart svg').getBoundingClientRect().height > 50")
        assert tab.value("document.querySelectorAll('#verdicts tbody tr').length") == 9
        assert tab.value("document.getElementById('pause').hidden")
        assert "Without JavaScript" in text_of(tab, ".controls")
        tab.value("document.querySelector('summary').focus()")
        assert "postmaster" not in text_of(tab, "#incidents")
        tab.press("Enter", 13, "\r")
        tab.wait("document.querySelector('details').open")
        assert "VRFY postmaster" in text_of(tab, "#incidents")
        assert tab.complaints == []


def test_it_refreshes_by_itself_and_keeps_what_was_unfolded(browser: Browser, site: Site) -> None:
    """The new numbers come; the scroll, the focus and what is open stay."""
    with browser.tab(NARROW, 600) as tab:
        tab.open(site.address)
        tab.value("document.querySelector('details').open = true")
        tab.value("document.querySelector('summary').focus()")
        tab.value("document.querySelector('#sessions .scroll').scrollLeft = 40")
        tab.value("scrollTo(0, 900)")
        later = documents.busy()
        later["sessions"]["now"] = 46
        later["incidents"][0]["deeds"]["probes"] = 62
        later["host"] = "mx2.example.org"
        site.says(later)
        tab.wait("document.querySelector('#tiles .value').innerText === '46'")  # by its own clock
        assert "62 probes" in text_of(tab, "#incidents")
        assert tab.value("document.title.startsWith('mx2.example.org')")
        assert tab.value("document.querySelector('details').open")
        assert tab.value("document.activeElement === document.querySelector('summary')")
        assert tab.value("document.querySelector('#sessions .scroll').scrollLeft") == 40
        assert tab.value("scrollY") == 900
        assert tab.complaints == []


def test_what_is_selected_is_not_replaced(browser: Browser, site: Site) -> None:
    """Somebody copies an address, and the page waits with that part of it."""
    with browser.tab() as tab:
        tab.open(site.address)
        tab.value("getSelection().selectAllChildren(document.querySelector('#bans'))")
        later = documents.busy()
        later["bans"], later["bans_total"] = [], 0
        site.says(later)
        refreshed(tab, "document.querySelectorAll('#tiles .value')[4].innerText === '0'")
        assert "203.0.113.77" in text_of(tab, "#bans")
        tab.value("getSelection().removeAllRanges()")
        refreshed(tab, "document.querySelector('#bans').innerText.includes('Nobody is banned.')")


def test_it_says_that_it_is_stale_and_since_when(browser: Browser) -> None:
    """A guard that is gone is not taken for one that is well; when it is back, so is the page."""
    with Site(documents.busy()) as site, browser.tab() as tab:
        tab.open(site.address)
        site.stop()
        refreshed(tab, "document.documentElement.classList.contains('stale')")
        said = text_of(tab, "#freshness")
        assert said.startswith("Stale since ")
        assert said.endswith(": the guard does not answer")
        assert tab.value("document.title").startswith("Stale: mail.example.org")
        assert tab.value("document.querySelector('#tiles .value').innerText") == "45"
        site.start()
        refreshed(tab, "!document.documentElement.classList.contains('stale')")
        assert text_of(tab, "#freshness") == "Refreshes every 5 s"
        assert not tab.value("document.title").startswith("Stale")


def test_a_guard_that_fails_is_stale_too(browser: Browser, site: Site) -> None:
    """An error is no page."""
    with browser.tab() as tab:
        tab.open(site.address)
        site.says(None)
        refreshed(tab, "document.getElementById('freshness').innerText.endsWith(': the guard answers 500')")
        assert "mail.example.org" in text_of(tab, "h1")


def test_it_can_be_stopped(browser: Browser, site: Site) -> None:
    """By the keyboard; then it asks no more, until it is told to go on."""
    with browser.tab() as tab:
        tab.open(site.address)
        tab.value("document.getElementById('pause').focus()")
        tab.press("Enter", 13, "\r")
        tab.wait("document.getElementById('pause').innerText === 'Resume'")
        assert text_of(tab, "#freshness").startswith("Paused at ")
        asked = len(tab.requests)
        tab.value(REFRESH)
        assert len(tab.requests) == asked
        later = documents.busy()
        later["sessions"]["now"] = 47
        site.says(later)
        tab.press("Enter", 13, "\r")
        refreshed(tab, "document.querySelector('#tiles .value').innerText === '47'")


def test_a_refused_reload_is_loud(browser: Browser, site: Site) -> None:
    """It stands above all numbers, with its faults, in the first screen."""
    site.says(documents.troubled())
    with browser.tab(1280, 800) as tab:
        tab.open(site.address)
        assert tab.value("document.querySelector('.troubles').getBoundingClientRect().top < 200")
        assert "policy.yaml:14:9" in text_of(tab, "#attention")
        assert "reload refused 1 min ago" in text_of(tab, "#masthead")
        assert tab.value("document.getElementById('icon').getAttribute('href')") == "/assets/bad.svg"


def test_hostile_names_stay_text(browser: Browser, site: Site) -> None:
    """The browser finds no element that is not the page's, and runs nothing."""
    site.says(documents.hostile())
    with browser.tab() as tab:
        tab.open(site.address)
        assert tab.value("document.querySelectorAll('main :is(script, iframe, img, b, style)').length") == 0
        assert tab.value("document.querySelectorAll('[onerror], [onmouseover], [style]').length") == 0
        assert tab.value("document.querySelectorAll('a:not([href^=\"#\"])').length") == 0
        assert "<script>alert(1)</script>" in text_of(tab, "main")
        assert "\u27e8U+202E\u27e9evil" in text_of(tab, "main")
        assert tab.complaints == []


def test_a_table_that_can_be_scrolled_is_within_reach_of_the_keyboard(browser: Browser, site: Site) -> None:
    """And has a name; one that need not be scrolled is no stop on the way."""
    with browser.tab(NARROW) as tab:
        tab.open(site.address)
        wrong = """[...document.querySelectorAll('.scroll')].filter((one) =>
            (one.scrollWidth > one.clientWidth) !== (one.tabIndex === 0) || !one.ariaLabel).length"""
        assert tab.value(wrong) == 0
        assert tab.value("document.querySelectorAll('.scroll[tabindex]').length") > 0
