"""asyncio's coroutines, run without a Task.

Contract: uvloop opens sockets in coroutines that wait for nothing, or for one Future at a time; `Driven`
runs such a one from the turn that asks.  A Task would put off
its first step, and cost as much as the rest of a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that waits for nothing; raises what it raises."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("the coroutine waits for something")


class Driven:
    """A coroutine on its way; what it is for overrides `failed`."""

    __slots__ = ("_coroutine", "_given_up", "_waits_for")

    def __init__(self) -> None:
        self._given_up = False
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._waits_for: Any = None

    def failed(self, error: BaseException) -> None:
        """The coroutine has raised this, in a later turn than its first."""

    def drive(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Take a step; raises what the coroutine raises in it."""
        try:
            future = coroutine.send(None)
        except StopIteration:
            return
        self._coroutine = coroutine
        self._waits_for = future
        future._asyncio_future_blocking = False  # as a Task does, which is asyncio's own way to say "seen"
        future.add_done_callback(self._go_on)

    def _go_on(self, future: asyncio.Future[Any]) -> None:
        coroutine = self._coroutine
        if coroutine is None:
            if not future.cancelled():
                future.exception()  # else asyncio would say that nobody has asked
            return
        if self._given_up:
            self._let_go()
            return
        del future  # it holds what is raised, which holds this frame
        self._coroutine = self._waits_for = None
        try:
            self.drive(coroutine)
        except BaseException as error:  # noqa: BLE001 - handed on
            self.failed(error)

    def give_up(self) -> None:
        """Go no further; `failed` is not called, but what has been opened by now may still say so.

        In a later turn: where a connection has been made in this one and nobody told yet, uvloop still looks at
        the handle that would be closed here, and crashes.
        """
        self._given_up = True
        asyncio.get_running_loop().call_soon(self._let_go)

    def _let_go(self) -> None:
        coroutine, self._coroutine = self._coroutine, None
        future, self._waits_for = self._waits_for, None
        if future is not None:
            future.cancel()  # first: uvloop then closes without a word
        if coroutine is not None:
            coroutine.close()
