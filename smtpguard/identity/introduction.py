"""What the guard itself says to the backend, before the client's session: STARTTLS, and who the client is.

Contract: an `Introduction` is made for one connection, and sans-IO as the dialogue is: octets and events
in, effects out.  It ends with `Introduced`, whose octets are the banner for the client, or with
`NotIntroduced`; after either there are no more effects.  Nothing of the client's is sent meanwhile,
so that the backend can take nothing that a client sent for an introduction.  If the backend refuses service in words
(4yz, 5yz), that is the banner.

    BANNER -> EHLO [-> STARTTLS -> TLS [-> EHLO]] [-> NAME -> XCLIENT] -> over
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from attrs import frozen

from ..smtp import ehlo
from ..smtp.bounds import Bounds
from ..smtp.intake import SAMPLE_OCTETS
from ..smtp.replies import BackendReply, ReplyFault, ReplyReader
from . import xclient
from .origin import Origin


@frozen
class Say:
    """Send these octets to the backend."""

    octets: bytes


@frozen
class BeginTls:
    """Begin TLS with the backend, as the client, and say `Introduction.tls_established` when it stands."""


@frozen
class FindName:
    """Look for the client's host name, and say `Introduction.named`."""


@frozen
class Introduced:
    """The session may begin."""

    banner: bytes
    """The backend's own octets."""


@frozen
class NotIntroduced:
    """There can be no session; for the log."""

    what: str
    octets: bytes = b""


Effect = Say | BeginTls | FindName | Introduced | NotIntroduced


class Encrypt(Enum):
    """Whether the connection to the backend is to be encrypted."""

    NEVER = "none"
    IF_OFFERED = "opportunistic"
    ALWAYS = "required"


class _Step(Enum):
    BANNER = "the banner"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    TLS = "the TLS handshake"
    NAME = "the client's name"
    XCLIENT = "XCLIENT"
    OVER = ""


_AWAITS_REPLY: Final = frozenset({_Step.BANNER, _Step.EHLO, _Step.STARTTLS, _Step.XCLIENT})


class Introduction:
    """One conversation."""

    def __init__(
        self, host: str, encrypt: Encrypt, origin: Origin | None, *, tells: bool, bounds: Bounds | None = None
    ) -> None:
        """`host` is how the guard greets; `tells` that XCLIENT is to say who the client is, `origin`."""
        bounds = bounds or Bounds()
        self._reader = ReplyReader(bounds.reply_line, bounds.reply)
        self._greeting = b"EHLO " + host.encode("ascii") + b"\r\n"
        self._encrypt = encrypt
        self._origin = origin
        self._tells = tells
        self._step = _Step.BANNER
        self._banner = b""
        self._offered: frozenset[bytes] = frozenset()
        self._encrypted = False
        self._out: list[Effect] = []

    # -- what can happen ---------------------------------------------------------------------------

    def from_backend(self, octets: bytes) -> list[Effect]:
        """The backend sent `octets`."""
        if self._step is _Step.OVER:
            return []
        self._reader.append(octets)
        try:
            while self._step in _AWAITS_REPLY and (reply := self._reader.take()) is not None:
                self._replied(reply)
        except ReplyFault as fault:
            self._fail(f"{fault.what} to {self._step.value}", fault.octets)
        if self._reader.pending and self._step in (_Step.TLS, _Step.NAME):
            self._out.clear()  # what was about to begin
            self._fail("octets behind a reply that nothing asked for", self._reader.sample)
        return self._effects()

    def tls_established(self) -> list[Effect]:
        """The handshake is done: what was offered in clear counts no more (RFC 3207 4.2).

        If there is nothing to tell, the client's own EHLO is the next: a server may have counted ours.
        """
        if self._step is _Step.TLS:
            self._encrypted = True
            if self._tells:
                self._say(_Step.EHLO, self._greeting)
            else:
                self._end(Introduced(self._banner))
        return self._effects()

    def named(self, name: str | None) -> list[Effect]:
        """The client's confirmed host name, or None if it has none."""
        if self._step is _Step.NAME:
            self._say(_Step.XCLIENT, xclient.command(self._offered, self._origin, name))
        return self._effects()

    # -- what the backend says ---------------------------------------------------------------------

    def _replied(self, reply: BackendReply) -> None:
        if reply.code == 421 or (self._step is _Step.BANNER and reply.code >= 400):
            self._end(Introduced(reply.octets))
            return
        steps: dict[_Step, tuple[int, Callable[[BackendReply], None]]] = {
            _Step.BANNER: (220, self._greeted_by_backend),
            _Step.EHLO: (250, self._told_what_is_offered),
            _Step.STARTTLS: (220, self._may_encrypt),
            _Step.XCLIENT: (220, self._believed),
        }
        wanted, go_on = steps[self._step]
        if reply.code == wanted:
            go_on(reply)
        elif self._step is _Step.STARTTLS and reply.code >= 400 and self._encrypt is Encrypt.IF_OFFERED:
            self._encrypt = Encrypt.NEVER  # it was offered, and is not to be had
            self._tell()
        elif self._step is _Step.EHLO and not self._tells and self._encrypt is not Encrypt.ALWAYS:
            self._end(Introduced(self._banner))  # it knows no EHLO, so it offers nothing
        else:
            self._fail(f"reply to {self._step.value} that is no {wanted}", reply.octets[:SAMPLE_OCTETS])

    def _greeted_by_backend(self, reply: BackendReply) -> None:
        self._banner = reply.octets
        self._say(_Step.EHLO, self._greeting)

    def _told_what_is_offered(self, reply: BackendReply) -> None:
        offered = ehlo.keywords(reply.octets)
        self._offered = xclient.attributes_offered(reply.octets)
        if self._encrypt is not Encrypt.NEVER and not self._encrypted:
            if b"STARTTLS" in offered:
                self._say(_Step.STARTTLS, b"STARTTLS\r\n")
                return
            if self._encrypt is Encrypt.ALWAYS:
                self._fail("the backend does not offer STARTTLS", reply.octets[:SAMPLE_OCTETS])
                return
        self._tell()

    def _tell(self) -> None:
        """Go on with what there is to tell, if there is anything."""
        if not self._tells:
            self._end(Introduced(self._banner))
        elif b"ADDR" not in self._offered:
            text = "the backend offers the guard no XCLIENT with ADDR (Postfix: smtpd_authorized_xclient_hosts)"
            self._fail(text, b"")
        else:
            self._step = _Step.NAME
            self._out.append(FindName())

    def _may_encrypt(self, _reply: BackendReply) -> None:
        self._step = _Step.TLS
        self._out.append(BeginTls())

    def _believed(self, reply: BackendReply) -> None:
        self._end(Introduced(reply.octets))

    # -- the ways on -------------------------------------------------------------------------------

    def _say(self, step: _Step, octets: bytes) -> None:
        if self._reader.pending:  # it would be taken for the reply to what is said now
            self._fail("surplus reply", self._reader.sample)
            return
        self._step = step
        self._out.append(Say(octets))

    def _fail(self, what: str, octets: bytes) -> None:
        self._end(NotIntroduced(what, octets))

    def _end(self, effect: Introduced | NotIntroduced) -> None:
        if isinstance(effect, Introduced) and self._reader.pending:
            effect = NotIntroduced("octets behind the last reply of the introduction", self._reader.sample)
        self._step = _Step.OVER
        self._out.append(effect)

    def _effects(self) -> list[Effect]:
        out, self._out = self._out, []
        return out
