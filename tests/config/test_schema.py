"""The JSON Schemas say what the program says: of what is shipped, of the examples in docs/, and of what is faulty."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft7Validator

from smtpguard.cli.main import main
from smtpguard.config import schema
from smtpguard.config.faults import Faulty
from smtpguard.config.models import validate
from smtpguard.config.policy_file import SHIPPED, build
from smtpguard.config.settings import Settings
from smtpguard.config.yaml_reader import Document, read

ROOT: Final = Path(__file__).parents[2]
FILES: Final = {"settings": "smtpguard.yaml.schema.json", "policy": "policy.schema.json"}


@pytest.fixture(scope="module", params=FILES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def committed(kind: str) -> Any:
    return json.loads((ROOT / "smtpguard/share/schema" / FILES[kind]).read_text("utf-8"))


VALIDATORS: Final = {kind: Draft7Validator(committed(kind)) for kind in FILES}


def complaints(kind: str, data: Any) -> list[str]:
    """Return what the schema says of data, each with where it is."""
    return [f"{'/'.join(map(str, one.absolute_path))}: {one.message}" for one in VALIDATORS[kind].iter_errors(data)]


def test_the_committed_schema_is_what_make_docs_writes(kind: str) -> None:
    """Run `make docs` if this fails."""
    assert (ROOT / "smtpguard/share/schema" / FILES[kind]).read_text("utf-8") == schema.text_of(kind)


def test_the_command_prints_it(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For who has no share directory at hand."""
    assert main(["schema", kind]) == 0
    assert capsys.readouterr().out == schema.text_of(kind)


def test_a_schema_is_one_and_describes_every_key(kind: str) -> None:
    """And lets no unknown key in anywhere."""
    made = committed(kind)
    Draft7Validator.check_schema(made)
    for section in (made, *made["$defs"].values()):
        assert section["additionalProperties"] is False
        for key, value in section["properties"].items():
            assert value.get("description", "](").find("](") == -1, key
            assert not {"unit", "flag"} & value.keys()


def shipped() -> Iterator[tuple[str, Path]]:
    """Yield all settings and policies of the tree."""
    for path in [*ROOT.glob("policies/*.yaml"), ROOT / "smtpguard/demo/policy.yaml"]:
        yield "policy", path
    yield "settings", ROOT / "systemd/smtpguard.yaml"


@pytest.mark.parametrize(("kind", "path"), [*shipped()], ids=lambda one: str(getattr(one, "stem", one)))
def test_every_shipped_file_is_right(kind: str, path: Path) -> None:
    """As the program reads it, which is not as YAML libraries do."""
    assert complaints(kind, read(path.read_bytes(), str(path)).data) == []


def test_no_shipped_policy_is_left_out() -> None:
    assert {path.stem for _, path in shipped()} >= set(SHIPPED)


