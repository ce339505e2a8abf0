"""YAML with one meaning: the words are what they look like, and whatever hides something is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.config.faults import Faulty
from smtpguard.config.yaml_reader import DEPTH, FILE_OCTETS, Document, read, read_file


def faults_of(text: str | bytes) -> list[str]:
    """Return all the faults of a file called `f`, without the file's name."""
    try:
        found = read(text, "f").faults
    except Faulty as error:
        found = list(error.faults)
    return [str(fault).removeprefix("f:") for fault in found]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("no", "No", "NO", "off", "on", "yes", "y", "n")),
        *((word, word) for word in ("0755", "0o755", "0x1F", "12:30", "1_000", "2026-11-22", "1.", ".5", "1e3", "=")),
        *((word, word) for word in (".inf", "-.inf", ".nan", "+ 1", "1.2.3.4", "10.0.0.0/8")),
        *((word, None) for word in ("", "~", "null", "Null", "NULL")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        ("0", 0),
        ("-17", -17),
        ("+17", 17),
        ("2000", 2000),
        ("1.5", 1.5),
        ("-0.25e2", -25.0),
        ("9" * 18, 10**18 - 1),
        ("9" * 5000, "9" * 5000),
        ("'17'", "17"),
        ('"true"', "true"),
        ("'no'", "no"),
        ("a b", "a b"),
        ("|\n  17\n", "17\n"),
        (">-\n  null\n", "null"),
    ],
)
def test_a_word_is_what_it_looks_like(text: str, value: object) -> None:
    """Not what YAML 1.1 makes of it: False, 493, 750 or 2.1."""
    document = read(f"key: {text}", "f")
    assert document.faults == []
    assert document.data == {"key": value}
    assert type(document.data["key"]) is type(value)


def test_keys_are_words_whatever_they_look_like() -> None:
    """`1`, `true` and `no` as keys are nothing special."""
    assert read("{1: a, true: b, no: c, 0755: d}", "f").data == {"1": "a", "true": "b", "no": "c", "0755": "d"}


def test_a_key_that_stands_twice_is_refused_at_its_second_place() -> None:
    """The first one counts for what else is checked, so that all faults come at once."""
    document = read("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n", "f")
    assert [str(fault) for fault in document.faults] == [
        "f:4:3: 'c' is already set on line 3: remove one of them",
        "f:5:1: 'a' is already set on line 1: remove one of them",
    ]
    assert document.data == {"a": 1, "b": {"c": 1}}


def test_what_is_left_out_is_not_searched_for_further_keys() -> None:
    """It is to be removed; but what is refused wherever it stands is refused there too."""
    assert faults_of("a: 1\na: {b: 1, b: 2, c: &x 3}\n? {d: 1, d: 2}\n: 4\n") == [
        "2:20: anchor &x is not allowed here: write the value out where it is used",
        "2:1: 'a' is already set on line 1: remove one of them",
        "3:3: a key must be a word",
    ]


def test_an_alias_for_a_key_is_one_fault() -> None:
    """The data leaves it out."""
    document = read("a: &x b\n*x : {c: 1}\n", "f")
    assert [str(fault) for fault in document.faults] == [
        "f:1:4: anchor &x is not allowed here: write the value out where it is used",
        "f:2:1: alias *x is not allowed here: quote it if the * is meant",
    ]
    assert document.data == {"a": "b"}


def test_a_key_in_quotes_is_the_same_key() -> None:
    """And so is one in the explicit form."""
    assert faults_of("a: 1\n'a': 2") == ["2:1: 'a' is already set on line 1: remove one of them"]
    assert faults_of("{a: 1, ? a : 2}") == ["1:10: 'a' is already set on line 1: remove one of them"]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            "a: &x 1\nb: *x",
            [
                "1:4: anchor &x is not allowed here: write the value out where it is used",
                "2:4: alias *x is not allowed here: quote it if the * is meant",
            ],
        ),
        ("&x a: 1", ["1:1: anchor &x is not allowed here: write the value out where it is used"]),
        ("a: *nobody", ["1:4: alias *nobody is not allowed here: quote it if the * is meant"]),
        (
            "a: &x 1\nb: &x 2",
            [
                "1:4: anchor &x is not allowed here: write the value out where it is used",
                "2:4: anchor &x is not allowed here: write the value out where it is used",
            ],
        ),
        (
            "a: !!python/name:os.system x",
            [
                "1:4: tag tag:yaml.org,2002:python/name:os.system is not allowed here: "
                "leave it out, or quote the ! if it is meant"
            ],
        ),
        ("a: !mine [1]", ["1:4: tag !mine is not allowed here: leave it out, or quote the ! if it is meant"]),
        ("a: ! b", ["1:4: tag ! is not allowed here: leave it out, or quote the ! if it is meant"]),
        (
            "a: !!str 1",
            ["1:4: tag tag:yaml.org,2002:str is not allowed here: leave it out, or quote the ! if it is meant"],
        ),
        ("a:\n  <<: {b: 1}", ["2:3: a key must be a word"]),
        ("{[a, b]: 1}", ["1:2: a key must be a word"]),
        ("? {a: 1}\n: 2", ["1:3: a key must be a word"]),
        ("a: 1\n---\nb: 2", ["2:1: one document per file: remove the second `---`"]),
        ("a:\n\tb: 1", ["2:1: a TAB cannot indent YAML: use spaces"]),
        (
            "a: 1\rb: 2\rc: @",
            [
                "3:4: not readable as YAML: found character that cannot start any token while scanning for the "
                "next token begun at 3:4"
            ],
        ),
        ("a: 1\rb:\r\tc: 1", ["3:1: a TAB cannot indent YAML: use spaces"]),
    ],
)
def test_what_hides_a_value_is_refused_where_it_stands(text: str, faults: list[str]) -> None:
    """Indirection, types of YAML's own, keys that are no words, a second document."""
    assert faults_of(text) == faults


