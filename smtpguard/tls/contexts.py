"""What is spoken: TLS 1.2 and 1.3 with ciphers that keep secrets.

Contract: a context that is returned is ready for `TlsEngine`.  It does no renegotiation, no compression,
no anonymous and no static key exchange, and gives out no tickets.  Keys and certificates
come as octets that were read and checked before (smtpguard.tls.certificates), so that what is used is
what was checked.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .pem import read

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
"""Of TLS 1.2 (1.3 has no others than these): with ephemeral keys, so that who gets the server's key later cannot read
what was recorded, and AEAD, since CBC with its MAC inside leaked through timing again and again (RFC 9325 4.2).
SECLEVEL 2 is 112 bits: RSA keys of 2048 bits, and no SHA-1 in a chain."""

ContextByName = Callable[[str], ssl.SSLContext]


def server_context(
    chain: bytes, key: bytes, *, client_ca: bytes | None = None, by_name: ContextByName | None = None
) -> ssl.SSLContext:
    """Return a context that shows a certificate; raises ssl.SSLError if OpenSSL does not take it.

    `chain` and `key`, which is not enciphered, are PEM.  With `client_ca`, PEM too, clients are asked for a
    certificate: they need not have one, but one that it does not vouch for fails the handshake.  `by_name`
    gives the context for a name that a client asks for; it may never raise.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    # A ticket's key would open all the sessions that it was used for, as long as the process lives.  Without
    # tickets, OpenSSL keeps sessions of TLS 1.2 in memory, 20,480 of them for two hours at most (1.2 KiB each, or 10
    # with a client's certificate), and the ssl module cannot stop it.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    _load(context, chain, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        _trust(context, client_ca)
    if by_name is not None:
        context.sni_callback = _chooser(by_name)
    return context


def client_context(ca: Path | None, verify: bool) -> ssl.SSLContext:
    """Return a context for connections to servers, verified by name or address.

    `ca` is a file with the certificates that are trusted, be they authorities' or the server's own; None is
    what the system trusts.  Raises OSError and ssl.SSLError for a file that `check_ca` has a fault for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _restrict(context)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is not None:
        _trust(context, read(ca))
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION  # CVE-2009-3555, CRIME
    context.set_ciphers(CIPHERS)


def _trust(context: ssl.SSLContext, ca: bytes) -> None:
    context.load_verify_locations(cadata=ca.decode("ascii", "ignore"))  # only what stands in the armour counts
    # Whoever is in the file is trusted, a root or not: a self-signed server is its own authority.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _load(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """Load from memory; the ssl module takes file names alone, and these names are files that nobody else has."""
    descriptor = os.memfd_create("smtpguard-certificate", os.MFD_CLOEXEC)
    with open(descriptor, "wb", buffering=0) as file:
        file.write(chain + b"\n" + key)
        # OpenSSL asks the terminal for the passphrase of an enciphered key, and waits, unless it is given one.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: b"")


def _chooser(by_name: ContextByName) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if name:
            connection.context = by_name(name)

    return choose
