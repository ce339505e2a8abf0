"""Completion for bash, zsh and fish: files made of the commands, so that no Python starts when somebody presses TAB.

Contract: pure.  Each file knows every command, its options and their values: words, files, directories, shipped
policies.  `python -m smtpguard.cli.completion FOLDER` writes the three, which `make docs` does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
from attrs import frozen

from ..config.policy_file import SHIPPED
from . import guide
from .main import smtpguard

NOTE: Final = "Made by `make docs` from the commands; do not edit."
PROGRAM: Final = "smtpguard"


@frozen
class Value:
    """What may stand somewhere."""

    called: str = ""
    words: tuple[str, ...] = ()
    files: bool = False
    folders: bool = False


@frozen
class Option:
    """One option: its names, what it is for, and what stands behind it, if anything does."""

    names: tuple[str, ...]
    help: str
    value: Value | None
    repeated: bool = False


@frozen
class Command:
    """One command."""

    name: str
    help: str
    options: tuple[Option, ...]
    arguments: tuple[Value, ...]


def commands() -> list[Command]:
    """Return all of them, in the order of the help."""
    context = click.Context(smtpguard, info_name=PROGRAM)
    found = []
    for name, text in guide.lines():
        command = smtpguard.get_command(context, name)
        if command is None:
            continue
        parameters = command.get_params(click.Context(command, info_name=name, parent=context))
        options = tuple(option for one in parameters if isinstance(one, click.Option) for option in _options(one))
        arguments = tuple(_value(one) for one in parameters if isinstance(one, click.Argument))
        found.append(Command(name, text.rstrip("."), options, arguments))
    return found


def _options(option: click.Option) -> Iterator[Option]:
    text = re.sub(r"\s+", " ", (option.help or "").partition("  [")[0]).strip().rstrip(".")
    value = None if option.is_flag or option.count else _value(option)
    names = (*option.opts, *(("-h",) if "--help" in option.opts and "-h" not in option.opts else ()))
    yield Option(tuple(sorted(names, key=len)), text, value, option.multiple)
    if option.secondary_opts:
        yield Option(tuple(option.secondary_opts), f"Not: {text}", None)


def _value(parameter: click.Parameter) -> Value:
    called = parameter.metavar or parameter.type.name.upper()
    if isinstance(parameter.type, click.Choice):
        return Value((parameter.name or "").upper(), tuple(map(str, parameter.type.choices)))
    words = (*(SHIPPED if called == "FILE|NAME" else ()), *re.findall(r"\b[a-z]+\b", called))
    return Value(called, words, files=called.startswith("FILE"), folders=called == "DIR")


# -- bash -----------------------------------------------------------------------------------------

_BASH: Final = """\
# bash completion for {program}.  {note}

_{program}() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} command= words= files= index
    COMPREPLY=()
    # bash takes --option=value apart.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        if [[ ${{COMP_WORDS[index]}} != -* ]]; then
            command=${{COMP_WORDS[index]}}
            break
        fi
    done
    case $command/$prev in
{values}
    *)
        if [[ $cur == -* ]]; then
            case $command in
{options}
            esac
        else
            case $command in
{arguments}
            esac
        fi
        ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    if [[ -n $files ]]; then
        compopt -o filenames 2>/dev/null
        local file
        while IFS= read -r file; do
            COMPREPLY+=("$file")
        done < <(compgen "$files" -- "$cur")
    fi
}}

complete -F _{program} {program}
"""


def bash(known: list[Command]) -> str:
    """Return the file for bash."""
    values, options, arguments = [], [], []
    for one in known:
        for option in one.options:
            if option.value is not None:
                pattern = "|".join(f"{one.name}/{name}" for name in option.names)
                values.append(f"    {pattern}) {_bash_value(option.value)} ;;")
        names = " ".join(name for option in one.options for name in option.names)
        options.append(f'            {one.name}) words="{names}" ;;')
        if one.arguments:
            arguments.append(f"            {one.name}) {_bash_value(_together(one.arguments))} ;;")
    options.append('            "") words="-h --help --version" ;;')
    arguments.append(f'            "") words="{" ".join(one.name for one in known)}" ;;')
    made = ("\n".join(lines) for lines in (values, options, arguments))
    return _BASH.format(**dict(zip(("values", "options", "arguments"), made, strict=True)), note=NOTE, program=PROGRAM)


def _together(values: tuple[Value, ...]) -> Value:
    words = tuple(word for value in values for word in value.words)
    return Value("", words, any(value.files for value in values), any(value.folders for value in values))


def _bash_value(value: Value) -> str:
    said = [f'words="{" ".join(value.words)}"'] if value.words else []
    if value.files or value.folders:
        said.append("files=-f" if value.files else "files=-d")
    return " ".join(said) or ":"


# -- zsh ------------------------------------------------------------------------------------------

_ZSH: Final = """\
#compdef {program}
# zsh completion for {program}.  {note}