@pytest.mark.parametrize("text", ["a: '&b c'", 'a: "*b"', "a: '!b'", "a: b & c * d ! e", "a: x&y", "# &a *b !c\na: 1"])
def test_the_signs_of_indirection_may_stand_in_a_text(text: str) -> None:
    """In quotes, or where they mean nothing."""
    assert faults_of(text) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1, 2\nb: 3", "2:"),
        ("a: 'b\nc: 1\n", "3:1:"),
        ("a: b: c", "1:5:"),
        ("a: 1\n b: 2", "2:3:"),
        ("- a\nb: 1", "2:1:"),
        ("a: @b", "1:4:"),
        (b"a: \xe9", "1:1:"),
        (b"a: \0", "1:1:"),
        ("a: \x1b[2J", "1:1:"),
        (b"\xff\xfea", "1:1:"),
    ],
)
def test_what_is_no_yaml_is_one_fault_with_its_place(text: str | bytes, place: str) -> None:
    """Nothing that is read can end in a traceback."""
    (fault,) = faults_of(text)
    assert fault.startswith(place)
    assert " not readable as YAML: " in fault
    assert fault.isprintable()


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    """Some editors write one."""
    assert read("\ufeffa: 1".encode(), "f").data == {"a": 1}


def test_a_file_with_nothing_in_it_has_no_data() -> None:
    """What that means is up to who asked for the file."""
    for text in ("", "\n", "# nothing\n", "---\n"):
        document = read(text, "f")
        assert (document.data, document.faults) == (None, [])


ALIAS_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise("abcdefghijklmnopq")
)


def test_an_alias_bomb_is_refused_alias_by_alias_and_never_expanded() -> None:
    """9 to the 17th values would be in it; one fault for every sign in the file is all there is."""
    faults = faults_of(ALIAS_BOMB)
    assert len(faults) == ALIAS_BOMB.count("&") + ALIAS_BOMB.count("*")


def test_a_value_that_holds_itself_is_refused() -> None:
    """An alias is no value, so there is nothing to go round in."""
    assert len(faults_of("a: &a [*a, {b: *a}]")) == 3


@pytest.mark.parametrize("opening", ["[", "- ", "? ", "{a: ", "- ? "])
def test_nesting_that_would_end_the_process_is_refused_where_it_gets_too_deep(opening: str) -> None:
    """In a process of its own, which must not end of it: libyaml's own reader recurses on the C stack."""
    code = (
        "from smtpguard.config.faults import Faulty\n"
        "from smtpguard.config.yaml_reader import read\n"
        f"try:\n    read({opening!r} * 200_000, 'f')\nexcept Faulty as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f": nested more than {DEPTH} levels deep\n")


def test_nesting_up_to_the_bound_is_read() -> None:
    """A settings file has four levels."""
    value = read("[" * DEPTH + "]" * DEPTH, "f").data
    for _ in range(DEPTH - 1):
        (value,) = value
    assert value == []
    assert faults_of("[" * (DEPTH + 1) + "]" * (DEPTH + 1)) == [f"1:{DEPTH + 1}: nested more than {DEPTH} levels deep"]


def test_a_file_larger_than_the_bound_is_not_read() -> None:
    """/dev/zero has no end."""
    with pytest.raises(Faulty, match=f"^/dev/zero:1:1: file larger than {FILE_OCTETS} octets$"):
        read_file("/dev/zero")


def test_every_value_and_every_key_has_its_place() -> None:
    """Lines and columns count from 1; a path that does not exist has the place of what is around it."""
    places = read("a: 1\nb:\n  - {c: x, d: [y]}\n  - e\n", "f").places
    assert places.of(()) == (1, 1)
    assert places.of(("a",)) == (1, 4)
    assert str(places.fault(("a",), "x", key=True)) == "f:1:1: x"
    assert places.of(("b", 0, "c")) == (3, 9)
    assert str(places.fault(("b", 0, "d"), "x", key=True)) == "f:3:12: x"
    assert places.of(("b", 0, "d", 0)) == (3, 16)
    assert places.of(("b", 1)) == (4, 5)
    assert places.of(("b", 7)) == places.of(("b",)) == (3, 3)
    assert places.of(("b", 0, "none")) == (3, 5)
    assert read("? [a]\n: 1\na: 2\na: 3\n", "f").places.of(("a",)) == (3, 4)
    assert Document.empty("command line").places.of(("a", 1)) == (1, 1)


texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts.filter("<<".__ne__), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_json_means_the_same_here_as_everywhere(value: Any) -> None:
    """Every JSON text is YAML 1.2; editors and generators write it."""
    document = read(json.dumps({"value": value}), "f")
    assert document.faults == []
    assert document.data == {"value": value}
