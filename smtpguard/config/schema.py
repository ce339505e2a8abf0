"""The JSON Schemas of the settings and of the policy, for editors, made of the models.

Contract: pure.  A schema accepts what the program accepts, as far as one value and the keys beside it can tell, and
has a description for every key; that a name in one place must exist in another, `smtpguard check` alone can say.
Every validator that lets in more than its type says (a single item for a list, a word for a mapping) is known here; one
that is not is an error, so that no new one goes unnoticed.  `python -m smtpguard.config.schema settings|policy` prints
one, which `make docs` does.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from ..policy import privacy
from ..policy.limits import MOST_LIMITS
from .fields import MOST_WORKERS
from .policy_models import PolicyModel
from .policy_test_models import LineModel
from .settings import Settings

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
"""The one that all editors know."""

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_CIDR: Final[Schema] = {"type": "string", "pattern": r"^[0-9A-Fa-f:.]+(%[^/]*)?(/[0-9]{1,3})?$"}
_TIME: Final[Schema] = {"type": "string", "pattern": r"^\s*[0-9]{1,9} ?[A-Za-z]+\s*$"}
_RATE: Final[Schema] = {
    "type": "string",
    "pattern": r"^\s*[0-9]+\s*(/|[Pp][Ee][Rr])\s*[0-9]*\s*[A-Za-z]+\s*$",
}
_EXPECT: Final[Schema] = {
    "anyOf": [
        {"enum": ["forward", "close"]},
        {"type": "string", "pattern": "^[245][0-9]{2}$|^[0-9]{3} [ -~]+$"},
        {"type": "integer", "minimum": 200, "maximum": 299},
        {"type": "integer", "minimum": 400, "maximum": 599},
    ]
}

_LINE: Final[Schema] = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "propertyNames": {"not": {"enum": sorted(LineModel.model_fields)}},
    "additionalProperties": {"anyOf": [*_EXPECT["anyOf"], {"type": "null"}]},
}
"""`LINE: EXPECTATION`."""


def _any(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def _or_one(inner: Schema) -> Schema:
    """A single item may stand for a list of one."""
    return _any(inner["items"], inner)


def _or_for_all(inner: Schema) -> Schema:
    """What stands for a mapping is what holds for all."""
    return _any(inner["additionalProperties"], inner)


def _or_text(inner: Schema) -> Schema:
    return _any(_TEXT, inner)


_WIDER: Final[dict[str, Callable[[Schema], Schema]]] = {
    "listed": _or_one,
    "wrapped": lambda inner: _any({"type": "string", **_NARROWER["fields._server"]}, inner),
    "workers": lambda _: _any({"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": MOST_WORKERS}),
    "_bind_by_network": _or_for_all,
    "_certificate": _or_text,
    "unfolded": _or_text,
    "_destinations": lambda inner: _any({"const": "both"}, inner["items"], inner),
    "_step": lambda inner: _any({"const": "close"}, inner),
    "_rate": lambda _: _RATE,
    "_network": lambda inner: _any(_CIDR, inner),
    "_by_network": _or_for_all,
    "_expect": lambda _: _EXPECT,
    "_budgets": lambda inner: _any({"enum": ["sendmail", "off"]}, inner),
    "_relay_domains": lambda inner: _any(_TEXT, {"type": "array", "items": _TEXT}, inner),
    "_line": lambda inner: _any(_TEXT, _LINE, inner),
    "_rule_set": lambda inner: _any(inner),  # what a list means is put in once there is a model of it
}
"""By the name of what is done before the type is looked at: what is accepted."""

_WHOLE: Final = frozenset({"workers", "_rate", "_expect"})
"""Those that make something else of what is accepted."""

_NARROWER: Final[dict[str, Schema]] = {
    "admin._checked": {"pattern": "^(unix|tcp|tcp6):"},
    "fields._server": {"pattern": "^(tcp|tcp6|unix|systemd):"},
    "fields._client": {"pattern": "^(tcp|unix):"},
    "fields._cidr": {"pattern": _CIDR["pattern"]},
    "incidents._webhook": {"pattern": "^https?://"},
    "limit_models._named": {"maxProperties": MOST_LIMITS, "propertyNames": {"pattern": "^[a-z][a-z0-9_-]{0,31}$"}},
    "policy_test_models._server": {"pattern": r"^[2-5][0-9]{2} [\x20-\x7e]+$"},
    "policy_test_models._address": {"pattern": "^[0-9A-Fa-f:.]+(%[^/]*)?$"},
    "policy_models._banner": {"pattern": "^(?![0-9]{3}[ -])[ -~]+$"},
    "policy_models._verb": {"pattern": "^[A-Za-z0-9-]{1,64}$"},
    "state._shared": {"pattern": r"^$|^(redis|rediss|redis\+unix)://"},
}
"""By module and name of what is done behind it: what is asked of the form besides; of others it says too little."""


def _one_of(*keys: str) -> Schema:
    return {"oneOf": [{"required": [key]} for key in keys]}


_TOGETHER: Final[dict[str, Schema]] = {
    "RuleModel": {
        "anyOf": [{"required": ["action"]}, {"required": ["reply"]}],
        "not": {"required": ["action", "reply"], "properties": {"action": {"const": "forward"}}},
    },
    "StepModel": _one_of("delay", "close", "ban"),
    "Hook": _one_of("command", "webhook"),
    "LimitModel": {
        "if": {"properties": {"count": {"const": "parallel"}}},
        "then": {"required": ["most"], "properties": {"rate": {"type": "null"}}},
        "else": {"required": ["rate"], "properties": {"most": {"type": "null"}}},
    },
    "LineModel": {"oneOf": [{"required": ["command"]}, {"required": ["message"]}]},
    "TestModel": {
        "if": {"required": ["session"], "properties": {"session": {"type": "array"}}},
        "then": {
            "properties": {
                **{key: {"type": "null"} for key in ("command", "expect")},
                **dict.fromkeys(("greeted", "esmtp", "authenticated", "auth_failed"), False),
            }
        },
        "else": {"required": ["command", "expect"], "properties": {"command": _TEXT}},
    },
    "NetworkFile": {
        "if": {"required": ["name"], "properties": {"name": _TEXT}},
        "then": {"properties": {"format": {"const": "exim"}}},
    },
}
"""By model: what its keys say of one another."""

_NO_NULL: Final = frozenset({"RuleModel"})
"""Models in which a key with nothing behind it is an error."""

_LINK: Final = re.compile(r" ?\(?\[([^\]]*)\]\([^)]*\)\)?")


class _Maker(GenerateJsonSchema):
    """pydantic's, told what our validators do."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        return self._widened(schema["function"]["function"], schema["schema"])

    def function_wrap_schema(self, schema: core_schema.WrapValidatorFunctionSchema) -> JsonSchemaValue:
        return self._widened(schema["function"]["function"], schema["schema"])

    def function_after_schema(self, schema: core_schema.AfterValidatorFunctionSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        function = schema["function"]["function"]
        more = _NARROWER.get(f"{function.__module__.rpartition('.')[2]}.{getattr(function, '__name__', '')}")
        return {**inner, **more} if more is not None else inner

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def _widened(self, function: Callable[..., Any], schema: core_schema.CoreSchema) -> JsonSchemaValue:
        if function.__qualname__.startswith("_seconds."):
            longest = function.__closure__[0].cell_contents  # type: ignore[index]
            return _any({"type": "number", "exclusiveMinimum": 0, "maximum": longest}, _TIME)
        name = function.__name__
        if name not in _WIDER:
            raise LookupError(f"{function.__module__}.{name}: say in schema.py what it accepts")
        return _WIDER[name]({} if name in _WHOLE else self.generate_inner(schema))


def schema_of(model: type[BaseModel], title: str) -> Schema:
    """Return the schema of a file."""
    made = model.model_json_schema(schema_generator=_Maker)
    sections: dict[str, Schema] = {model.__name__: made, **made.get("$defs", {})}
    for name, section in sections.items():
        section.update(_TOGETHER.get(name, {}))
        for key, value in section.get("properties", {}).items():
            section["properties"][key] = _described(_without_null(value) if name in _NO_NULL else value)
    if model is PolicyModel:
        _of_the_policy(made)
    return {"$schema": DRAFT, **made, "title": title}


def _of_the_policy(made: Schema) -> None:
    """Add what the checks of the whole file ask of single words."""
    keys, sections = made["properties"], made["$defs"]
    keys["networks"]["propertyNames"] = {"pattern": "^(?!default$)[A-Za-z][A-Za-z0-9_-]*$"}
    keys["rulesets"]["propertyNames"] = {"pattern": "^check_[A-Za-z0-9-]+$"}
    keys["privacy_options"]["items"] = {"enum": [*privacy.OPTIONS, *privacy.NO_EFFECT]}
    rules = sections["RuleSetModel"]["properties"]["rules"]
    rules["minItems"] = 1
    sections["RuleModel"]["properties"]["reply"]["pattern"] = "^[245][0-9]{2} [ -~]+$"
    keys["rulesets"]["additionalProperties"]["anyOf"].insert(0, rules)
    for key, value in sections["RelayModel"]["properties"].items():
        if value.get("type") == "array":
            about = value.pop("description")
            sections["RelayModel"]["properties"][key] = {**_or_one(value), "description": about}


def _without_null(value: Schema) -> Schema:
    choices = [one for one in value.get("anyOf", []) if one != {"type": "null"}]
    rest = {key: item for key, item in value.items() if key not in ("anyOf", "default")}
    if not choices:
        return value
    return {**choices[0], **rest} if len(choices) == 1 else {"anyOf": choices, **rest}


def _described(value: Schema) -> Schema:
    """Put the unit where editors show it, and take out what only the pages of docs/ can follow."""
    unit, _ = value.pop("unit", ""), value.pop("flag", "")
    if "description" in value:
        text = _LINK.sub(lambda link: "" if link[0].startswith(" (") else f" {link[1]}", value["description"])
        value["description"] = f"{text} ({unit})" if unit else text
    return value


SCHEMAS: Final[Mapping[str, tuple[type[BaseModel], str]]] = {
    "settings": (Settings, "Settings of smtpguard"),
    "policy": (PolicyModel, "Policy of smtpguard"),
}
"""By what `smtpguard schema` calls it."""


def text_of(name: str) -> str:
    """Return a schema as it stands in a file."""
    return json.dumps(schema_of(*SCHEMAS[name]), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text_of(sys.argv[1]))
