"""The parts of the manual pages that are made from the code: commands with their options, and tables of keys.

Contract: `placed` is pure but for importing the commands; `python -m smtpguard.cli.manual FILE...` puts what is made
between its marks, which `make docs` does.  A page says with `.\\" BEGIN name` which part it wants.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click
from pydantic import BaseModel

from ..config import policy_reference, reference
from . import guide
from .main import Commands, smtpguard
from .mdoc import item, plain, prose, word

_MARK: Final = re.compile(r'(?ms)^(\.\\" BEGIN ([\w-]+): made by `make docs`; do not edit\n).*?^(\.\\" END \2\n)')
_SEE: Final = re.compile("see its own table")
_LIST: Final = ".Bl -tag -width Ds"


def placed(page: str) -> str:
    """Return the page with what is made now; raises ValueError if it has no marks."""

    def made(found: re.Match[str]) -> str:
        return "\n".join((found[1].rstrip("\n"), *PARTS[found[2]](), found[3]))

    text, count = _MARK.subn(made, page)
    if not count:
        raise ValueError("no mark of anything that is made")
    return text


# -- commands ------------------------------------------------------------------------------------


def commands() -> Iterator[str]:
    """Yield the commands by what they are for, with all their options."""
    for title, names in guide.GROUPS.items():
        there = [name for name in names if name in Commands.modules]
        if not there:
            continue
        yield f".Ss {title}"
        yield _LIST
        for name in there:
            command = smtpguard.get_command(click.Context(smtpguard), name)
            assert command is not None
            yield from _command(name, command)
        yield ".El"


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    if isinstance(command, click.Group):
        yield from item(["Cm", word(name), "Ar", word("command")], _paragraphs(command))
        for inner_name in command.list_commands(context):
            inner = command.get_command(context, inner_name)
            assert inner is not None
            yield from _command(f"{name} {inner_name}", inner)
        return
    head = ["Cm", word(name)]
    options = [one for one in command.params if isinstance(one, click.Option)]
    if options:
        head += ["Oo", "Ar", "options", "Oc"]
    for one in command.params:
        if isinstance(one, click.Argument):
            shown = re.sub(r"^\[(.*)\]$", r"\1", one.make_metavar(context))
            head += ["Ar", word(shown)] if one.required else ["Oo", "Ar", word(shown), "Oc"]
    yield from item(head, _paragraphs(command))
    if options:
        yield _LIST
        for option in options:
            yield from item(_flags(option, context), _about(option))
        yield ".El"


def _paragraphs(command: click.Command) -> Iterator[str]:
    text = inspect.cleandoc(command.help or "").partition("\f")[0]
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text)):
        if "\b" in paragraph:  # click leaves its lines as they are
            yield ".Bd -literal"
            yield from (plain(line.strip()) for line in paragraph.replace("\b", "").splitlines() if line.strip())
            yield ".Ed"
            continue
        if number:
            yield ".Pp"
        yield from prose(" ".join(paragraph.split()))


def _flags(option: click.Option, context: click.Context) -> Iterator[str]:
    for number, flag in enumerate((*option.opts, *option.secondary_opts)):
        if number:
            yield "|"
        # Fl sets one hyphen.
        yield f"Fl {word(flag[1:])}"
    if not option.is_flag and not option.count:
        shown = option.make_metavar(context).strip("[]")
        yield f"Ar {word(shown)}"


def _about(option: click.Option) -> Iterator[str]:
    yield from prose(" ".join((option.help or "").split()))
    default = option.default
    if option.show_default and isinstance(default, str | int | float) and not isinstance(default, bool):
        yield from prose(f"The default is `{default}`.")


# -- keys ----------------------------------------------------------------------------------------


def settings() -> Iterator[str]:
    """Yield every key of the settings."""
    return _keys(reference.SECTIONS)


def policy() -> Iterator[str]:
    """Yield every key of the policy."""
    return _keys(policy_reference.SECTIONS)


def _keys(sections: Mapping[str, tuple[str, type[BaseModel]]]) -> Iterator[str]:
    for title, (text, model) in sections.items():
        yield f".Ss {title}"
        yield from prose(text)
        yield _LIST
        for key, default, unit, flag, meaning in reference.rows_of(model):
            head = ["Ic", word(key.strip("`"))]
            about = prose(_SEE.sub("see the section of its name", meaning) + "." * (not meaning.endswith(".")))
            if unit:
                about += prose(f"In {unit}.")
            if default == "(required)":
                about += [".Pq required"]
            elif default:
                about += prose(f"Default: {default}.")
            if flag:
                about += [f".Pq flag Fl {word(flag.strip('`')[1:])}"]
            yield from item(head, about)
        yield ".El"


PARTS: Final = {"commands": commands, "settings": settings, "policy": policy}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        file = Path(name)
        file.write_text(placed(file.read_text("utf-8")), "utf-8")
