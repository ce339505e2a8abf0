"""The section `log` of the settings file.

Contract: a section that passes can be logged by, but for what only the file system knows (`file_fault`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .fields import FilePath, listed
from .models import Section

Destination = Literal["stderr", "syslog", "file"]
IDENT: Final = "smtpguard"
_PROGRAM: Final = r"^[A-Za-z0-9_.-]{1,32}$"


def _destinations(value: object) -> object:
    return ["stderr", "syslog"] if value == "both" else listed(value)


class Log(Section):
    """What is logged, how and where."""

    to: Annotated[
        list[Destination],
        BeforeValidator(_destinations),
        Field(min_length=1),
        AfterValidator(lambda words: list(dict.fromkeys(words))),
    ] = Field(["stderr"], description="a word or a list of words; `both` is `[stderr, syslog]`")
    file: FilePath | None = Field(
        None, description="the file of `to: file`; opened again at SIGUSR1 and SIGHUP ([logs.md](logs.md))"
    )
    style: Literal["sendmail", "classic"] = Field(
        "sendmail",
        description="form of the lines: sendmail 8.17's, or a 1990s one, which does not tell refused from forwarded",
    )
    format: Literal["text", "json"] = Field("text", description="lines, or one JSON object an event")
    level: int = Field(
        9,
        ge=0,
        le=99,
        description="sendmail's LogLevel: 1 attacks, 6 VRFY and EXPN, 9 a summary a session, 11 connections",
    )
    syslog_ident: str = Field(
        IDENT, pattern=_PROGRAM, description="program name in syslog (facility mail) and in the file"
    )
    ident: str | None = Field(None, pattern=_PROGRAM, description="older name of `syslog_ident`")
    syslog_socket: FilePath = Field("/dev/log", description="where the syslog daemon listens")

    @model_validator(mode="after")
    def _whole(self) -> Log:
        if "file" in self.to and self.file is None:
            raise ValueError("`to: file` needs a `file`")
        if self.file is not None and "file" not in self.to:
            raise ValueError("there is a `file`, but `to` does not name it: `to: file`, or `to: [stderr, file]`")
        if self.ident is not None and self.syslog_ident != IDENT:
            raise ValueError("`ident` is the older name of `syslog_ident`: set one of them")
        return self

    @property
    def program(self) -> str:
        """Return the program name of lines."""
        return self.ident or self.syslog_ident

    def file_fault(self) -> str | None:
        """Return why there can be no such file, whatever the service may do, or None."""
        if self.file is None:
            return None
        path = Path(self.file)
        try:
            if path.is_dir():
                return f"file: {self.file} is a directory"
            if not path.parent.is_dir():
                return f"file: there is no directory {path.parent}"
        except OSError:
            return None  # not for us to see
        return None
