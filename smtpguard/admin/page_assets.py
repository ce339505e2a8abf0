"""What belongs to the page, and what a browser is told about all of it.

Contract: `read` reads the files that are installed with the package, once, and returns them by their path on the site.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from attrs import frozen

PREFIX: Final = "/assets/"
CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
NAMES: Final = ("style.css", "page.js", "good.svg", "warn.svg", "bad.svg")
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""For the page and what belongs to it: nothing from elsewhere, nothing in line, in no frame."""


@frozen
class Asset:
    """One file."""

    octets: bytes
    content_type: str


def read() -> Mapping[str, Asset]:
    """Return all of them by path; raises OSError if one is not installed."""
    folder = files(__package__) / "assets"
    found = {
        PREFIX + name: Asset((folder / name).read_bytes(), CONTENT_TYPES[name[name.rindex(".") :]]) for name in NAMES
    }
    return MappingProxyType(found)
