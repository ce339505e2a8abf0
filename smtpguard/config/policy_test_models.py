"""The models of a policy's own tests: a line, or a whole session.

Contract: pydantic models; policy_tests.py runs them.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticKnownError

from ..policy.networks import Peer
from ..smtp.replies import Reply
from ..smtp.verdict import Facts
from .models import Section

MOST_LINES: Final = 1000
"""Of one session: as many as a mailing of some size; all of them are said before every start and reload."""

T = TypeVar("T")


def _address(text: str) -> str:
    try:
        Peer.parse(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address: write it as 203.0.113.9 or 2001:db8::9") from None
    return text


def _expect(value: object) -> object:
    if value in ("forward", "close") or re.fullmatch(r"[245][0-9]{2}", str(value)):
        return str(value)
    if isinstance(value, str) and re.match(r"[0-9]{3} ", value):
        return str(Reply.parse(value))
    raise ValueError(f"{value!r} is none of forward, close or a reply code such as 252")


def _server(text: str) -> str:
    if re.fullmatch(r"[2-5][0-9]{2} [\x20-\x7e]+", text) is None:
        raise ValueError(f'{text!r} is no reply: write a code and a text, as in "550 5.1.1 User unknown"')
    return text


def _line(value: object) -> object:
    """Return the mapping that a line stands for: `LINE`, or `LINE: EXPECTATION`."""
    if isinstance(value, str):
        return {"command": value}
    if isinstance(value, dict) and len(value) == 1 and not value.keys() & LineModel.model_fields.keys():
        return {"command": next(iter(value)), "expect": next(iter(value.values()))}
    return value


Expected = Annotated[str, BeforeValidator(_expect)]


class LineModel(Section):
    """One line of a session: `LINE`, `LINE: EXPECTATION` or a mapping."""

    command: str | None = Field(None, description="the line, without its end")
    message: str | None = Field(
        None, description="in place of it a whole message, behind a DATA; its dots, line ends and end are put in"
    )
    expect: Expected | None = Field(
        None,
        description="`forward`, `close`, the code of the guard's own reply, or all of it; anything if not set",
    )
    server: Annotated[str, AfterValidator(_server)] | None = Field(
        None, description="what the server answers if it gets the line; if not set, what suits a client"
    )

    @model_validator(mode="after")
    def _one_thing(self) -> LineModel:
        if (self.command is None) is (self.message is None):
            raise ValueError("a line of a session is a `command` or a `message`")
        return self

    @property
    def said(self) -> str:
        """What a fault calls it."""
        return "the message" if self.command is None else repr(self.command)

    @property
    def octets(self) -> bytes:
        """What the client sends."""
        if self.command is not None:
            return self.command.encode("utf-8") + b"\r\n"
        lines = (self.message or "").encode("utf-8").splitlines()
        return b"".join(b"." * line.startswith(b".") + line + b"\r\n" for line in lines) + b".\r\n"


def _bounded(lines: list[LineModel]) -> list[LineModel]:
    if len(lines) > MOST_LINES:
        raise ValueError(f"{len(lines)} lines: at most {MOST_LINES} are said at every start; split it")
    return lines


def _needed(value: T | None, info: ValidationInfo) -> T | None:
    """Take what a test has in place of a session."""
    if "session" not in info.data:  # it is faulty, and that is told
        return value
    session = info.data["session"]
    if session is None and value is None:
        raise PydanticKnownError("missing")
    if session is not None and value is not None:
        raise ValueError("not beside `session`, whose lines have expectations of their own: remove it here")
    return value


def _not_with_session(value: bool, info: ValidationInfo) -> bool:
    if info.data.get("session") is not None:
        raise ValueError("not beside `session`: what is said there decides that")
    return value


Fact = Annotated[bool, AfterValidator(_not_with_session)]
Lines = Annotated[list[Annotated[LineModel, BeforeValidator(_line)]], Field(min_length=1), AfterValidator(_bounded)]


class TestModel(Section):
    """One of the policy's own tests."""

    __test__ = False  # not one of pytest's

    from_: Annotated[str, AfterValidator(_address)] = Field(alias="from", description="the client's address")
    session: Lines | None = Field(None, description="all that it says, line by line ([below](#tests-of-sessions))")
    command: Annotated[str | None, AfterValidator(_needed)] = Field(
        None, validate_default=True, description="in place of `session` one line"
    )
    expect: Annotated[Expected | None, AfterValidator(_needed)] = Field(
        None, validate_default=True, description="of `command`: `forward`, `close`, a reply code, or all of the reply"
    )
    greeted: Fact = Field(True, description="HELO or EHLO was accepted")
    esmtp: Fact = Field(True, description="the greeting was EHLO")
    tls: bool = Field(False, description="the connection is encrypted; with `session`, from the beginning")
    tls_name: list[str] = Field([], description="names in the client's verified certificate")
    authenticated: Fact = Field(False, description="AUTH succeeded")
    auth_failed: Fact = Field(False, description="AUTH has failed")
    listener: str = Field("", description="the name of the listener that took the connection")

    @property
    def facts(self) -> Facts:
        """What the session is supposed to have come to."""
        return Facts(
            self.greeted,
            self.greeted and self.esmtp,
            self.tls or bool(self.tls_name),
            frozenset(name.lower() for name in self.tls_name),
            self.authenticated,
            self.auth_failed,
        )
