"""The policy file's models: which keys there are, and what a single value may be.

Contract: pydantic models; a value that passes here has one meaning.  What only two values together
can show is in policy_checks.py.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import PydanticKnownError

from ..policy.networks import Block, Peer, parse_block
from ..policy.relaying import parse_domain
from ..policy.reply_profiles import PROFILES
from ..smtp.budgets import SENDMAIL, UNLESS_SAID
from ..smtp.replies import Reply
from ..smtp.verdict import Facts
from .limit_models import MAX_DELAY as MAX_DELAY
from .limit_models import LimitsModel, PrefixesModel
from .models import Section


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _reply(text: str) -> str:
    reply = Reply.parse(text)
    if reply.code == 421:
        raise ValueError("421 means that the connection is closed: use `action: close`")
    return text


def _closing_reply(text: str) -> str:
    if Reply.parse(text).code not in (421, *range(500, 600)):
        raise ValueError("a closing reply has a code of 421 or 5yz")
    return text


def _banner(text: str) -> str:
    if re.match(r"[0-9]{3}[ -]", text):
        raise ValueError(f"the code is put in front by itself: write {text[4:]!r}")
    Reply.parse(f"220 {text}")
    return text


def _verb(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", text):
        raise ValueError(f"{text!r} is not a verb: letters, digits and hyphens only")
    return text.upper()


def _network(value: object) -> Block:
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    return parse_block(value)


def _address(text: str) -> str:
    try:
        Peer.parse(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address: write it as 203.0.113.9 or 2001:db8::9") from None
    return text


def _expect(value: object) -> object:
    if value in ("forward", "close") or re.fullmatch(r"[245][0-9]{2}", str(value)):
        return str(value)
    raise ValueError(f"{value!r} is none of forward, close or a reply code such as 252")


def _by_network(value: object) -> object:
    return value if isinstance(value, dict) else {"default": value}


def _budgets(value: object) -> object:
    if value == "sendmail":
        return {}
    if value == "off":
        return dict.fromkeys(BudgetsModel.model_fields, 0)
    if isinstance(value, dict):
        return value
    raise ValueError(f"{value!r} is none of sendmail, off and a mapping such as {{vrfy: 6, bad: 25}}")


def _relay_domains(value: object) -> object:
    match value:
        case str():
            return {"files": [value]}
        case list():
            return {"domains": value}
        case dict():
            return {key: _listed(item) for key, item in value.items()}
    return value


Count = Annotated[int, Field(ge=0, le=1_000_000)]
Words = Annotated[list[str], Field(min_length=1), BeforeValidator(_listed)]


class RuleModel(Section):
    """One rule: conditions, all of which must hold, and what is done."""

    from_: Words | None = Field(None, alias="from", description="networks by name or CIDR, one of which has the client")
    from_not: Words | None = Field(None, description="networks none of which has the client")
    argument: Words | None = Field(None, description="glob patterns, letter case ignored, one of which fits")
    greeted: bool | None = Field(None, description="HELO or EHLO was accepted")
    esmtp: bool | None = Field(None, description="the greeting was EHLO")
    tls: bool | None = Field(None, description="the client's connection is encrypted, up to the guard")
    tls_name: Words | None = Field(None, description="glob patterns, one of which fits a verified name of the client")
    authenticated: bool | None = Field(None, description="AUTH succeeded")
    auth_failed: bool | None = Field(None, description="AUTH has failed in this session")
    listener: Words | None = Field(None, description="names of listeners, one of which took the connection")
    action: Literal["forward", "reply", "close"] | None = None
    reply: str | None = Field(None, description="text of the reply in place of the profile's")
    delay: float | None = Field(None, ge=0, le=MAX_DELAY, description="seconds before the action")

    @model_validator(mode="after")
    def _consistent(self) -> RuleModel:
        if self.action is None and self.reply is None:
            raise ValueError("a rule needs an action: forward, reply or close")
        if self.reply is not None:
            match self.action:
                case "forward":
                    raise ValueError(
                        "a forwarded command gets the backend's reply: remove `reply` or set `action: reply`"
                    )
                case "close":
                    _closing_reply(self.reply)
                case _:
                    _reply(self.reply)
        return self


class BudgetsModel(Section):
    """Refusals in one session before it is slowed; 0 is no budget."""

    bad: Count = Field(SENDMAIL.bad, description="unknown verbs and lines that are no commands; the next one closes")
    noop: Count = Field(SENDMAIL.noop, description="NOOP and VERB")
    helo: Count = Field(SENDMAIL.helo, description="HELO and EHLO")
    vrfy: Count = Field(SENDMAIL.vrfy, description="VRFY and EXPN together")
    etrn: Count = Field(SENDMAIL.etrn, description="ETRN")
    refused: Count = Field(SENDMAIL.refused, description="commands of every kind; the next one closes")


class TestModel(Section):
    """One of the policy's own tests."""

    __test__ = False  # not one of pytest's

    from_: Annotated[str, AfterValidator(_address)] = Field(alias="from")
    command: str
    expect: Annotated[str, BeforeValidator(_expect)]
    greeted: bool = True
    esmtp: bool = True
    tls: bool = False
    tls_name: list[str] = []
    authenticated: bool = False
    auth_failed: bool = False
    listener: str = ""

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


class AuthModel(Section):
    """What is asked of AUTH."""

    require_tls: bool = Field(False, description="AUTH is hidden and refused outside TLS")


class RelayModel(Section):
    """What the server behind takes mail for, so that the guard can refuse outsiders the rest."""

    domains: list[Annotated[str, AfterValidator(parse_domain)]] = Field(
        [], description="`example.org` is that domain alone, `.example.org` all below it"
    )
    files: list[str] = Field([], description="sendmail's relay-domains (class R): each domain, and all below it")
    local: list[str] = Field([], description="sendmail's local-host-names (class w): each name alone")
    access: list[str] = Field([], description="the text of sendmail's access map: its RELAY entries for domains")


class PolicyModel(Section):
    """The file as a whole."""

    networks: dict[str, Annotated[list[Annotated[Block, PlainValidator(_network)]], BeforeValidator(_listed)]] = {}
    replies: Literal["sendmail", "rfc5321", "stig", "postfix"] = "sendmail"
    privacy_options: list[str] = []
    banner: Annotated[str, AfterValidator(_banner)] = "unchanged"
    verbs: list[Annotated[str, AfterValidator(_verb)]] = []
    bare_newline: Annotated[dict[str, Literal["reject", "normalize"]], BeforeValidator(_by_network)] = {}
    early_input: Annotated[dict[str, Literal["hold", "reject"]], BeforeValidator(_by_network)] = {}
    budgets: Annotated[BudgetsModel, BeforeValidator(_budgets)] = BudgetsModel(**asdict(UNLESS_SAID))
    auth: AuthModel = AuthModel()
    relay_domains: Annotated[RelayModel | None, BeforeValidator(_relay_domains)] = None
    limits: LimitsModel = {}
    prefixes: PrefixesModel = PrefixesModel()
    rulesets: dict[str, list[RuleModel]] = {}
    tests: list[TestModel] = []


def relay_section(data: object) -> RelayModel | None:
    """Return `relay_domains` of a file's data, whatever else is wrong with the file; None if it is itself."""
    if not isinstance(data, dict) or data.get("relay_domains") is None:
        return None
    try:
        return RelayModel.model_validate(_relay_domains(data["relay_domains"]))
    except ValidationError:
        return None


assert set(PROFILES) == {"sendmail", "rfc5321", "stig", "postfix"}  # PolicyModel.replies lists them
