"""What a service is run by: settings, policy and certificates, read and checked together.

Contract: `read` returns a `Configuration` that may be served, or raises `Faulty` with the faults of all the
files, as `smtpguard check` finds them, the policy's own tests included; or OSError for a file that cannot be
read.  It blocks, and may be called in a thread.  `in_place` says what of a new one a service can take that runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import evolve, field, frozen
from pydantic import ValidationError

from ..config import policy_file, settings
from ..config.faults import Fault, Faulty, printable
from ..config.listener import Listener
from ..config.policy_file import PolicyFile
from ..config.settings import Settings
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
    loaded_at: float = field(factory=time.time)
    """When it was read, in seconds since 1970."""

    def with_certificates_read_again(self) -> Configuration:
        """Return the same settings and policy, with the certificates as they are in their files now."""
        tls = tls_settings.load(self.settings)
        return evolve(self, tls=tls, warnings=tls.warnings, loaded_at=time.time())


Read = Callable[[], Configuration]
"""Reads what the service was started with once more."""


def read(path: str | None, flags: Mapping[str, Any]) -> Configuration:
    """Read everything; `flags` win over the settings file of that path."""
    loaded = settings.load(path, flags)
    faults: list[Fault] = []
    policy: PolicyFile | None = None
    tls: LoadedTls | None = None
    try:
        policy = policy_file.load(policy_file.find(loaded.settings.policy))
        faults += loaded.faults_with(policy.policy)
        faults += policy.faults_with(listener.label for listener in loaded.settings.listen)
        faults += policy.failures()
    except Faulty as error:
        faults += error.faults
    try:
        tls = tls_settings.load(loaded.settings)
    except Faulty as error:
        faults += error.faults
    if faults or policy is None or tls is None:
        raise Faulty(faults)
    warnings = (*policy.warnings, *loaded.warnings_with(policy.policy), *tls.warnings)
    return Configuration(loaded.settings, policy, tls, warnings)


def told(error: Exception) -> tuple[str, ...]:
    """Return why `read` failed: each fault as FILE:LINE:COLUMN and text, or the file that cannot be read."""
    if isinstance(error, Faulty):
        return tuple(map(str, error.faults))
    if isinstance(error, OSError) and error.filename is not None:
        return (printable(f"{os.fsdecode(error.filename)}:1:1: {error.strerror}"),)
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
            warnings.append(f"{key}: what the settings say now holds from the next start on")
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
    listen: list[Listener] = []
    contexts: list[Any] = []
    warnings: list[str] = []
    for before, context in zip(old.settings.listen, old.tls.listeners, strict=True):
        found = next((one for one in left if one[0].endpoint == before.endpoint), None)
        if found is None:
            warnings.append(f"listen: {before.endpoint} is listened on until the next start, as it was")
        else:
            left.remove(found)
        section, shown = found or (before, context)
        listen.append(section)
        contexts.append(shown)
    warnings += [f"listen: {section.endpoint} is listened on from the next start on" for section, _ in left]
    return listen, contexts, warnings
