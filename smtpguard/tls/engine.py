"""One TLS connection, without a socket: octets in, octets out.

Contract: what `start`, `receive`, `send` and `close` return, and the `to_send` of a fault, is for the
peer, in that order.  Plain text comes only out of records whose integrity was checked, behind a
handshake that was completed; whatever else the peer sends is one `TlsFault`, whose text has none of
the peer's octets.  What comes out does not depend on how the input was split.  An end of input without
a close_notify cannot be seen here: the caller knows whether what it got was whole.

It is made of ssl.SSLObject and memory BIOs, and not of pyOpenSSL: callbacks made by cffi need memory
that is written and executed, which the service may not have (MemoryDenyWriteExecute).
"""

from __future__ import annotations

import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from attrs import evolve, frozen

HANDSHAKE_OCTETS: Final = 65536
"""From the peer, before it is established: a ClientHello has some hundred octets, a chain of client certificates some
thousand; OpenSSL itself would take a chain of 100 KiB, and then records without end."""
PIECE_OCTETS: Final = 16384
"""The longest record (RFC 8446 5.1).  No more goes through a memory BIO at once: it keeps its greatest size."""
NAMES: Final = 32
"""Names kept of one certificate."""
NAME_OCTETS: Final = 254
"""The longest address of a mailbox (RFC 5321 4.5.3.1.3); names of hosts are shorter."""

_HOST: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._*")
_PRINTABLE: Final = frozenset(map(chr, range(0x20, 0x7F)))


@frozen
class PeerCertificate:
    """A certificate of the peer that was verified."""

    names: tuple[str, ...]
    """In lower case: the dNSNames or, where there are none, the common name; then the rfc822Names."""


@frozen
class Received:
    """What came of some octets from the peer."""

    plain: bytes = b""
    to_send: bytes = b""
    """For the peer: the handshake goes on, or a key is updated."""
    established: bool = False
    """The handshake was completed just now."""
    finished: bool = False
    """The peer's close_notify came just now: nothing that it sends afterwards counts (RFC 8446 6.1)."""


class TlsFault(Exception):
    """The connection cannot go on."""

    def __init__(self, what: str, to_send: bytes = b"", before: Received | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.to_send = to_send
        """The alert for the peer, behind what else it is owed."""
        self.before = before or Received()
        """What came of the octets in front of the fault; its `to_send` is empty."""


class TlsEngine:
    """One connection."""

    def __init__(self, context: ssl.SSLContext, *, server: bool, name: str | None = None) -> None:
        """Begin as `server`, or as the client of the server called `name`; raises TlsFault for what is no name."""
        self._server = server
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        asked = name.removesuffix(".") if name is not None else None  # RFC 6066 3: "without a trailing dot"
        try:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server, server_hostname=asked)
        except (ssl.SSLError, ValueError, TypeError):  # a NUL in it is a TypeError
            raise TlsFault("the name of the server is none that a certificate could have") from None
        self._handshake_octets = 0
        self._established = False
        self._finished = False
        self._closed = False
        self._fault: str | None = None
        self._peer: PeerCertificate | None = None

    @property
    def established(self) -> bool:
        return self._established

    @property
    def version(self) -> str:
        """`TLSv1.3`; empty until established, as is the cipher."""
        return self._tls.version() or "" if self._established else ""

    @property
    def cipher(self) -> str:
        return self._cipher()[0]

    @property
    def bits(self) -> int:
        """Of the cipher's key; 0 until established."""
        return self._cipher()[1]

    @property
    def peer(self) -> PeerCertificate | None:
        """The peer's certificate, if it showed one and it was verified."""
        return self._peer

    def _cipher(self) -> tuple[str, int]:
        cipher = self._tls.cipher() if self._established else None
        return (cipher[0], cipher[2] or 0) if cipher is not None else ("", 0)

    # -- the connection ----------------------------------------------------------------------------

    def start(self) -> bytes:
        """Return what begins the connection: the client's hello; the server waits for it."""
        if not self._server:
            try:
                self._go_on_with_handshake()
            except TlsFault as fault:
                self._fault = fault.what
                raise TlsFault(fault.what, self._outgoing.read()) from None
        return self._outgoing.read()

    def receive(self, octets: bytes) -> Received:
        """Take the peer's octets; raises TlsFault, and the same again ever after."""
        if self._fault is not None:
            raise TlsFault(self._fault)
        plain: list[bytes] = []
        to_send: list[bytes] = []
        was_established, was_finished = self._established, self._finished
        fault: TlsFault | None = None
        at = 0
        while at < len(octets) and not self._finished and fault is None:
            piece = octets[at : at + self._most()]
            at += len(piece)
            try:
                self._take(piece, plain)
            except TlsFault as found:
                fault = found
            to_send.append(self._outgoing.read())
        established = self._established and not was_established
        received = Received(b"".join(plain), b"".join(to_send), established, self._finished and not was_finished)
        if fault is not None:
            self._fault = fault.what
            raise TlsFault(fault.what, received.to_send, evolve(received, to_send=b""))
        return received

    def send(self, plain: bytes | memoryview) -> bytes:
        """Return `plain` enciphered; raises ValueError where nothing may be sent, and TlsFault."""
        if not self._established or self._closed or self._fault is not None:
            raise ValueError("nothing may be sent on a connection that is not established, or closed")
        sent: list[bytes] = []
        view = memoryview(plain)
        try:
            for at in range(0, len(view), PIECE_OCTETS):
                self._tls.write(view[at : at + PIECE_OCTETS])  # all of it: a memory BIO is never full
                sent.append(self._outgoing.read())
        except (ssl.SSLError, ValueError) as error:
            self._fault = _what(error)
            raise TlsFault(self._fault, b"".join([*sent, self._outgoing.read()])) from None
        return b"".join(sent)

    def close(self) -> bytes:
        """Return the close_notify, once; nothing may be sent behind it, but the peer may go on."""
        if not self._established or self._closed or self._fault is not None:
            return b""
        self._closed = True
        with suppress(ssl.SSLError, ValueError):  # it also waits for the peer's, for which nobody has to
            self._tls.unwrap()
        return self._outgoing.read()

    # -- steps -------------------------------------------------------------------------------------

    def _most(self) -> int:
        """How much of the peer's octets may be taken at once."""
        if self._established:
            return PIECE_OCTETS
        # Behind its end there may be more than a handshake in the same octets.  One octet too many ends it.
        return min(PIECE_OCTETS, max(1, HANDSHAKE_OCTETS - self._handshake_octets))

    def _take(self, octets: bytes, plain: list[bytes]) -> None:
        if not self._established:
            self._handshake_octets += len(octets)
            if self._handshake_octets > HANDSHAKE_OCTETS:
                raise TlsFault("handshake too long")
        self._incoming.write(octets)
        if self._established or self._go_on_with_handshake():
            self._read(plain)

    def _go_on_with_handshake(self) -> bool:
        """Return True when it is complete."""
        try:
            with _no_noise():
                self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLError, ValueError) as error:
            raise TlsFault(_what(error)) from None
        self._established = True
        self._peer = _verified(self._tls)
        return True

    def _read(self, plain: list[bytes]) -> None:
        """Decipher all that has come."""
        try:
            while read := self._tls.read(PIECE_OCTETS):
                plain.append(read)
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            pass
        except (ssl.SSLError, ValueError) as error:
            raise TlsFault(_what(error)) from None
        self._finished = True


