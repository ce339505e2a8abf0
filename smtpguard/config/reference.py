"""docs/settings.md and docs/replies.md, made of the code that they describe.

Contract: pure functions of the models, the reply profiles and the local replies; a key or a reply
that nothing describes here is an error.  `make docs` writes the files, and a test compares them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ..policy.reply_profiles import PROFILES, reply_for
from ..smtp import answers
from ..smtp.answers import Closing
from ..smtp.grammar import Fault
from ..smtp.profiles import PROFILES as BACKEND_PROFILES
from ..smtp.replies import Reply
from ..smtp.verbs import CORE, DISCLOSING, KNOWN_VERBS, NEVER_FORWARDED, NEVER_FORWARDED_PREFIX, OBSOLETE, PROBES
from .backend import Backend, Health
from .fields import LONGEST_WAIT
from .incidents import Hook, IncidentSettings
from .listener import Certificate, Listener, StartTls
from .log import Log
from .settings import Dns, Limits, Settings, Timeouts
from .state import State

SECTIONS: Final[dict[str, tuple[str, type[BaseModel]]]] = {
    "The file": ("", Settings),
    "listen": ("Each item of the list; a string means its `endpoint`.", Listener),
    "starttls": ("Of a listener. Paths begin at the settings file's folder.", StartTls),
    "certificates": ("Each item of the list; a string means its `chain`.", Certificate),
    "backend": ("A string means its `endpoint`.", Backend),
    "health": ("Of a backend that is a list; see [backends.md](backends.md).", Health),
    "state": ("A text is `shared` if it is a URL, else `file`; see [limits.md](limits.md).", State),
    "log": ("", Log),
    "limits": ("", Limits),
    "timeouts": ("How long to wait; a day at most.", Timeouts),
    "incidents": ("See [incidents.md](incidents.md).", IncidentSettings),
    "hook": ("Of `incidents`: one of `command` and `webhook`.", Hook),
    "dns": ("Host names are for the log only; they decide nothing.", Dns),
}

_WHEN: Final = {
    "SYNTAX": "a line outside the grammar whose end is beyond doubt",
    "UNKNOWN": "a verb that is never forwarded, or that the backend's profile does not know",
    "NOT_IMPLEMENTED": "STARTTLS where the listener has no `starttls`, or TLS is implicit; BDAT under `chunking: "
    "hide`, after its octets were swallowed",
    "NO_ARGUMENT": "DATA, RSET, QUIT or STARTTLS with an argument",
    "READY_FOR_TLS": "STARTTLS, where the listener has certificates; the handshake follows",
    "IN_TLS": "STARTTLS within TLS",
    "NO_TLS_NOW": "STARTTLS behind an accepted MAIL, or behind a successful AUTH",
    "OUT_OF_TURN": "input behind DATA, STARTTLS or AUTH before their reply, and, under `early_input: reject`, before "
    "the banner or behind EHLO or HELO; the connection is closed",
    "NO_CHUNK": "a BDAT before the EHLO reply had CHUNKING and MAIL and RCPT were accepted, or behind a refused one",
    "BAD_CHUNK": "under `chunking: forward`, a BDAT whose octets cannot be counted; the connection is closed",
    "BETWEEN_CHUNKS": "any other command behind a BDAT that was not the last of its message",
    "ONLY_QUIT": "any command after a banner of the backend that refuses service",
    "NOT_SMTP": "a first line of HTTP, TLS or another protocol; the connection is closed",
    "unavailable": "no backend is up, or can be reached, or the relay check has no answer yet",
    "busy": "`limits.sessions` or `limits.sessions_per_address` is reached",
    "too_many": "a budget of the session is used up, see `budgets` in the policy",
    "shutdown": "the guard is stopping",
    "backend_lost": "the backend closed the connection",
    "backend_fault": "the backend sent what is no reply, or one that nothing asked for",
    "client_timeout": "the client sent nothing for `timeouts.command`, `timeouts.data_block` or `timeouts.message`",
    "backend_timeout": "the backend did not answer within its time-out",
    "internal": "a fault of the guard itself, which is in the log",
    "given_up": "RSET, EHLO or HELO behind a BDAT that was not the last of its message",
    "limited": "a limit of the policy, or a ban; see [limits.md](limits.md)",
    "too_slow": "a message came slower than `limits.data_rate`",
    "policy": "a rule with `action: close` and no reply of its own",
}

_NOTE: Final = "<!-- Made by `make docs` from the code; do not edit. -->\n"


_ENDPOINTS: Final = (
    ("where to listen", "`tcp:25:interface=0.0.0.0`", "one IPv4 address; all of them without `interface`"),
    ("", "`tcp6:25:interface=\\:\\:`", "`\\:\\:` is every address, and IPv4 too unless the system says no"),
    ("", "`unix:/run/smtpguard/smtp.sock:mode=660`", "its clients have no address, so they are in no network"),
    ("", "`systemd:domain=INET:name=smtp`", "a socket that systemd holds, by its FileDescriptorName"),
    ("the mail server", "`tcp:127.0.0.1:2525`", "`:bindAddress=127.0.0.25` behind it is the same as `bind`"),
    ("", "`tcp:\\:\\:1:2525`", "IPv6"),
    ("", "`unix:/run/sendmail/smtp.sock`", "without `bind`; see [threat-model.md](threat-model.md) on resets"),
)
_QUOTES: Final = (
    "In YAML such a string needs no quotes, or single ones; in double quotes each backslash is written twice."
)


_ABOUT_PROFILES: Final = (
    "`backend: {profile: NAME}`. A profile refuses what this kind of server could read otherwise than the guard does: "
    "`smtpguard check --config FILE` tells what and why. Lengths are in octets, line ends included; a line that is "
    "too long closes the session. Octets above 0x7f pass in messages unless the client declared BODY=7BIT. "
    "A verb that is not in the list is answered by the guard, unless `verbs` in the "
    "policy declares it."
)
_PROFILE_HEAD: Final = ("profile", "for", "command", "AUTH", "its exchange", "message line", "octets > 0x7f", "verbs")


def settings_markdown() -> str:
    """Return docs/settings.md."""
    parts = [
        "# Settings",
        _NOTE.rstrip("\n"),
        "`smtpguard run --config FILE` reads them from a YAML file; a flag wins over the file. `smtpguard check "
        "--config FILE` names every fault. YAML is read strictly: unknown and duplicate keys, tags, anchors and "
        "aliases are errors, and `no`, `off`, `0755` and `12:30` are texts. An example: "
        "[smtpguard.yaml](../systemd/smtpguard.yaml).",
    ]
    for title, (text, model) in SECTIONS.items():
        parts.append(f"## {title}" if title == "The file" else f"## `{title}`")
        if text:
            parts.append(text)
        parts.append(table(("key", "default", "unit", "flag", "meaning"), rows_of(model)))
    parts += ["## Backend profiles", _ABOUT_PROFILES, table(_PROFILE_HEAD, _backend_profile_rows())]
    parts += ["## Endpoint strings", table(("for", "form", "remark"), _ENDPOINTS), _QUOTES]
    return "\n\n".join(parts) + "\n"


def replies_markdown() -> str:
    """Return docs/replies.md."""
    parts = [
        "# Replies",
        _NOTE.rstrip("\n"),
        "## By verb and profile",
        "What a client gets where a rule says `action: reply` and no text of its own. The policy's key `replies` "
        "chooses the profile; `sendmail` is the default.",
        table(("verb", *PROFILES), _profile_rows()),
        "## Whatever the policy says",
        "`HOST` is the name of the guard's host.",
        table(("reply", "when"), _local_rows()),
    ]
    return "\n\n".join(parts) + "\n"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def rows_of(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Yield key, default, unit, flag and meaning of every field, in Markdown."""
    for name, field in model.model_fields.items():
        if not field.description:
            raise LookupError(f"{model.__name__}.{name} has no description")
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        flag = extra.get("flag")
        meaning = "; ".join(filter(None, (field.description, _choices(field), _range(field))))
        key, unit = f"`{field.alias or name}`", str(extra.get("unit", ""))
        yield key, _default(field), unit, f"`{flag}`" if flag else "", meaning


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is PydanticUndefined:
        return "(required)"
    if isinstance(value, BaseModel) or value in (None, "", [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`{', '.join(map(str, value))}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _choices(field: FieldInfo) -> str:
    of_a_list = get_origin(field.annotation) is list
    annotation = get_args(field.annotation)[0] if of_a_list else field.annotation
    if get_origin(annotation) in (Union, UnionType):  # a key that may be left out
        annotation = next((one for one in get_args(annotation) if get_origin(one) is Literal), annotation)
    if get_origin(annotation) is not Literal:
        return ""
    return (
        ("each " if of_a_list else "")
        + "one of "
        + ", ".join(f"`{str(choice).lower() if choice is True else choice}`" for choice in get_args(annotation))
    )


def _range(field: FieldInfo) -> str:
    words = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}"}
    bounds = [(text, getattr(at, name)) for at in field.metadata for name, text in words.items() if hasattr(at, name)]
    said_once = (("more than {}", 0), ("at most {}", LONGEST_WAIT))
    return ", ".join(text.format(f"{bound:.12g}") for text, bound in bounds if (text, bound) not in said_once)


def _backend_profile_rows() -> Iterator[tuple[str, ...]]:
    for profile in BACKEND_PROFILES.values():
        verbs = "any" if profile.verbs is None else " ".join(sorted(map(bytes.decode, profile.verbs)))
        body = "any" if profile.body_line is None else str(profile.body_line)
        eighth = "refused" if profile.seven_bit else "as declared"
        lengths = str(profile.line), str(profile.auth), str(profile.response), body
        yield f"`{profile.name}`", profile.about, *lengths, eighth, verbs


def _profile_rows() -> Iterator[tuple[str, ...]]:
    kinds = (DISCLOSING, PROBES, frozenset({b"HELP", b"VERB", b"ONEX", b"XUSR"}), OBSOLETE, CORE)
    ordered: list[bytes] = []
    for kind in kinds:
        ordered += sorted(kind - set(ordered))
    ordered += sorted(KNOWN_VERBS - set(ordered))
    for verb in ordered:
        if verb in NEVER_FORWARDED or verb.startswith(NEVER_FORWARDED_PREFIX):
            name = f"{verb.decode()} (never forwarded)"
        else:
            name = verb.decode()
        yield name, *(str(reply_for(profile, verb)) for profile in PROFILES)
    yield "any other", *(str(reply_for(profile, b"OTHER-THAN-THESE")) for profile in PROFILES)


def _local_rows() -> Iterator[tuple[str, ...]]:
    for holder in (answers, Closing("HOST")):
        for name, reply in vars(holder).items():
            if isinstance(reply, Reply):
                yield str(reply), _WHEN[name]
    for where, bad in (("a line", answers.bad_line), ("a message", answers.bad_content)):
        for fault in (Fault.BARE_LF, Fault.TOO_LONG):
            reply = bad(fault, 17, 3)
            yield str(reply), f"for instance: {where} that servers could read differently; the connection is closed"


if __name__ == "__main__":
    sys.stdout.write({"settings": settings_markdown, "replies": replies_markdown}[sys.argv[1]]())
