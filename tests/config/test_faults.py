"""A fault is one printable line, and what it costs to make many of them is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from smtpguard.config import policy_file
from smtpguard.config.faults import SEARCHES, WORDS_SEARCHED, Fault, Faulty, Known, suggestion
from smtpguard.config.policy_file import build
from smtpguard.config.settings import load
from smtpguard.config.yaml_reader import read


@pytest.mark.parametrize("odd", ["\n", "\r", "\x1b", "\0", "\x7f", "\x85", "\u2028", "\u202e", "\udcff", "\t"])
def test_what_is_not_printable_is_written_as_an_escape(odd: str) -> None:
    """Wherever it stands; letters of all languages stay."""
    fault = Fault(f"a{odd}b", 1, 2, f"grün{odd}x")
    assert str(fault).isprintable()
    escape = odd.encode("unicode_escape").decode()
    assert str(fault) == f"a{escape}b:1:2: grün{escape}x"
    assert str(Faulty([fault, fault])) == f"{fault}\n{fault}"


@pytest.mark.parametrize(
    "text",
    [
        "a: !<%0a> b",
        'networks: {"\\e[2J": 17}',
        'rulesets: {check_vrfy: [{"x\\n": , action: reply}]}',
        '"\\n/etc/smtpguard/policy.yaml:1:1: forged": 1',
        'verbs: ["\\n"]',
        'a: "\\n"\n"a": "\\e"',
    ],
)
def test_a_policy_cannot_forge_the_faults_of_another(text: str) -> None:
    """A terminal and an editor get what `check` prints."""
    with pytest.raises(Faulty) as caught:
        build(read(text, "policy.yaml"))
    assert all(str(fault).isprintable() for fault in caught.value.faults)


def test_nor_can_settings(tmp_path: Path) -> None:
    """Those are shown together with the policy's."""
    file = tmp_path / "smtpguard.yaml"
    file.write_text('listen: tcp:25\nbackend: {endpoint: tcp:h:25, bind: {"\\e[2J": x}}\n')
    with pytest.raises(Faulty) as caught:
        load(file, {})
    assert [str(fault) for fault in caught.value.faults] == [
        f"{file}:2:47: \\x1b[2J: 'x' is not an address: write it as 192.0.2.25 or 2001:db8::25"
    ]


def test_nor_can_a_test_that_fails() -> None:
    """The zone of an address may be any text."""
    made = build(read('rulesets: {}\ntests: [{from: "::1%\\n\\e[2J", command: VRFY a, expect: close}]', "policy.yaml"))
    assert [str(fault) for fault in made.failures()] == [
        "policy.yaml:2:9: test failed: ::1%\\n\\x1b[2J 'VRFY a': expected close, got forward (no rule)"
    ]


def test_nor_can_the_name_of_a_file(tmp_path: Path) -> None:
    """It may come from a settings file of somebody else's."""
    file = tmp_path / "a\nb.yaml"
    file.write_text("x: 1")
    with pytest.raises(Faulty, match=r"a\\nb.yaml:1:1: unknown key 'x'"):
        policy_file.load(file)


def test_only_the_first_faults_get_a_hint() -> None:
    """Whoever has more of them has another problem than a slip of the pen."""
    known = Known(f"net{number}" for number in range(3 * WORDS_SEARCHED))
    hints = [known.hint(f"nett{number}") for number in range(2 * SEARCHES)]
    assert all(hints[:SEARCHES])
    assert not any(hints[SEARCHES:])


def test_a_hint_looks_at_a_bounded_number_of_words() -> None:
    """Of at most so many characters: the search takes their square."""
    many = [f"net{number:04}" for number in range(2 * WORDS_SEARCHED)]
    assert suggestion("nett0001", many) == " (did you mean net0001?)"
    assert suggestion("internall", [*many, "internal"]) == " (did you mean internal?)"
    assert suggestion("zonee", [*many, "zone"]) == ""
    assert suggestion("n" * 100, ["n" * 99]) == ""
