"""The tables of keys in docs/policy.md, made of the models of the policy.

Contract: `placed` is pure; a key that nothing describes, or a section that no table has, is an error.  `python -m
smtpguard.config.policy_reference FILE` puts the tables between their marks, which `make docs` does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from .limit_models import LimitModel, PrefixesModel, StepModel
from .network_models import NetworkFile
from .policy_models import AuthModel, BudgetsModel, PolicyModel, RelayModel, RuleModel, RuleSetModel, TestModel
from .policy_test_models import LineModel
from .reference import rows_of, table

SECTIONS: Final[dict[str, tuple[str, type[BaseModel]]]] = {
    "The file": ("", PolicyModel),
    "A file of networks": ("Among the items of a network; see [above](#networks-from-files).", NetworkFile),
    "A rule set": ("Of `rulesets`, by the name of its verb.", RuleSetModel),
    "A rule": ("Each item of a rule set. All conditions must hold; one without conditions always matches.", RuleModel),
    "budgets": ("How often one session may be refused; 0 is no budget.", BudgetsModel),
    "auth": ("", AuthModel),
    "relay_domains": ("A text is one of `files`, a list is `domains`.", RelayModel),
    "A limit": ("Of `limits`, by a name of your own.", LimitModel),
    "A step of a limit": ("Each item of `then`; one of `delay`, `close` and `ban`.", StepModel),
    "prefixes": ("", PrefixesModel),
    "A test": ("Each item of `tests`.", TestModel),
    "A line of a session": ("Each item of a test's `session` that is no text and no `LINE: EXPECTATION`.", LineModel),
}
"""By title: a sentence, and the model."""
_NAMES: Final = frozenset({"budgets", "auth", "relay_domains", "prefixes"})
"""Titles that are keys."""

BEGIN: Final = "<!-- {}: made by `make docs` from the code; do not edit -->\n"
END: Final = "<!-- end of {} -->\n"
_HEAD: Final = ("key", "default", "meaning")


def top_table() -> str:
    """Return the table of the file's own keys."""
    return table(_HEAD, _rows(PolicyModel))


def inner_tables() -> str:
    """Return the tables of all that is in it."""
    parts = []
    for title, (text, model) in SECTIONS.items():
        if model is not PolicyModel:
            parts += [f"### `{title}`" if title in _NAMES else f"### {title}", *filter(None, [text])]
            parts.append(table(_HEAD, _rows(model)))
    return "\n\n".join(parts)


def placed(document: str) -> str:
    """Return the document with the tables of now; raises ValueError if the marks are not there."""
    for name, text in (("keys", top_table()), ("inner keys", inner_tables())):
        document = between(document, BEGIN.format(name), END.format(name), f"\n{text}\n\n")
    return document


def between(document: str, begin: str, end: str, text: str) -> str:
    """Return the document with this text between two marks."""
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"no {begin.strip()} ... {end.strip()}")
    return f"{before}{begin}{text}{end}{after}"


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that stand in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from models_in(argument)


def _rows(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for key, default, unit, _, meaning in rows_of(model):
        yield key, " ".join(filter(None, (default, unit))), meaning


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(placed(file.read_text("utf-8")), "utf-8")
