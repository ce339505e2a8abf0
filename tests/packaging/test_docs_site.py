"""docs/ as a site: every page in the order of a reader, every link and anchor right, nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FETCHED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}
"""What a browser fetches by itself."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` does: with --strict any warning is a fault."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", "tools/site/mkdocs.yml"]
    done = subprocess.run([*command, "--site-dir", str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_of_docs_is_in_it(site: Path) -> None:
    """And CONTRIBUTING.md, which is not in docs/."""
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file(), page.name
    assert "How a change is made" in (site / "contributing.html").read_text("utf-8")


def test_a_page_that_is_in_no_order_is_a_fault(tmp_path: Path) -> None:
    """So that no page is written that nobody finds: mkdocs is asked with one page more."""
    for name in ("docs", "tools", "CONTRIBUTING.md", "systemd", "tests", "policies", "smtpguard", "README.md"):
        if name not in ("docs",):
            (tmp_path / name).symlink_to(ROOT / name)
    docs = tmp_path / "docs"
    docs.mkdir()
    for entry in (ROOT / "docs").iterdir():
        (docs / entry.name).symlink_to(entry)
    (docs / "forgotten.md").write_text("# Forgotten\n")
    settings = tmp_path / "mkdocs.yml"
    text = (ROOT / "tools/site/mkdocs.yml").read_text("utf-8")
    settings.write_text(text.replace("../../docs", "docs").replace("hooks.py", str(ROOT / "tools/site/hooks.py")))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(settings)]
    done = subprocess.run([*command, "--site-dir", str(tmp_path / "built")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "forgotten.md" in done.stderr


class _Fetched(HTMLParser):
    """Collects what a page has a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said: dict[str, Any] = dict(attrs)
        if tag in FETCHED and said.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(said.get(FETCHED[tag]) or "")


def test_a_reader_without_a_network_sees_all_of_it(site: Path) -> None:
    """No font, script or picture comes from elsewhere, in the pages or in their style sheets."""
    pages = list(site.glob("*.html"))
    assert len(pages) > 15
    for page in pages:
        reader = _Fetched()
        reader.feed(page.read_text("utf-8"))
        assert reader.found
        for target in reader.found:
            assert not re.match(r"(?:https?:)?//", target), f"{page.name}: {target}"
            local = target.partition("?")[0].partition("#")[0].removeprefix("/")
            assert not local or local.startswith("data:") or (site / local).exists(), f"{page.name}: {target}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text("utf-8")), sheet.name
