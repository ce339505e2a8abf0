"""What the admin endpoint answers to what it is asked.

Contract: no I/O and no HTTP parsing; `Answers.to` returns an answer to every request, whoever sends it.  A web page
elsewhere can make its reader's browser ask, by a name that leads here (DNS rebinding) or by a form; so the name that is
asked for must be this host's, and what changes anything is JSON that no browser sent on behalf of a page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..metrics.exposition import content_type
from . import page, page_assets
from .view import View

PLAIN: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
LONGEST_ADDRESS: Final = 64
"""Characters of what may be lifted: the longest prefix of IPv6, with its length, has 43."""
LIFTED_TOLD: Final = 100
"""Clients that were let off and are named; of more, the number is told."""
FRESH_SECONDS: Final = 0.5
"""What takes milliseconds to make is not made again for so long, however many ask: the same loop serves mail."""
FRESH_SHARE: Final = 20.0
"""And for so many times as long as it took; all bans that there may be take a tenth of a second."""
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": page_assets.CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer."""
OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names that only lead to this host, an ssh tunnel's beginning being one."""

_HOST: Final = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9.-]{1,253}?)\.?(?::[0-9]{1,5})?")
_log: Final = Logger()


@frozen
class Asked:
    """A request."""

    method: str
    path: str
    """Without its query."""
    hosts: tuple[str, ...] = ("localhost",)
    """All Host headers; none where HTTP/1.0 needs none."""
    origin: str | None = None
    content_type: str = ""
    accept: str = ""
    body: bytes = b""


@frozen
class Answer:
    """A response."""

    status: int
    body: bytes
    content_type: str = PLAIN
    more: Mapping[str, str] = field(factory=dict)
    """Headers beside HEADERS."""


class Answers:
    """Of one endpoint."""

    def __init__(self, view: View, clock: Callable[[], float], host: str = "", lifts: bool = False) -> None:
        """`host` is the address of the endpoint, if it has one; `lifts` says if bans may be lifted here."""
        self._view = view
        self._clock = clock
        self._names = OWN_NAMES | {f"[{host}]" if ":" in host else host} - {""}
        self._lifts = lifts
        self._assets = page_assets.read()
        self._fresh: dict[tuple[str, bool], tuple[float, Answer]] = {}
        self._made: dict[str, Callable[[], Answer]] = {
            "/": self._page,
            "/status.json": lambda: _json(view.status()),
            "/incidents.json": lambda: _json(view.incidents()),
            "/bans.json": lambda: _json(view.bans()),
            "/shadow.json": lambda: _json(view.shadow()),
            "/livez": lambda: Answer(200, b"ok\n"),
            "/readyz": self._readiness,
        }

    def to(self, asked: Asked) -> Answer:
        """Return the answer; never raises."""
        try:
            return self._refusal(asked) or self._answer(asked)
        except Exception:  # noqa: BLE001 - our bug; who asks learns no more than that
            _log.failure("an answer of the admin endpoint failed", failure=Failure())
            return _says(500, "a fault of the guard itself, which is in its log")

    def _refusal(self, asked: Asked) -> Answer | None:
        if len(asked.hosts) > 1 or not all(map(self._is_own, asked.hosts)):
            return _says(403, "not by this name: ask for localhost")
        if asked.path == "/bans/lift":
            return None if asked.method == "POST" else _says(405, "POST it", Allow="POST")
        if asked.path != "/metrics" and asked.path not in self._made and asked.path not in self._assets:
            return _says(404, "there is no such thing")
        return None if asked.method in ("GET", "HEAD") else _says(405, "only to be read", Allow="GET, HEAD")

    def _is_own(self, host: str) -> bool:
        match = _HOST.fullmatch(host.lower())
        return match is not None and match[1] in self._names

    def _answer(self, asked: Asked) -> Answer:
        asset = self._assets.get(asked.path)
        if asset is not None:
            return Answer(200, asset.octets, asset.content_type)
        if asked.path == "/bans/lift":
            return self._lift(asked)
        openmetrics = "application/openmetrics-text" in asked.accept
        if asked.path == "/metrics":
            return self._kept((asked.path, openmetrics), lambda: self._metrics(openmetrics))
        if asked.path in ("/livez", "/readyz"):
            return self._made[asked.path]()
        return self._kept((asked.path, False), self._made[asked.path])

    def _kept(self, key: tuple[str, bool], make: Callable[[], Answer]) -> Answer:
        now = self._clock()
        until, answer = self._fresh.get(key, (now, None))
        if answer is None or not now < until:
            answer = make()
            made = self._clock()
            self._fresh[key] = made + max(FRESH_SECONDS, FRESH_SHARE * (made - now)), answer
        return answer

    def _metrics(self, openmetrics: bool) -> Answer:
        return Answer(200, self._view.exposition(openmetrics), content_type(openmetrics))

    def _page(self) -> Answer:
        return Answer(200, page.render(self._view.status()), page.CONTENT_TYPE)

    def _readiness(self) -> Answer:
        ready, because = self._view.ready()
        return _says(200, "ready") if ready else _says(503, f"not ready: {because}")

    def _lift(self, asked: Asked) -> Answer:
        if not self._lifts:
            return _says(403, "only over a unix socket, where the kernel says who may")
        if asked.origin is not None:
            return _says(403, "not for a web page")
        if asked.content_type.partition(";")[0].strip().lower() != JSON:
            return _says(415, f"send {JSON}")
        try:
            wanted = json.loads(asked.body)
        except (ValueError, RecursionError):
            return _says(400, "this is no JSON")
        address = wanted.get("address") if isinstance(wanted, dict) else None
        if not isinstance(address, str) or not 0 < len(address) <= LONGEST_ADDRESS:
            return _says(400, 'send {"address": "192.0.2.7"}, or a prefix')
        lifted = self._view.lift(address)
        self._fresh.clear()
        return _json({"lifted": bool(lifted), "number": len(lifted), "keys": lifted[:LIFTED_TOLD]})


def _json(value: Any) -> Answer:
    return Answer(200, json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n", JSON)


def _says(status: int, text: str, **more: str) -> Answer:
    return Answer(status, text.encode("utf-8", "backslashreplace") + b"\n", more=more)
