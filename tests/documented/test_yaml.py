"""Every piece of YAML in README.md and docs/ is one that the program takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from smtpguard.config import yaml_reader
from smtpguard.config.faults import Fault, Faulty
from smtpguard.config.models import Section, validate
from smtpguard.config.policy_file import build, find
from smtpguard.config.policy_models import PolicyModel
from smtpguard.config.settings import Settings

from .pages import PAGES
from .pages import text as page_text
from .reading import blocks

LEAST: Final = {"listen": ["tcp:25"], "backend": {"endpoint": "tcp:127.0.0.1:2525"}}
"""What no settings may lack."""
NETWORKS: Final = {name: ["192.0.2.0/24"] for name in ("internal", "printers", "old-mta", "partners", "office")}
"""Networks that examples name without saying what is in them."""
CONTENT: Final = {
    "access": "To:example.org RELAY\nConnect:192.0.2 RELAY\n",
    "main.cf": "mynetworks = 127.0.0.0/8\n",
    "mynetworks": "127.0.0.0/8\n",
    "exim4.conf": "hostlist relay_from_hosts = 127.0.0.1 : 192.0.2.0/24\n",
    "update-exim4.conf.conf": "dc_relay_nets='192.0.2.0/24'\n",
}
"""What stands in files that examples name; a domain, where nothing is said."""


def _found() -> Iterator[Any]:
    for page in PAGES:
        for block in blocks(page_text(page)):
            if block.language == "yaml":
                yield pytest.param(block.text, id=f"{page}:{block.line}")


@pytest.mark.parametrize("text", list(_found()))
def test_an_example_is_taken_by_the_program(text: str, tmp_path: Path) -> None:
    """As the keys of settings, or of a policy, that it shows; what it does not show is supposed to be there."""
    document = yaml_reader.read(text, "example")
    assert not document.faults, document.faults
    assert isinstance(document.data, dict)
    keys = document.data.keys()
    faults: list[Fault] = []
    if keys <= _keys(Settings):
        faults = _settings(document.data)
        if not faults:
            return
    if keys <= _keys(PolicyModel) or all(key.startswith("check_") for key in keys):
        faults = _policy(document.data, tmp_path)
        if not faults:
            return
    raise AssertionError("\n".join(map(str, faults)) or f"keys of no file: {sorted(keys)}")


def _keys(model: type[Section]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def _settings(data: Mapping[str, Any]) -> list[Fault]:
    backend = data.get("backend", {})
    whole = {**LEAST, **data}
    if isinstance(backend, dict):
        whole["backend"] = {**LEAST["backend"], **backend}  # type: ignore[dict-item]
    document = yaml_reader.Document(whole, yaml_reader.Places("example"), [])
    return validate(Settings, document)[1]


def _policy(data: dict[str, Any], folder: Path) -> list[Fault]:
    if all(key.startswith("check_") for key in data):
        data = {"rulesets": data}
    if data.keys() == {"tests"}:  # of the policy that everybody begins with
        shipped = yaml_reader.read_file(find("internal-vrfy")).data
        data = {**shipped, **data}
    data = {**data, "networks": {**NETWORKS, **data.get("networks", {})}}
    document = yaml_reader.Document(_beside(data, folder), yaml_reader.Places(str(folder / "policy.yaml")), [])
    try:
        return list(build(document).failures())
    except Faulty as error:
        return list(error.faults)


def _beside(value: Any, folder: Path) -> Any:
    """Return the value with files of the mail server as files in this folder, where they are made."""
    if isinstance(value, dict):
        return {key: _beside(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_beside(item, folder) for item in value]
    if isinstance(value, str) and value.startswith("/etc/"):
        path = folder / value[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CONTENT.get(path.name, "example.org\n"))
        return str(path)
    return value
