"""What a page has its reader type or write: commands and YAML, each with its line.

Contract: pure functions of a page's text.  A command is a line of a block that is fenced as `sh` (or behind `$` or `#`
in `console`), a line of an indented block that begins with one of PROGRAMS, or a text between backticks that does.  A
backslash at the end of a line, and a document behind `<<`, belong to the command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_PROGRAMS: Final = """
smtpguard smtpguard-transparent twist make python3 pip pipx uv npm git systemctl journalctl systemd-analyze systemd-run
service invoke-rc.d apt apt-get dpkg dpkg-deb lintian cp mv rm mkdir install chmod chown touch ln sudo su setcap setpriv
usermod adduser groupadd addgroup curl wget swaks openssl telnet nc nmap ssh scp ss ip sysctl ps kill sqlite3 sendmail
sendmailconfig m4 makemap postconf postmap postfix exim exim4 update-exim4.conf haproxy nginx fail2ban-client
fail2ban-regex logrotate promtool redis-server redis-cli mandoc man tcpdump cat echo printf grep sed diff hostname
sha256sum complete source autoload code vim
"""
PROGRAMS: Final = frozenset(_PROGRAMS.split())
"""What a reader may be told to type; a program that is not among them is none to this reader."""
SHELL: Final = frozenset({"sh", "shell", "bash"})
OTHER: Final = frozenset({"yaml", "text", "json", "console", "ini", "cfg", "vim", "lua", "elisp", "m4", "zsh", "fish"})
"""Languages of blocks that are no commands, and `console`, which has both commands and what they say."""

_FENCE: Final = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>[\w-]*) *$")
_INLINE: Final = re.compile(r"(?<!`)(`{1,2})(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_HERE: Final = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")


class Block(NamedTuple):
    """A block that is fenced, or indented."""

    line: int
    """Of its first line, 1-based."""
    language: str
    """`indented` where there are no fences."""
    text: str


class Typed(NamedTuple):
    """A command."""

    page: str
    line: int
    text: str
    inline: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of a page, in order."""
    lines = page.split("\n")
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is not None:
            end = next(n for n in range(at + 1, len(lines)) if lines[n].strip() == fence["ticks"])
            indent = len(fence["indent"])
            yield Block(at + 2, fence["language"], "\n".join(line[indent:] for line in lines[at + 1 : end]))
            at = end + 1
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()) and not _in_list(lines, at):
            end = next(
                (n for n in range(at, len(lines)) if lines[n].strip() and not lines[n].startswith("    ")), len(lines)
            )
            yield Block(at + 1, "indented", "\n".join(line[4:] for line in lines[at:end]).rstrip())
            at = end
        else:
            at += 1


def _in_list(lines: list[str], at: int) -> bool:
    """True if what is indented at this line goes on with an item of a list."""
    before = next((line for line in reversed(lines[:at]) if line.strip() and not line.startswith(" ")), "")
    return re.match(r"(?:[-*]|\d+\.) ", before) is not None


def typed(name: str, page: str) -> list[Typed]:
    """Return the commands of a page, in order."""
    found: list[Typed] = []
    rest = page.split("\n")
    for block in blocks(page):
        for number in range(len(block.text.split("\n"))):
            rest[block.line - 1 + number] = ""
        for line, text in _commands(block):
            found.append(Typed(name, line, text, False))
    text = "\n".join(line for line in rest)
    for match in _INLINE.finditer(text):
        words = " ".join(match[2].split())
        if is_command(words):
            found.append(Typed(name, text.count("\n", 0, match.start()) + 1, words, True))
    return sorted(found, key=lambda one: one.line)


def shown_behind(page: str) -> dict[int, str]:
    """Return what the page shows as said by a command, by the command's line.

    That is a block of `text` with nothing between it and a block of commands, of which it shows the last one's.
    """
    lines = page.split("\n")
    shown: dict[int, str] = {}
    before: Block | None = None
    for block in blocks(page):
        if before is not None and block.language == "text" and before.language in SHELL:
            end = before.line + before.text.count("\n") + 1
            if not any(line.strip() for line in lines[end : block.line - 2]):
                *_, (line, _) = _commands(before)
                shown[line] = block.text
        before = block
    return shown


def like(text: str) -> str:
    """Return a regular expression for what is shown: `...` is any text within a line, or, alone, any lines."""
    parts = []
    for line in text.strip("\n").split("\n"):
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            words = (re.escape(word) for word in line.rstrip().split("..."))
            parts.append(r"[^\n]*?".join(re.sub(r"(?:\\ )+", r"\\s+", word) for word in words) + r"[ \t]*\n?")
    return "".join(parts)


def is_command(text: str) -> bool:
    """True for a program of PROGRAMS with at least one argument."""
    program, _, arguments = text.partition(" ")
    return bool(arguments) and program.rpartition("/")[2] in PROGRAMS


def _commands(block: Block) -> Iterator[tuple[int, str]]:
    for line, text in _whole_lines(block):
        if block.language in SHELL:
            yield line, text
        elif block.language == "console" and text[:2] in ("$ ", "# "):
            yield line, text[2:]
        elif block.language == "indented" and is_command(text):
            yield line, text


def _whole_lines(block: Block) -> Iterator[tuple[int, str]]:
    """Yield each command line with all that belongs to it."""
    lines = block.text.split("\n")
    at = 0
    while at < len(lines):
        end = at + 1
        while lines[end - 1].endswith("\\") and end < len(lines):
            end += 1
        here = _HERE.search(lines[at])
        if here is not None:
            end = lines.index(here[2], at + 1) + 1
        text = "\n".join(lines[at:end])
        remark = text.lstrip().startswith("#") and block.language != "console"
        if text.strip() and not remark:
            yield block.line + at, text if here or end > at + 1 else _bare(text)
        at = end


def _bare(text: str) -> str:
    """Return a line without the comment at its end."""
    return re.sub(r"\s{2,}#(?: .*)?$", "", text).strip()
