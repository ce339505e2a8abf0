"""The client streams of streams.yaml as values.

Contract: `load` returns every stream in the order of the file, its octets expanded, or raises
StreamFault, which names the stream and what is wrong with it.  A key, a step or a stage that is not
known here is a fault, never skipped.  Nothing is played here; what the fields mean is said at the
head of streams.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

import yaml

Kind = Literal[
    "send", "reply", "sleep", "half_close", "wait_banner", "wait_close", "backend_send", "backend_close", "oob", "tls"
]
Stage = Literal["tls", "profile", "deployment"]


@dataclass(frozen=True, slots=True)
class Step:
    """One act of the player."""

    kind: Kind
    octets: bytes = b""
    """What is sent; empty unless kind is send or backend_send."""
    ms: int = 0
    """How long to sleep; 0 unless kind is sleep."""


@dataclass(frozen=True, slots=True)
class Backend:
    """What the scripted backend does otherwise than usual."""

    banner: bytes | None = None
    """Without its last CRLF."""
    ehlo: tuple[str, ...] | None = None
    """The keywords of the EHLO reply."""
    script: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    """Answers by verb, without their last CRLF, for the command and the lines after it in turn.

    If the last one ends in CRLF, they are instead the segments of what answers one line, sent as they are.
    """
    delay_ms: dict[str, int] = field(default_factory=dict)
    """Pause before an answer, by verb; "*" stands for every verb."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream and what has to hold when it has been played."""

    id: str
    about: str
    must: str
    also: tuple[str, ...]
    steps: tuple[Step, ...]
    backend: Backend | None
    stage: Stage | None


class StreamFault(ValueError):
    """streams.yaml says something that has no meaning here."""


_FILE: Final = Path(__file__).with_name("streams.yaml")
_STAGES: Final[Mapping[str, Stage]] = {stage: stage for stage in get_args(Stage)}
_SENDS: Final[Mapping[str, Kind]] = {"send": "send", "backend_send": "backend_send"}
_FLAGS: Final[Mapping[str, Kind]] = {
    "half_close": "half_close",
    "wait_banner": "wait_banner",
    "wait_close": "wait_close",
    "backend_close": "backend_close",
    "oob": "oob",
    "tls": "tls",
}
_DEMANDS: Final = frozenset(
    {
        "no_vrfy_reaches_backend",
        "no_vrfy_reaches_backend_profile_linebased",
        "no_vrfy_reaches_backend_profile_sevenbit",
        "in_order_replies",
        "accepted_unchanged",
        "not_forwarded",
        "data_mode_kept",
        "reply_fail_closed",
        "tls_boundary_clean",
        "session_closed",
        "message_not_accepted",
        "ehlo_filtered",
        "relay_refused",
        "bounded",
    }
)


def load() -> tuple[Stream, ...]:
    """Read every stream."""
    streams = tuple(_stream(entry) for entry in _items(yaml.safe_load(_FILE.read_text("ascii")), _FILE.name))
    seen: set[str] = set()
    for stream in streams:
        if stream.id in seen:
            raise StreamFault(f"{stream.id}: there are two of this name")
        seen.add(stream.id)
    return streams


def _stream(entry: object) -> Stream:
    fields = _fields(entry, _FILE.name, needed={"id", "about", "must", "steps"}, known={"also", "backend", "stage"})
    name = _text(fields["id"], _FILE.name)
    return Stream(
        id=name,
        about=_text(fields["about"], name),
        must=_demand(fields["must"], name),
        also=tuple(_demand(item, name) for item in _items(fields["also"], name)) if "also" in fields else (),
        steps=tuple(_step(item, name) for item in _items(fields["steps"], name)),
        backend=_backend(fields["backend"], name) if "backend" in fields else None,
        stage=_stage(fields["stage"], name) if "stage" in fields else None,
    )


def _step(item: object, name: str) -> Step:
    if item == "reply":
        return Step("reply")
    fields = _fields(item, name, needed=set(), known={*_SENDS, *_FLAGS, "sleep_ms"})
    if len(fields) != 1:
        raise StreamFault(f"{name}: a step is one act: {item!r}")
    ((key, value),) = fields.items()
    if key in _SENDS:
        return Step(_SENDS[key], octets=_octets(value, name))
    if key == "sleep_ms":
        return Step("sleep", ms=_count(value, name))
    if value is not True:
        raise StreamFault(f"{name}: {key} can only be true")
    return Step(_FLAGS[key])


def _backend(value: object, name: str) -> Backend:
    fields = _fields(value, name, needed=set(), known={"banner", "ehlo", "script", "delay_ms"})
    return Backend(
        banner=_octets(fields["banner"], name) if "banner" in fields else None,
        ehlo=tuple(_text(word, name) for word in _items(fields["ehlo"], name)) if "ehlo" in fields else None,
        script={verb: _answers(item, name) for verb, item in _mapping(fields.get("script", {}), name).items()},
        delay_ms={verb: _count(item, name) for verb, item in _mapping(fields.get("delay_ms", {}), name).items()},
    )


def _answers(value: object, name: str) -> tuple[bytes, ...]:
    """Read one answer, or a list of them; an answer that is itself a list is one in parts."""
    if isinstance(value, str):
        return (_octets(value, name),)
    return tuple(_octets(item, name) for item in _items(value, name))


def _octets(value: object, name: str) -> bytes:
    """Read a string whose characters are octets, or a list of such strings and repetitions."""
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError as error:
            raise StreamFault(f"{name}: a character of this string is no octet: {value!r}") from error
    return b"".join(_part(part, name) for part in _items(value, name))


def _part(part: object, name: str) -> bytes:
    if isinstance(part, str):
        return _octets(part, name)
    fields = _fields(part, name, needed={"repeat", "times"}, known=set())
    return _octets(_text(fields["repeat"], name), name) * _count(fields["times"], name)


def _stage(value: object, name: str) -> Stage:
    stage = _text(value, name)
    if stage not in _STAGES:
        raise StreamFault(f"{name}: no such stage: {stage}")
    return _STAGES[stage]


def _demand(value: object, name: str) -> str:
    demand = _text(value, name)
    if demand not in _DEMANDS:
        raise StreamFault(f"{name}: no such demand: {demand}")
    return demand


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise StreamFault(f"{name}: a text is wanted instead of {value!r}")
    return value


def _count(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise StreamFault(f"{name}: a whole number above 0 is wanted instead of {value!r}")
    return value


def _items(value: object, name: str) -> list[object]:
    if not isinstance(value, list) or not value:
        raise StreamFault(f"{name}: a list is wanted instead of {value!r}")
    return value


def _mapping(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise StreamFault(f"{name}: a mapping with names for keys is wanted instead of {value!r}")
    return value


def _fields(value: object, name: str, *, needed: set[str], known: set[str]) -> dict[str, object]:
    fields = _mapping(value, name)
    if unknown := fields.keys() - needed - known:
        raise StreamFault(f"{name}: unknown: {', '.join(sorted(unknown))}")
    if missing := needed - fields.keys():
        raise StreamFault(f"{name}: missing: {', '.join(sorted(missing))}")
    return fields
