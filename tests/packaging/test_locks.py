"""The lock files hold what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = PROJECT["project"]["dependencies"]


def locked(name: str) -> dict[str, str]:
    """Return the versions in a lock file, by package."""
    text = (ROOT / name).read_text()
    return {canonicalize_name(package): version for package, version in re.findall(r"^(\S+)==([^\s;]+)", text, re.M)}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("requirements.lock", RUNTIME), ("requirements-dev.lock", RUNTIME + PROJECT["dependency-groups"]["dev"])],
)
def test_every_dependency_is_locked_to_a_version_that_is_allowed(name: str, wanted: list[str]) -> None:
    """Run `make lock` if this fails."""
    versions = locked(name)
    for text in wanted:
        requirement = Requirement(text)
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), text


def test_every_locked_file_has_a_hash() -> None:
    """pip refuses the whole set otherwise, but only when it gets there."""
    for name in ("requirements.lock", "requirements-dev.lock"):
        entries = re.split(r"^(?=\S)", re.sub(r"(?m)^#.*\n| +#.*$", "", (ROOT / name).read_text()), flags=re.M)
        assert all("--hash=sha256:" in entry for entry in entries if entry.strip())


def test_the_tests_run_with_the_versions_that_users_get() -> None:
    """One virtual environment grows from the one set to the other."""
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()
