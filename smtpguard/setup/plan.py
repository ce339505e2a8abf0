"""What would be done: a value, to be shown or carried out.

Contract: a `Plan` says what every file will be, octet for octet, before any is touched; so what is shown is what is
done, and what is found afterwards can be told from what somebody has changed since.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

from attrs import field, frozen

from .machine import Known, digest
from .wishes import Wishes

DIFF_LINES: Final = 400
"""Of one file: a whole sendmail.cf that differs is no news beyond that."""


@frozen
class Change:
    """One file, before and after."""

    path: str
    why: str
    before: bytes | None
    """None if there is none."""
    after: bytes
    known: Known | None
    """Of `before`."""
    like: Known
    """Whose mode and owner it gets."""

    @property
    def digest(self) -> str:
        return digest(self.after)

    def diff(self) -> Iterator[str]:
        """Yield the lines of a unified diff."""
        return difference(self.path, self.before, self.after)


@frozen
class Plan:
    """All of it, in order."""

    wishes: Wishes
    ours: tuple[Change, ...]
    """The guard's files, which do nothing before it is started."""
    theirs: tuple[Change, ...]
    """The mail server's."""
    listen: tuple[str, ...]
    """Addresses where the guard listens."""
    were: tuple[str, ...]
    """Addresses where the mail server listens at port 25."""
    behind: tuple[str, ...]
    """Addresses where the mail server will."""
    notes: tuple[str, ...] = field(default=())
    """What the administrator should know before."""

    @property
    def changes(self) -> tuple[Change, ...]:
        return self.ours + self.theirs


def difference(path: str, before: bytes | None, after: bytes | None) -> Iterator[str]:
    """Yield a unified diff of two contents; of what is no text, only that it differs."""
    if b"\0" in (before or b"") + (after or b""):
        yield f"(no text: {len(before or b'')} octets become {len(after or b'')})"
        return
    old, new = ((one or b"").decode("utf-8", "backslashreplace").splitlines() for one in (before, after))
    names = ("/dev/null" if before is None else path), ("/dev/null" if after is None else path)
    for number, line in enumerate(difflib.unified_diff(old, new, *names, lineterm="", n=2)):
        if number == DIFF_LINES:
            yield "(and more)"
            return
        yield line