_{program}() {{
    local context state state_descr line
    typeset -A opt_args
    local -a commands=(
{commands}
    )
    _arguments -C '(-h --help)'{{-h,--help}}'[Show help and exit]' '--version[Show the version and exit]' \\
        '1:command:->command' '*::argument:->argument' && return
    case $state in
    command) _describe -t commands command commands ;;
    argument)
        case $words[1] in
{cases}
        esac
        ;;
    esac
}}

_{program}_policies() {{
    _alternative 'policies:shipped policy:({shipped})' 'files:file:_files'
}}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _{program} "$@"
else
    compdef _{program} {program}
fi
"""


def zsh(known: list[Command]) -> str:
    """Return the file for zsh."""
    lines = "\n".join(f"        {_quoted(f'{one.name}:{one.help}')}" for one in known)
    cases = "\n".join(_zsh_case(one) for one in known)
    return _ZSH.format(commands=lines, cases=cases, shipped=" ".join(SHIPPED), note=NOTE, program=PROGRAM)


def _zsh_case(one: Command) -> str:
    specs = []
    for option in one.options:
        about = re.sub(r"([\[\]:\\])", r"\\\1", option.help)
        behind = "" if option.value is None else f":{_zsh_called(option.value)}:{_zsh_action(option.value)}"
        for name in option.names:
            others = " ".join(option.names)
            first = "*" if option.repeated else f"({others})"
            mark = "=" if option.value is not None and name.startswith("--") else ""
            specs.append(_quoted(f"{first}{name}{mark}[{about}]{behind}"))
    for value in one.arguments:
        if (action := _zsh_action(value)) != " ":  # beside one that nothing completes, options are only listed
            specs.append(_quoted(f":{_zsh_called(value)}:{action}"))
    joined = " \\\n                ".join(specs)
    return f"        {one.name})\n            _arguments {joined}\n            ;;"


def _zsh_called(value: Value) -> str:
    return re.sub(r"([:\\])", r"\\\1", value.called or " ")


def _zsh_action(value: Value) -> str:
    if value.files:
        return f"_{PROGRAM}_policies" if value.words else "_files"
    if value.folders:
        return "_files -/"
    return f"({' '.join(value.words)})" if value.words else " "


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# -- fish -----------------------------------------------------------------------------------------


def fish(known: list[Command]) -> str:
    """Return the file for fish."""
    lines = [f"# fish completion for {PROGRAM}.  {NOTE}", ""]
    names = " ".join(one.name for one in known)
    start, begin = f"complete -c {PROGRAM}", f"not __fish_seen_subcommand_from {names}"
    lines += [f"{start} -f", f"{start} -n '{begin}' -l version -d 'Show the version and exit'"]
    lines.append(f"{start} -s h -l help -d 'Show help and exit'")
    for one in known:
        lines.append(f"{start} -n '{begin}' -a {one.name} -d {_fish_quoted(one.help)}")
    for one in known:
        there = f"{start} -n '__fish_seen_subcommand_from {one.name}'"
        for option in one.options:
            if "--help" in option.names:
                continue
            flags = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            value = "" if option.value is None else f" {_fish_value(option.value, '-r', '-x')}"
            lines.append(f"{there} {flags}{value} -d {_fish_quoted(option.help)}")
        for argument in one.arguments:
            if behind := _fish_value(argument, "", ""):
                lines.append(f"{there} {behind}")
    return "\n".join([*lines, ""])


def _fish_value(value: Value, with_files: str, without: str) -> str:
    said = [f"{with_files} -F" if value.files or value.folders else without]
    if value.words:
        said.append(f"-a '{' '.join(value.words)}'")
    return " ".join(filter(None, said)).strip()


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


FILES: Final[dict[str, Callable[[list[Command]], str]]] = {
    "smtpguard": bash,
    "_smtpguard": zsh,
    "smtpguard.fish": fish,
}
"""By the names that the shells look for."""


if __name__ == "__main__":
    for file, made in FILES.items():
        (Path(sys.argv[1]) / file).write_text(made(commands()), "utf-8")