def _what(error: Exception) -> str:
    """Return the library's words for an error; the only name in them is the one that we asked for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message.rstrip('.')}"
    reason = getattr(error, "reason", None)
    if isinstance(reason, str) and reason:
        return reason.replace("_", " ").lower()
    return "connection closed in the handshake" if isinstance(error, ssl.SSLZeroReturnError) else "not TLS"


def _verified(tls: ssl.SSLObject) -> PeerCertificate | None:
    try:
        certificate: Any = tls.getpeercert()
    except ValueError:  # it is valid, but some name in it is no UTF-8: such a certificate speaks for nobody
        return PeerCertificate(())
    if not certificate:
        return None  # there is none, or it was not asked for and so not verified
    if tls.session_reused and ssl.cert_time_to_seconds(certificate["notAfter"]) < time.time():
        # OpenSSL looked at it when the session began, which may be two hours ago (contexts.py).
        return PeerCertificate(())
    names = certificate.get("subjectAltName", ())
    hosts = [value.lower() for kind, value in names if kind == "DNS"]
    if hosts:
        hosts = [value for value in hosts if _HOST.issuperset(value)]
    else:
        subject = [attribute for part in certificate.get("subject", ()) for attribute in part]
        common = [value.lower() for kind, value in subject if kind == "commonName"]
        hosts = common[-1:]  # of several, the last is the most specific one
    boxes = [value.lower() for kind, value in names if kind == "email" and "@" in value]
    usable = (name for name in [*hosts, *boxes] if 0 < len(name) <= NAME_OCTETS and _PRINTABLE.issuperset(name))
    return PeerCertificate(tuple(dict.fromkeys(usable))[:NAMES])


@contextmanager
def _no_noise() -> Iterator[None]:
    """Keep a server name that is no ASCII from being printed with a traceback.

    The ssl module decodes the name before it calls the context's sni_callback, and reports what it cannot
    decode to sys.unraisablehook; the handshake fails with an alert, which is what counts.  Any client could fill
    the log that way.
    """
    before = sys.unraisablehook

    def report(unraisable: sys.UnraisableHookArgs) -> None:
        if not (isinstance(unraisable.exc_value, UnicodeDecodeError) and isinstance(unraisable.object, bytes)):
            before(unraisable)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before
