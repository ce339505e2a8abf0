"""docs/design.md and CONTRIBUTING.md speak of the tree as it is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DESIGN = (ROOT / "docs/design.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def layers() -> list[str]:
    """The rooms from the top to the bottom, as import-linter holds them."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    listed: list[str] = tools["importlinter"]["contracts"][0]["layers"]
    return [name.removeprefix("smtpguard.") for name in listed]


def test_the_picture_has_every_room_in_the_order_of_the_imports() -> None:
    """A room that is new, or has moved, must be drawn."""
    picture = DESIGN.split("```text\n", 1)[1].split("```", 1)[0]
    drawn = [match[1] for match in re.finditer(r"^[ │]+([a-z]+)  +\S", picture, re.MULTILINE)]
    assert drawn == layers()


def test_every_package_is_a_room() -> None:
    """Nothing stands beside the layers, where it could import what it likes."""
    packages = {path.parent.name for path in (ROOT / "smtpguard").glob("*/__init__.py")}
    assert packages <= {*layers()}


def paths(text: str) -> set[str]:
    return {*re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.(?:py|toml|md|txt|yml))`", text)}


@pytest.mark.parametrize("path", sorted(paths(DESIGN) | paths(CONTRIBUTING)))
def test_the_files_that_are_named_are_there(path: str) -> None:
    """A recipe that names a file which has moved helps nobody."""
    assert (ROOT / path).is_file() or (ROOT / "smtpguard" / path).is_file()


NAMED = re.compile(r"`((?:smtpguard/)?[a-z_]+/[a-z_]+\.py)`\)?, `([A-Za-z_.]+)`")


@pytest.mark.parametrize(("path", "name"), sorted({*NAMED.findall(DESIGN), *NAMED.findall(CONTRIBUTING)}))
def test_what_a_file_is_said_to_have_is_in_it(path: str, name: str) -> None:
    """Each of `FILE`, `Class.method` is defined there."""
    source = (ROOT / "smtpguard" / path.removeprefix("smtpguard/")).read_text("utf-8")
    for part in name.split("."):
        assert re.search(rf"^\s*(class|def) {part}\b", source, re.MULTILINE), part


def test_a_condition_is_added_where_contributing_says() -> None:
    """Each that changes within a session has its class."""
    from smtpguard.config.policy_models import RuleModel
    from smtpguard.policy import conditions

    classes = {one.__name__ for one in conditions.Condition.__subclasses__()}
    settled = {"from_", "from_not", "listener"}
    keys = RuleModel.model_fields.keys() - settled - {"action", "reply", "delay", "shadow"}
    assert {key.replace("_", "") for key in keys} == {name.lower() for name in classes}
