"""The tables of docs/ are made from the code, and are up to date."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from smtpguard.cli.run import run_guard
from smtpguard.config import policy_reference, reference
from smtpguard.config.policy_models import PolicyModel
from smtpguard.config.settings import Settings
from smtpguard.policy.reply_profiles import PROFILES, reply_for
from smtpguard.smtp import answers
from smtpguard.smtp.answers import Closing
from smtpguard.smtp.replies import Reply
from smtpguard.smtp.verbs import KNOWN_VERBS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "made"), [("settings", reference.settings_markdown), ("replies", reference.replies_markdown)]
)
def test_the_committed_file_is_what_make_docs_writes(name: str, made: Callable[[], str]) -> None:
    """Run `make docs` if this fails."""
    assert (ROOT / f"docs/{name}.md").read_text() == made()


def test_the_tables_of_the_policys_keys_are_what_make_docs_writes() -> None:
    """Run `make docs` if this fails."""
    page = (ROOT / "docs/policy.md").read_text("utf-8")
    assert page == policy_reference.placed(page)


def test_every_key_of_a_policy_has_a_row_in_the_table_of_its_section() -> None:
    """As the settings have."""
    described = {model for _, model in policy_reference.SECTIONS.values()}
    tables = f"{policy_reference.top_table()}\n{policy_reference.inner_tables()}"
    for model, name, field in fields(PolicyModel):
        assert model in described, model
        assert f"| `{field.alias or name}` |" in tables


def fields(model: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str, Any]]:
    """Yield every field of a model and of the models in it."""
    for name, field in model.model_fields.items():
        yield model, name, field
        for inner in models_in(field.annotation):
            yield from fields(inner)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from models_in(argument)


def test_every_setting_has_a_row_in_the_table_of_its_section() -> None:
    """A section that the tables do not know would go unnoticed otherwise."""
    described = {model for _, model in reference.SECTIONS.values()}
    text = reference.settings_markdown()
    for model, name, field in fields(Settings):
        assert model in described
        assert f"| `{field.alias or name}` |" in text


def test_every_number_that_counts_something_has_a_unit() -> None:
    """A time-out without one would be read as milliseconds by half of us."""
    without = {
        name
        for _, name, field in fields(Settings)
        if field.annotation in (int, float) and not (field.json_schema_extra or {}).get("unit")
    }
    assert without == {"level"}


def test_the_flags_of_the_tables_are_those_of_the_command() -> None:
    """`smtpguard run` has no other flags but --config, and --reactor, which is about the process."""
    options = {parameter.opts[0] for parameter in run_guard.params if parameter.opts[0].startswith("--")}
    said = {(field.json_schema_extra or {}).get("flag") for _, _, field in fields(Settings)} - {None}
    assert said == options - {"--config", "--reactor"}


def test_the_table_of_replies_has_every_verb_and_every_reply_of_the_guard() -> None:
    """Both of the profiles and of the guard itself."""
    text = reference.replies_markdown()
    for verb in KNOWN_VERBS:
        row = next(
            line for line in text.splitlines() if line.startswith((f"| {verb.decode()} |", f"| {verb.decode()} ("))
        )
        assert row.split(" | ")[1:] == [
            *(str(reply_for(profile, verb)) for profile in PROFILES[:-1]),
            f"{reply_for(PROFILES[-1], verb)} |",
        ]
    for holder in (answers, Closing("HOST")):
        for reply in vars(holder).values():
            assert not isinstance(reply, Reply) or f"| {reply} |" in text


def test_links_from_one_document_to_another_lead_somewhere() -> None:
    """Only those within the project are looked at."""
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in document.read_text().split("](")[1:]:
            link = target.partition(")")[0].partition("#")[0]
            assert link.startswith("http") or (document.parent / link).exists(), f"{document}: {link}"


def test_the_tests_that_the_threat_model_names_exist() -> None:
    """A promise without its test is a wish."""
    text = (ROOT / "docs/threat-model.md").read_text("utf-8")
    named = re.findall(r"(tests/[\w/.]+\.(?:py|txt|yaml))(?:::(\w+))?", text)
    assert len(named) > 30
    for path, name in named:
        assert (ROOT / path).is_file(), path
        assert not name or f"\ndef {name}(" in (ROOT / path).read_text("utf-8"), f"{path}::{name}"
    promises = re.findall(r"^\| (\d+) \|.*\| (\S.*) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in promises] == list(range(1, 25))
    assert all("tests/" in shown for _, shown in promises)
