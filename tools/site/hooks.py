"""What the site has beside docs/: CONTRIBUTING.md as a page, and the files of the tree that pages link to.

Links lead from docs/ to files outside of it (`../systemd/smtpguard.yaml`), which is right in a checkout.  In the site
each of them is a copy beside the pages.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
CONTRIBUTING = "contributing.md"
_OUTWARD = re.compile(r"\]\(\.\./([^)#\s]+)(#[^)\s]*)?\)")
_INWARD = re.compile(r"\]\((?:docs/)?([^):#\s]+\.md)(#[^)\s]*)?\)")
_SHOWN_AS_PAGE = {"CONTRIBUTING.md": CONTRIBUTING, "README.md": "index.md"}


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the page, and what pages link to."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    text = _INWARD.sub(lambda found: f"]({found[1]}{found[2] or ''})", text)
    files.append(File.generated(config, CONTRIBUTING, content=text))
    wanted: set[str] = set()
    for page in files.documentation_pages():
        wanted |= {found[1] for found in _OUTWARD.finditer(page.content_string)}
    for name in sorted(wanted - _SHOWN_AS_PAGE.keys()):
        if (ROOT / name).is_file():
            files.append(File.generated(config, f"tree/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links out of docs/ lead to what was added; one that leads nowhere is left, and is a fault of the build."""

    def placed(found: re.Match[str]) -> str:
        return f"]({_SHOWN_AS_PAGE.get(found[1], f'tree/{found[1]}')}{found[2] or ''})"

    return _OUTWARD.sub(placed, markdown)