def examples() -> Iterator[tuple[str, str]]:
    """Yield the examples of docs/ in YAML, each with its place, one by one where a block shows several ways."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text("utf-8")
        for match in re.finditer(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            keys = re.findall(r"^(\w+):", match[1], re.MULTILINE)
            where = f"{path.name}:{text[: match.start()].count(chr(10)) + 1}"
            if len(keys) == len(set(keys)):
                yield where, match[1]
            else:
                for number, part in enumerate(re.split(r"^(?=\w+:)", match[1], flags=re.MULTILINE)[1:]):
                    yield f"{where}.{number}", part


KEYS: Final = {kind: set(committed(kind)["properties"]) for kind in FILES}
COMPLETE: Final = {"settings": {"listen": "tcp:25", "backend": "tcp:127.0.0.1:2525"}, "policy": {}}
"""What an example that shows one section leaves out."""


@pytest.mark.parametrize(("where", "text"), [pytest.param(*one, id=one[0]) for one in examples()])
def test_every_example_in_the_documents_is_right(where: str, text: str) -> None:
    """One that is neither settings nor a policy is of another program, and names none of their keys."""
    data = read(text, where).data
    if not isinstance(data, dict):
        return
    kinds = [kind for kind, keys in KEYS.items() if data.keys() <= keys]
    assert kinds or not data.keys() & (KEYS["settings"] | KEYS["policy"])
    assert not kinds or not all(complaints(kind, {**COMPLETE[kind], **data}) for kind in kinds)


# -- beside the program ---------------------------------------------------------------------------


def texts_in_tests(name: str) -> Iterator[str]:
    """Yield the texts that a file of tests has, which are policies or settings if they can be read as such."""
    tree = ast.parse((ROOT / "tests/config" / name).read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            yield node.value


def document_of(text: str) -> Document | None:
    try:
        document = read(text, "f")
    except Faulty:
        return None
    return document if isinstance(document.data, dict) and not document.faults else None


def test_what_the_program_accepts_of_the_texts_in_its_tests_the_schema_does_too() -> None:
    """Every policy and all settings that tests/config has, whole or in part."""
    policies = settings = 0
    for path in sorted((ROOT / "tests/config").glob("test_*.py")):
        for text in texts_in_tests(path.name):
            document = document_of(text)
            if document is None:
                continue
            if document.data.keys() <= KEYS["policy"]:
                try:
                    build(document)
                except Faulty:
                    continue
                policies += 1
                assert complaints("policy", document.data) == [], text
            elif document.data.keys() <= KEYS["settings"]:
                document.data = {**COMPLETE["settings"], **document.data}
                if validate(Settings, document)[0] is not None:
                    settings += 1
                    assert complaints("settings", document.data) == [], text
    assert policies > 20
    assert settings > 20


FAULTS_OF_FORM: Final = (
    "networks: [10.0.0.0/8]",
    "networks: {a: [17]}",
    "networks: {a b: []}",
    "networks: {default: []}",
    "networks: {a: nets}",
    "networks: {a: {file: b}}",
    "networks: {a: {file: b, format: c}}",
    "networks: {a: {file: b, format: postfix, name: c}}",
    "replies: [stig]",
    "privacy_options: novrfy",
    "privacy_options: [novrfi]",
    "banner: 220 hello",
    "banner: ''",
    "verbs: [X Y]",
    "rulesets: []",
    "rulesets: {check_vrfy: reply}",
    "rulesets: {check_vrfy: []}",
    "rulesets: {check_vrfy: {rules: []}}",
    "rulesets: {vrfy: [{action: reply}]}",
    "rulesets: {check_vrfy: [{from: 10.0.0.0/8}]}",
    "rulesets: {check_vrfy: [{action: reply, tls: off}]}",
    "rulesets: {check_vrfy: [{action: reply, from: }]}",
    "rulesets: {check_vrfy: [{action: reply, from: []}]}",
    "rulesets: {check_vrfy: [{action: reply, delay: 241}]}",
    "rulesets: {check_vrfy: [{reply: Cannot VRFY}]}",
    "rulesets: {check_vrfy: [{action: forward, reply: 550 5.7.1 No}, {action: reply}]}",
    "bare_newline: normalise",
    "budgets: on",
    "budgets: {vrfi: 6}",
    "budgets: {vrfy: -1}",
    "limits: {A: {count: probes, rate: 1/hour, then: close}}",
    "limits: {a: {count: probes, most: 1, then: close}}",
    "limits: {a: {count: parallel, rate: 1/hour, then: close}}",
    "limits: {a: {count: probes, rate: 1/hour, then: []}}",
    "limits: {a: {count: probes, rate: 1/hour, then: {delay: 1, close: true}}}",
    "limits: {a: {count: probes, rate: often, then: close}}",
    "relay_domains: {file: a}",
    "relay_domains: 17",
    "tests: [{from: 10.0.0.1, command: VRFY a}]",
    "tests: [{from: host, command: VRFY a, expect: 250}]",
    "tests: [{from: 10.0.0.1, command: VRFY a, expect: 354}]",
    "tests: [{from: 10.0.0.1, command: , expect: 250}]",
    "tests: [{from: 10.0.0.1, session: []}]",
    "tests: [{from: 10.0.0.1, session: [EHLO a], greeted: true}]",
    "tests: [{from: 10.0.0.1, session: [EHLO a], command: VRFY a, expect: 250}]",
    "tests: [{from: 10.0.0.1, session: [{EHLO a: perhaps}]}]",
    "test: []",
)


@pytest.mark.parametrize("text", FAULTS_OF_FORM)
def test_a_policy_with_a_fault_of_form_is_wrong_to_the_editor_too(text: str) -> None:
    """As it is to the program."""
    document = read(text, "f")
    assert complaints("policy", document.data)
    with pytest.raises(Faulty):
        build(document)


@pytest.mark.parametrize(
    "text",
    [
        "listen: []",
        "listen: udp:25",
        "listen: {endpoint: tcp:25, proxy: none}",
        "backend: 127.0.0.1:25",
        "backend: {endpoint: [tcp:127.0.0.1:25], profile: sendmial}",
        "relay_check: no",
        "workers: 0",
        "workers: all",
        "timeouts: {banner: 0}",
        "timeouts: {banner: 5 minutes}",
        "log: {to: journal}",
        "log: {level: 100}",
        "limits: {queue: 1}",
        "incidents: {hook: {}}",
        "incidents: {hook: {command: /x, webhook: 'https://x/'}}",
        "state: {shared: 'http://x'}",
        "admin: [udp:1]",
        "rulesets: {}",
    ],
)
def test_settings_with_a_fault_of_form_are_wrong_to_the_editor_too(text: str) -> None:
    """As they are to the program."""
    document = read(text, "f")
    document.data = {**COMPLETE["settings"], **document.data}
    assert complaints("settings", document.data)
    assert validate(Settings, document)[1]


def test_a_validator_that_the_schema_does_not_know_is_an_error() -> None:
    """Else the schema would refuse what it lets in."""
    from typing import Annotated

    from pydantic import BaseModel, BeforeValidator

    def half(value: object) -> object:
        return value

    class Model(BaseModel):
        key: Annotated[int, BeforeValidator(half)]

    with pytest.raises(LookupError, match="half: say in schema"):
        schema.schema_of(Model, "m")
