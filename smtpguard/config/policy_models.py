"""The policy file's models: which keys there are, and what a single value may be.

Contract: pydantic models; a value that passes here has one meaning.  What only two values together
can show is in policy_checks.py.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticKnownError

from ..policy.relaying import parse_domain
from ..policy.reply_profiles import PROFILES
from ..smtp.budgets import SENDMAIL, UNLESS_SAID
from ..smtp.replies import Reply
from .fields import listed
from .limit_models import MAX_DELAY as MAX_DELAY
from .limit_models import LimitsModel, PrefixesModel
from .models import Section
from .network_models import Networks
from .policy_test_models import TestModel as TestModel


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
            return {key: item if key == "shadow" else listed(item) for key, item in value.items()}
    return value


def _rule_set(value: object) -> object:
    if isinstance(value, dict) and "rules" in value:
        return value
    if not isinstance(value, list):
        raise PydanticKnownError("list_type")
    return {"rules": value}


ONLY_IN_SETTINGS = frozenset(
    {"listen", "backend", "policy", "relay_check", "admin", "log", "state", "incidents", "timeouts", "workers"}
)
"""Keys by which a file of settings is known that was taken for a policy."""
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Words = Annotated[list[str], Field(min_length=1), BeforeValidator(listed)]


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
    action: Literal["forward", "reply", "close"] | None = Field(
        None, description="what is done; `reply` if only `reply` is set"
    )
    reply: str | None = Field(None, description="text of the reply in place of the profile's")
    delay: float | None = Field(None, ge=0, le=MAX_DELAY, description="seconds before the action")
    shadow: bool | None = Field(None, description="only log what the rule would do; if not set, as its rule set")

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


class RuleSetModel(Section):
    """The rules of one verb; a list means its `rules`."""

    shadow: bool | None = Field(None, description="of rules that do not say themselves; if not set, as the policy")
    rules: list[RuleModel] = Field(description="the rules, of which the first that matches decides")


class BudgetsModel(Section):
    """Refusals in one session before it is slowed; 0 is no budget."""

    bad: Count = Field(SENDMAIL.bad, description="unknown verbs and lines that are no commands; the next one closes")
    noop: Count = Field(SENDMAIL.noop, description="NOOP and VERB")
    helo: Count = Field(SENDMAIL.helo, description="HELO and EHLO")
    vrfy: Count = Field(SENDMAIL.vrfy, description="VRFY and EXPN together")
    etrn: Count = Field(SENDMAIL.etrn, description="ETRN")
    refused: Count = Field(SENDMAIL.refused, description="commands of every kind; the next one closes")


class AuthModel(Section):
    """What is asked of AUTH."""

    require_tls: bool = Field(False, description="AUTH is hidden and refused outside TLS")
    shadow: bool | None = Field(None, description="only log what that would refuse; if not set, as the policy")


class RelayModel(Section):
    """What the server behind takes mail for, so that the guard can refuse outsiders the rest."""

    domains: list[Annotated[str, AfterValidator(parse_domain)]] = Field(
        [],
        description="`example.org` is that domain alone, `.example.org` all below it, `!a.example.org` neither that "
        "nor what is below it; the nearest decides",
    )
    files: list[str] = Field([], description="sendmail's relay-domains (class R): each domain, and all below it")
    local: list[str] = Field([], description="sendmail's local-host-names (class w): each name alone")
    access: list[str] = Field(
        [], description="the text of sendmail's access map: its RELAY entries for domains, and exceptions from them"
    )
    shadow: bool | None = Field(None, description="only log what would be refused; if not set, as the policy")


class PolicyModel(Section):
    """The file as a whole."""

    elsewhere = "the settings: name a file of settings with --config FILE", ONLY_IN_SETTINGS

    networks: Networks = Field(
        {}, description="names for lists of CIDRs, addresses, and files that have them ([below](#a-file-of-networks))"
    )
    replies: Literal["sendmail", "rfc5321", "stig", "postfix"] = Field(
        "sendmail", description="the profile of local replies ([replies.md](replies.md))"
    )
    privacy_options: list[str] = Field([], description="sendmail's shorthand for rule sets")
    banner: Annotated[str, AfterValidator(_banner)] = Field(
        "unchanged", description="the text behind `220` in place of the server's own"
    )
    verbs: list[Annotated[str, AfterValidator(_verb)]] = Field(
        [], description="further verbs that rule sets may be named for"
    )
    bare_newline: Annotated[dict[str, Literal["reject", "normalize"]], BeforeValidator(_by_network)] = Field(
        {}, description="an LF without its CR: `reject` (if not set) or `normalize`, or a mapping by network"
    )
    early_input: Annotated[dict[str, Literal["hold", "reject"]], BeforeValidator(_by_network)] = Field(
        {},
        description="input before the banner, or behind EHLO before its reply: `hold` (if not set) or `reject`, or a "
        "mapping by network",
    )
    budgets: Annotated[BudgetsModel, BeforeValidator(_budgets)] = Field(
        BudgetsModel(**asdict(UNLESS_SAID)),
        description="refusals in one session before it is slowed: `sendmail`, `off` or a mapping; `{refused: 1000}` if "
        "not set",
    )
    auth: AuthModel = Field(AuthModel(), description="what is asked of AUTH")
    relay_domains: Annotated[RelayModel | None, BeforeValidator(_relay_domains)] = Field(
        None, description="what outsiders may send mail to: a list of domains, a file, or a mapping"
    )
    limits: LimitsModel = Field(
        {},
        description="how often a client may do what, over all its sessions, and what follows ([limits.md](limits.md))",
    )
    prefixes: PrefixesModel = Field(
        PrefixesModel(), description="how many bits of an address are one client to `limits`"
    )
    rulesets: dict[str, Annotated[RuleSetModel, BeforeValidator(_rule_set)]] = Field(
        {}, description="rules by verb: `check_vrfy`, `check_expn`, ...; each a list, or a mapping"
    )
    shadow: bool = Field(
        False,
        description="the policy only logs and counts what it would do: all of it that does not say `shadow: false` "
        "([shadow.md](shadow.md))",
    )
    tests: list[TestModel] = Field([], description="the policy's own tests, run by `check` and before every start")


def relay_section(data: object) -> RelayModel | None:
    """Return `relay_domains` of a file's data, whatever else is wrong with the file; None if it is itself."""
    if not isinstance(data, dict) or data.get("relay_domains") is None:
        return None
    try:
        return RelayModel.model_validate(_relay_domains(data["relay_domains"]))
    except ValidationError:
        return None


assert set(PROFILES) == {"sendmail", "rfc5321", "stig", "postfix"}  # PolicyModel.replies lists them
