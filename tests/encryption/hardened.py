"""Run a command as systemd would under the shipped unit, as far as that can be done without systemd as process 1.

    python hardened.py UNIT COMMAND...

Contract: the process becomes the command, with the unit's SystemCallFilter and RestrictAddressFamilies, and under
MemoryDenyWriteExecute both as systemd 252 makes it (a filter) and as 253 and later do (prctl).  Which
calls are in a set such as @system-service is what systemd-analyze says.  User, capabilities and
what is mounted are the caller's affair.  What is left out: SystemCallArchitectures, and the filters of
RestrictNamespaces, RestrictRealtime and LockPersonality, none of whose calls has anything to do with TLS.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_ALLOW: Final = 0x7FFF0000
_EQUAL, _MASKED_EQUAL = 4, 7
_WRITE, _EXECUTE, _SHM_EXECUTE = 2, 4, 0o100000
_PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE = 38, 65
_FAMILIES: Final = 64
"""More than the kernel has."""


class _Condition(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = [("argument", ctypes.c_uint), ("how", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class _Filter:
    """A seccomp filter."""

    def __init__(self, otherwise: int) -> None:
        self._library: Any = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._filter = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))

    def rule(self, action: int, call: str, *conditions: tuple[int, int, int, int]) -> None:
        """Add a rule; calls of other architectures are passed over."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            return
        array = (_Condition * len(conditions))(*(_Condition(*condition) for condition in conditions))
        add = self._library.seccomp_rule_add_array
        _check(add(self._filter, ctypes.c_uint32(action), number, len(conditions), array))

    def load(self) -> None:
        _check(self._library.seccomp_load(self._filter))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def _refused(code: int) -> int:
    return 0x00050000 | code


def settings(unit: Path) -> dict[str, list[str]]:
    """Return the settings of a unit; a key may stand there several times."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def calls_in(name: str) -> Iterator[str]:
    """Yield the calls of a set, or the one call."""
    if not name.startswith("@"):
        yield name
        return
    said = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True)
    if said.returncode:
        raise ValueError(f"{name}: {said.stderr}")
    for line in said.stdout.splitlines()[1:]:
        member = line.strip()
        if member and not member.startswith("#"):
            yield from calls_in(member)


def allowed(unit: dict[str, list[str]]) -> set[str]:
    """Return what SystemCallFilter leaves: the first line allows, `~` takes away (systemd.exec(5))."""
    calls = set(calls_in("@default"))
    for line in unit["SystemCallFilter"]:
        for name in line.removeprefix("~").split():
            calls = calls - set(calls_in(name)) if line.startswith("~") else calls | set(calls_in(name))
    return calls


def harden(unit: dict[str, list[str]]) -> None:
    """Take away from this process what the unit takes away."""
    assert unit["MemoryDenyWriteExecute"] == ["yes"]
    calls = allowed(unit)
    kernel = ctypes.CDLL(None, use_errno=True)
    kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    kernel.prctl(_PR_SET_MDWE, 1, 0, 0, 0)  # of Linux 6.3 and later
    narrow = _Filter(_ALLOW)
    both = _WRITE | _EXECUTE
    narrow.rule(_refused(errno.EPERM), "mmap", (2, _MASKED_EQUAL, both, both))
    for call in ("mprotect", "pkey_mprotect"):
        narrow.rule(_refused(errno.EPERM), call, (2, _MASKED_EQUAL, _EXECUTE, _EXECUTE))
    narrow.rule(_refused(errno.EPERM), "shmat", (2, _MASKED_EQUAL, _SHM_EXECUTE, _SHM_EXECUTE))
    families = {int(getattr(socket, name)) for name in unit["RestrictAddressFamilies"][0].split()}
    for family in sorted(set(range(_FAMILIES)) - families):
        narrow.rule(_refused(errno.EAFNOSUPPORT), "socket", (0, _EQUAL, family, 0))
    narrow.load()
    only = _Filter(_refused(getattr(errno, unit["SystemCallErrorNumber"][0])))
    for call in sorted(calls):
        only.rule(_ALLOW, call)
    only.load()


if __name__ == "__main__":
    harden(settings(Path(sys.argv[1])))
    os.execvp(sys.argv[2], sys.argv[2:])
