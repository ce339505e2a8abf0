"""What is made of those who go about trying: when an incident is over, how many are kept, who is told.

Contract: a pydantic model; nothing is run or asked.
"""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from .fields import Listed, Seconds, unit
from .models import Section

MOST_WORDS: Final = 64
"""Of a command; more is a script that belongs into a file."""
LONGEST_TEXT: Final = 4095
"""Characters of a word or of a URL."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def _command(words: list[str]) -> list[str]:
    if not words[0].startswith("/"):
        raise ValueError(f"{words[0]!r} is no full path: write it as [/usr/local/bin/tell, argument]")
    for word in words:
        if not word.isprintable() or len(word) > LONGEST_TEXT:
            raise ValueError(f"{word[:40]!r} is too long, or has characters that do not print")
    return words


def _webhook(text: str) -> str:
    form = "write it as https://HOST/PATH"
    try:
        url = urlsplit(text)
        url.port  # noqa: B018 - raises ValueError
    except ValueError:
        raise ValueError(f"this is no URL: {form}") from None
    if url.scheme not in ("https", "http") or not url.hostname:
        raise ValueError(f"{text!r} is no URL of HTTP: {form}")
    if not (text.isascii() and text.isprintable()) or " " in text or len(text) > LONGEST_TEXT:
        raise ValueError(f"a URL is printable ASCII without blanks, and not this long: {form}")
    if url.username is not None or url.fragment:
        raise ValueError(f"no password and no #fragment can stand in it: {form}")
    if url.scheme == "http" and url.hostname not in _LOOPBACK:
        raise ValueError(f"{text!r} would tell the network what it says: {form}; http: is for 127.0.0.1 alone")
    return text


class Hook(Section):
    """Who is told."""

    command: (
        Annotated[list[str], Field(min_length=1, max_length=MOST_WORDS), AfterValidator(_command), Listed] | None
    ) = Field(
        None,
        description="a program, by its full path, and its arguments; it gets the incident as JSON on its standard "
        "input, and no shell sees anything of it",
    )
    webhook: Annotated[str, AfterValidator(_webhook)] | None = Field(
        None, description="a URL that the same JSON is sent to by POST; https, or http to 127.0.0.1"
    )
    timeout: float = Field(
        10.0,
        gt=0,
        le=300,
        description="after which the command is killed, or the request given up",
        json_schema_extra=unit("seconds"),
    )

    @model_validator(mode="after")
    def _one(self) -> Hook:
        if (self.command is None) == (self.webhook is None):
            raise ValueError("name either a `command` or a `webhook`")
        return self


class IncidentSettings(Section):
    """Several tries by one client, told as one."""

    quiet: Seconds = Field(900.0, ge=1, description="without a further try, after which an incident is closed")
    kept: int = Field(
        10000,
        ge=100,
        le=1_000_000,
        description="incidents in the file of `state`; the oldest ones make room",
        json_schema_extra=unit("incidents"),
    )
    hook: Hook | None = Field(None, description="who is told when an incident is opened and closed; see its own table")
