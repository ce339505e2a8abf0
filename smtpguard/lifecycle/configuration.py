"""What a service is run by: settings, policy and certificates, read and checked together.

Contract: `gather` finds all that there is to be said of settings, policy and certificates, for `smtpguard check` and
for the service alike.  `read` returns a `Configuration` that may be served, or raises `Faulty` with all faults, the
policy's own tests included; or OSError if a file cannot be read, and nothing else is wrong.  Both block, and may be
called in a thread.  `in_place` says what of a new one a service can take that runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field, frozen
from pydantic import ValidationError

from ..config import policy_file, settings, surroundings
from ..config.faults import Fault, Faulty, printable
from ..config.listener import Listener
from ..config.policy_file import PolicyFile
from ..config.settings import Loaded, Settings
from ..config.yaml_reader import Path_, Places, read_file
from ..net.sockets import no_transparency
from ..tls import settings as tls_settings
from ..tls.settings import LoadedTls

AT_START: Final = ("workers", "admin", "state")
"""Keys of the settings that a service takes when it starts and at no other time; `listen` has its own rule."""


@frozen
class Configuration:
    """Everything that a service follows."""

    settings: Settings
    policy: PolicyFile
    tls: LoadedTls
    warnings: tuple[Fault, ...] = ()
    places: Places | None = None
    """Of the settings, where they come from a file."""
    loaded_at: float = field(factory=time.time)
    """When its reading began, in seconds since 1970: what was changed later may not be in it."""

    def with_certificates_read_again(self) -> Configuration:
        """Return the same settings and policy, with the certificates as they are in their files now."""
        tls = tls_settings.load(self.settings)
        return evolve(self, tls=tls, warnings=tls.warnings, loaded_at=time.time())

    def warning(self, path: Path_, text: str, *, key: bool = False) -> str:
        """Return a warning about what stands there in the settings; about the file, if nothing does."""
        if self.places is None:
            return text
        if not self.places.has(str(path[0])):
            return str(Fault(self.places.file, 0, 0, text, True))
        return str(self.places.fault(path, text, key=key, warning=True))


Read = Callable[[], Configuration]
"""Reads what the service was started with once more."""


@define
class Gathered:
    """What was found."""

    loaded: Loaded | None = None
    policy: PolicyFile | None = None
    tls: LoadedTls | None = None
    faults: list[Fault] = field(factory=list)
    warnings: list[Fault] = field(factory=list)
    unread: OSError | None = None
    """Why the policy could not be read."""

    def add(self, found: Iterable[Fault]) -> None:
        for fault in found:
            (self.warnings if fault.warning else self.faults).append(fault)


def gather(path: str | None, flags: Mapping[str, Any]) -> Gathered:
    """Find all faults and warnings; raises OSError if the settings file cannot be read.

    `flags` win over the settings file of that path.
    """
    found = Gathered()
    try:
        found.loaded = settings.load(path, flags)
        name = found.loaded.settings.policy
    except Faulty as error:
        found.add(error.faults)
        named = settings.policy_named_in(path) if path is not None else None
        known = flags.get("policy") or named
        if known is None:  # which one they mean, is not known, as where `policy` is misspelt: no default stands for it
            return found
        name = known
    _gather_policy(found, name, path if not flags.get("policy") else None)
    if found.loaded is not None:
        _gather_rest(found, found.loaded)
    return found


def _gather_policy(found: Gathered, name: str, path: str | None) -> None:
    """`path` is the settings file that names it, or may do so."""
    try:
        policy = found.policy = policy_file.load(policy_file.find(name))
    except Faulty as error:
        found.add(error.faults)
        return
    except OSError as error:
        found.unread = error
        found.add([_unread(error, path)])
        return
    if found.loaded is not None:
        found.add(found.loaded.faults_with(policy.policy))
        found.add(policy.faults_with(listener.label for listener in found.loaded.settings.listen))
        found.add(found.loaded.warnings_with(policy.policy))
    found.add(policy.warnings)
    found.add(policy.failures())


def _gather_rest(found: Gathered, loaded: Loaded) -> None:
    """What has nothing to do with the policy."""
    try:
        found.tls = tls_settings.load(loaded.settings)
        found.add(found.tls.warnings)
    except Faulty as error:
        found.add(error.faults)
    found.add(surroundings.faults_of(loaded))
    backend = loaded.settings.backend
    if backend.identity == "transparent":
        # What this process may not do, and the service, which is checked as it will be run, must.
        missing = {*map(no_transparency, backend.families)} - {""}
        found.add(loaded.places.fault(("backend", "identity"), text) for text in sorted(missing))


def _unread(error: OSError, path: str | None) -> Fault:
    """Return the fault for a policy that cannot be read, at its name in the settings if that is where it stands."""
    name = os.fsdecode(error.filename)
    why = error.strerror or str(error)
    if path is not None:
        with suppress(Faulty):
            places = read_file(path).places
            if places.has("policy"):
                looked_for = Path(path).parent.absolute() / name
                return places.fault(("policy",), f"policy: {looked_for}: {why}")
    return Fault(name, 0, 0, why)


def read(path: str | None, flags: Mapping[str, Any]) -> Configuration:
    """Read everything; `flags` win over the settings file of that path."""
    began = time.time()
    found = gather(path, flags)
    if found.unread is not None and len(found.faults) == 1 and not found.faults[0].line:
        raise found.unread
    if found.faults or found.loaded is None or found.policy is None or found.tls is None:
        raise Faulty(found.faults, found.unread)
    places = None if path is None else found.loaded.places
    return Configuration(found.loaded.settings, found.policy, found.tls, tuple(found.warnings), places, began)


def told(error: Exception) -> tuple[str, ...]:
    """Return why `read` failed: each fault as FILE:LINE:COLUMN and text, or the file that cannot be read."""
    if isinstance(error, Faulty):
        return tuple(map(str, error.faults))
    if isinstance(error, OSError) and error.filename is not None:
        return (printable(f"{os.path.abspath(os.fsdecode(error.filename))}: {error.strerror}"),)
    return (printable(str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"),)


# -- while a service runs ----------------------------------------------------------------------------


def in_place(old: Configuration, new: Configuration) -> tuple[Configuration, list[str]]:
    """Return what a service can take of `new` that runs by `old`, and a warning for each key that needs a restart.

    Raises ValueError if the rest cannot stand beside what stays.
    """
    listen, contexts, warnings = _listening(old, new)
    kept: dict[str, Any] = {"listen": listen}
    for key in AT_START:
        before = getattr(old.settings, key, None)
        if getattr(new.settings, key, None) != before:
            kept[key] = before
            text = f"{key}: what the settings say now holds from the next start on"
            warnings.append(new.warning((key,), text, key=True))
    tls = evolve(new.tls, listeners=tuple(contexts))
    mixed = new.settings.model_copy(update=kept)
    if warnings:
        _check(mixed)
    return evolve(new, settings=mixed, tls=tls), warnings


def _check(settings: Settings) -> None:
    """Hold what spans sections: a backend that is one of the listeners, or cannot be shown their clients."""
    try:
        Settings.model_validate(settings.model_dump(by_alias=True))
    except ValidationError as error:
        reasons = "; ".join(details["msg"].removeprefix("Value error, ") for details in error.errors())
        raise ValueError(f"this takes a restart: {reasons}") from None


def _listening(old: Configuration, new: Configuration) -> tuple[list[Listener], list[Any], list[str]]:
    """Return what becomes of the listeners that are open: the section and the certificates of each, by its endpoint."""
    left = list(zip(new.settings.listen, new.tls.listeners, strict=True))
    numbers = {id(section): number for number, section in enumerate(new.settings.listen)}
    listen: list[Listener] = []
    contexts: list[Any] = []
    warnings: list[str] = []
    for before, context in zip(old.settings.listen, old.tls.listeners, strict=True):
        found = next((one for one in left if one[0].endpoint == before.endpoint), None)
        if found is None:
            text = f"listen: {before.endpoint} is listened on until the next start, as it was"
            warnings.append(new.warning(("listen",), text, key=True))
        else:
            left.remove(found)
        section, shown = found or (before, context)
        listen.append(section)
        contexts.append(shown)
    for section, _ in left:
        text = f"listen: {section.endpoint} is listened on from the next start on"
        warnings.append(new.warning(("listen", numbers[id(section)], "endpoint"), text))
    return listen, contexts, warnings
