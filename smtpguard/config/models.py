"""What pydantic models of files have in common, and how their errors become faults.

Contract: `validate` checks data against a model and returns it with the faults found, in the words
of an administrator and at the place in the file.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from .faults import Fault, suggestion
from .yaml_reader import Document, Path_, yaml_11_bool


class Section(BaseModel):
    """A mapping in a file: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    elsewhere: ClassVar[tuple[str, frozenset[str]]] = "", frozenset()
    """Of a whole file: what the other kind of file is called, and keys that only that one has."""


M = TypeVar("M", bound=BaseModel)
_MISSING: Final = {
    "listen": ': where clients come to, as in `listen: ["tcp:25:interface=0.0.0.0"]`',
    "backend": ": the mail server, as in `backend: tcp:127.0.0.1:2525`",
}
"""What the keys are for without which nothing can start."""


def validate(model: type[M], document: Document) -> tuple[M | None, list[Fault]]:
    """Return (model or None, faults)."""
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        return None, [document.places.fault((), "the file must be a mapping of `key: value` lines")]
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, [_fault(document, model, details) for details in error.errors(include_url=False)]


def _fault(document: Document, model: type[BaseModel], details: ErrorDetails) -> Fault:
    path: Path_ = tuple(details["loc"])
    if details["type"] == "extra_forbidden":
        other, keys = model.elsewhere if issubclass(model, Section) else Section.elsewhere
        if len(path) == 1 and path[0] in keys:
            return document.places.fault(path, f"{path[0]!r} is a key of {other}", key=True)
        known = _keys_at(model, path[:-1])
        return document.places.fault(path, f"unknown key {path[-1]!r}{suggestion(str(path[-1]), known)}", key=True)
    return document.places.fault(path, f"{_name(document.places.written(path))}{_text(details)}")


def _name(path: Path_) -> str:
    words = [str(step) for step in path if isinstance(step, str)]
    return f"{words[-1]}: " if words else ""


def _text(details: ErrorDetails) -> str:
    value = details["input"]
    shown = "nothing" if value is None else repr(value)
    if len(shown) > 60:
        shown = shown[:57] + "..."
    match details["type"]:
        case "bool_type":
            meant = yaml_11_bool(value)
            return f"must be true or false, not {shown}" + (f" (write {meant})" if meant else "")
        case "string_type":
            return f"must be a text, not {shown} (put it in quotes if it is meant)"
        case "too_short":
            return "must not be empty"
        case "int_type" | "int_from_float":
            return f"must be a whole number, not {shown}"
        case "float_type":
            return f"must be a number, not {shown}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" | "string_pattern_mismatch":
            return f"must {details['msg'].partition('should ')[2]}, not {shown}"
        case "list_type":
            return f"must be a list, not {shown}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"must be a mapping of `key: value`, not {shown}"
        case "missing":
            return "is missing" + _MISSING.get(str(details["loc"][-1]), "") * (len(details["loc"]) == 1)
        case "literal_error":
            known = [word.strip("' ") for word in details["ctx"]["expected"].replace(" or ", ", ").split(",")]
            return f"{shown} is none of {', '.join(known)}{_close(value, known)}"
        case "value_error":
            return str(details["ctx"]["error"])
        case _:
            return f"{details['msg'].lower()}, not {shown}"


def _close(value: object, known: list[str]) -> str:
    hint = suggestion(str(value), known)
    return hint if "mean" in hint else ""


def _keys_at(model: type[BaseModel], path: Path_) -> list[str]:
    """Return the keys that the section at `path` may have."""
    current: Any = model
    for step in path:
        current = _inside(current, step)
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _inside(annotation: Any, step: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if step in (name, field.alias):
                return _model_in(field.annotation)
        return annotation  # the key of a dict[str, ...] or the index of a list on the way to it
    return _model_in(annotation)


def _model_in(annotation: Any) -> Any:
    """Return the model inside list[...], dict[str, ...] and unions, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
