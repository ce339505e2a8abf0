"""Whether it works: what a client finds at port 25 now.

Contract: raises Failed with what was found instead; delivers no mail.  An outsider is an address that nobody has, from
which this host connects to itself; that takes the routes of `identity: transparent`.  Where there are none, what
outsiders get is not tried here: the guard itself has asked the mail server about relaying before it listened.  What
a policy in shadow, or one that was imported, forwards is sendmail's to answer, and no failure.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ..net.sockets import make_transparent
from .refusals import Failed

SECONDS: Final = 30.0
"""For one reply: Debian's sendmail lets strangers wait for five before it greets, and may look names up."""
REPLY_OCTETS: Final = 65536
"""Of one reply, about; sendmail's longest has a fifth of that."""
OUTSIDERS: Final = {4: "203.0.113.9", 6: "2001:db8:9::9"}
"""Of nobody (RFC 5737, RFC 3849)."""
_PORT: Final = 25


def verify(listen: list[str], transparent: bool, forwards: Callable[[str], bool], tell: Callable[[str], None]) -> None:
    """Ask as this host itself, and as an outsider; `forwards` tells if the policy lets `VRFY` of an address pass."""
    for address in listen:
        family = 6 if ":" in address else 4
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        with _talk(here, family, None) as say:
            banner = say("")
            _expect(banner, ("220",), f"the banner at {here}")
            say("EHLO localhost")
            tell(f"{here} port 25 greets: {banner}")
            tell(f"from this host: VRFY postmaster: {say('VRFY postmaster')}")
        if not transparent or here not in ("127.0.0.1", "::1"):
            continue
        outsider = OUTSIDERS[family]
        with _talk(here, family, outsider) as say:
            _expect(say(""), ("220",), f"the banner for {outsider}")
            say("EHLO outsider.example")
            answer = say("VRFY postmaster")
            if forwards(outsider):
                _expect(answer, ("2", "4", "5"), f"VRFY postmaster from {outsider}")
                tell(f"from {outsider}: VRFY postmaster: {answer} (sendmail's: the policy, or its shadow, forwards it)")
            else:
                # 250 and 251 tell who somebody is.
                _expect(answer, ("252", "5"), f"VRFY postmaster from {outsider}")
                tell(f"from {outsider}: VRFY postmaster: {answer}")
            _expect(say("MAIL FROM:<>"), ("250",), f"MAIL from {outsider}")
            refused = say("RCPT TO:<smtpguard-check@example.com>")
            _expect(refused, ("4", "5"), f"RCPT to a foreign domain from {outsider}")
            tell(f"from {outsider}: relaying: {refused}")


def _expect(reply: str, codes: tuple[str, ...], what: str) -> None:
    if not reply.startswith(codes):
        hint = "  The log says why: grep 'relay check' /var/log/mail.log" if reply.startswith("421") else ""
        raise Failed(f"{what}: {reply!r}, where {' or '.join(codes)} was to be expected.{hint}")


@contextmanager
def _talk(address: str, family: int, source: str | None) -> Iterator[Callable[[str], str]]:
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as client:
        client.settimeout(SECONDS)
        if source is not None:
            make_transparent(client)
            client.bind((source, 0))
        unread = b""

        def reply() -> str:
            nonlocal unread
            while True:
                *lines, rest = unread.split(b"\r\n")
                for number, line in enumerate(lines):
                    if line[3:4] != b"-":
                        unread = b"\r\n".join([*lines[number + 1 :], rest])
                        return line.decode("ascii", "backslashreplace")
                more = client.recv(4096)
                if not more or len(unread) > REPLY_OCTETS:
                    raise Failed(f"{address} port 25 ended the session of {source or 'this host'}.")
                unread += more

        def say(command: str) -> str:
            if command:
                client.sendall(command.encode("ascii") + b"\r\n")
            return reply()

        try:
            client.connect((address, _PORT))
            yield say
            say("QUIT")
        except OSError as error:
            raise Failed(f"{address} port 25, from {source or 'this host'}: {error.strerror or error}.") from None
