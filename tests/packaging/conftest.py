"""What takes a minute to build, once for all tests of packages."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .debian_support import ELSEWHERE, build, builder, copy_of_source, elsewhere


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The Debian package, and the same built elsewhere; each beside the compiled wheel that it was made of."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    source = copy_of_source(tmp_path_factory.mktemp("here") / "smtpguard")
    copy = elsewhere(source, tmp_path_factory.mktemp("elsewhere") / "with a blank")
    builder()
    with ThreadPoolExecutor(2) as both:
        one = both.submit(build, source, first)
        other = both.submit(build, copy, second, ELSEWHERE)
        return one.result(), other.result()
