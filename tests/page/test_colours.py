"""The colours of the page can be told from what they stand on, in light and in dark (WCAG 2.2, 1.4.3 and 1.4.11)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from smtpguard.admin import page_assets

STYLE = page_assets.read()["/assets/style.css"].octets.decode()
TEXT, DRAWN = 4.5, 3.0
_BLOCK = re.compile(r":root \{([^}]*)\}")


def colours(scheme: str) -> dict[str, str]:
    """Return the named colours of a scheme."""
    light, dark = _BLOCK.findall(STYLE)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return found | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark)) if scheme == "dark" else {})


def luminance(colour: str) -> float:
    """Return how light it is, 0 to 1."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return it as WCAG counts."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_counted_as_it_should_be() -> None:
    """Black on white is 21."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["ground", "card", "soft"])
@pytest.mark.parametrize("ink", ["ink", "quiet", "link", "good", "warn", "bad"])
def test_text_can_be_read(scheme: str, ground: str, ink: str) -> None:
    """On all that it may stand on."""
    named = colours(scheme)
    assert contrast(named[ink], named[ground]) >= TEXT


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("level", ["good", "warn", "bad"])
def test_what_is_wrong_can_be_read(scheme: str, level: str) -> None:
    """On its own ground: its word, its text and its link."""
    named = colours(scheme)
    for ink in (level, "ink", "link"):
        assert contrast(named[ink], named[f"{level}-ground"]) >= TEXT


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bars_can_be_seen(scheme: str) -> None:
    """Each colour of a series, on a card."""
    named = colours(scheme)
    for series in range(7):
        assert contrast(named[f"s{series}"], named["card"]) >= DRAWN


def test_no_other_colours_are_used() -> None:
    """Beside those that have a name, so the tests above know of all; nor is anything loaded from anywhere."""
    rest = _BLOCK.sub("", STYLE)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?=\s*[;,)])|rgba?\(|hsla?\(|url\(|@import", rest) == []


def test_every_asset_is_installed_and_known() -> None:
    """And nothing lies in the folder that the site does not serve."""
    folder = Path(page_assets.__file__).with_name("assets")
    assert {path.name for path in folder.iterdir()} == set(page_assets.NAMES)
