"""What the tests of this folder share: the servers, a guard before each, and what must hold on both sides."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import yaml

from tests.rig.exim import RealExim
from tests.rig.guard import client_endpoint
from tests.rig.opensmtpd import RealOpenSmtpd
from tests.rig.postfix import RealPostfix
from tests.rig.recorder import Recorder
from tests.rig.sendmail import Delivery, RealSendmail
from tests.rig.unpacked import UnpackedServer
from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard, commands_read, policy, verb_as_read

from .hop import Hop

SERVERS: Final[Sequence[type[UnpackedServer]]] = (RealPostfix, RealExim, RealOpenSmtpd)


class Server(Protocol):
    """What these tests want from a server; UnpackedServer says what it means."""

    @property
    def name(self) -> str: ...
    @property
    def tells(self) -> re.Pattern[bytes]: ...
    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...
    def mark(self) -> int: ...
    def commands(self, since: int) -> list[str]: ...
    def wait_sessions(self, count: int, since: int) -> None: ...
    def deliveries(self, count: int) -> list[Delivery]: ...
    def log(self) -> str: ...


class Sendmail(RealSendmail):
    """A sendmail that takes all mail for the domains of the tests, whoever the recipient is."""

    name = "sendmail"
    # A good recipient is 2.1.5 too; the names are those of the rig.
    tells = re.compile(rb"2\.1\.5 (?![^\r\n]*\.\.\. Recipient ok\r\n)|george|alice|bob")

    def __init__(self) -> None:
        super().__init__(extra_mc="LOCAL_DOMAIN(`mx.test')dnl\ndefine(`LUSER_RELAY', `local:root')dnl")

    def mark(self) -> int:
        """Return how much it has written down of what it read."""
        return len(self.traffic())

    def commands(self, since: int) -> list[str]:
        """Return what it has read as commands behind a mark."""
        return commands_read(self.traffic()[since:])

    def wait_sessions(self, count: int, since: int) -> None:
        """Return at once: it writes down what it reads before it closes the connection."""


OF_MAIL: Final = frozenset({"HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT", "AUTH"})
"""All that a server may hear from outside under the perimeter rules."""

UNHURT: Final = {"budgets": "off"}
"""No stream is slowed because much of it is refused."""

CHUNKED: Final = frozenset({"postfix", "exim"})
"""Who takes chunks."""

_FIELDS: Final = re.compile(rb"(?:[!-9;-~]+[ \t]*:.*\n(?:[ \t].*\n)*)*")


@dataclass(frozen=True)
class Chain:
    """A guard at a port, the recorded wire behind it, and a server at the end."""

    port: int
    wire: Recorder
    server: Server
    verbs: frozenset[str] = OF_MAIL
    """What the server may hear from outside."""


@contextmanager
def chain(server: Server, folder: Path, obliging: bool = False) -> Iterator[Chain]:
    """Put a guard with the perimeter rules and a recorder before a server that runs.

    127.0.0.1 is inside, 127.0.0.2 outside.  A guard that is not obliging is as stock; one that is
    knows what server it is, forwards chunks to who takes them, and bare newlines as good ones.
    """
    rules = {**yaml.safe_load(policy(("127.0.0.1/32",), "perimeter")), **UNHURT}
    with Recorder((server.address, server.port)) as wire:
        backend: dict[str, str] = {"endpoint": client_endpoint("127.0.0.1", wire.port)}
        verbs = OF_MAIL
        if obliging:
            rules["bare_newline"] = "normalize"
            backend["profile"] = server.name
            if server.name in CHUNKED:
                backend["chunking"] = "forward"
                verbs |= {"BDAT"}
        settings = {"backend": backend}
        with ConfiguredGuard(folder, ("127.0.0.1", wire.port), yaml.safe_dump(rules), settings) as guard:
            yield Chain(guard.port, wire, server, verbs)


def check_commands(chain: Chain, since: int, hops: Sequence[Hop]) -> None:
    """Hold that the server has read as commands what the guard has sent as such, and nothing refused."""
    read = chain.server.commands(since)
    executed = Counter(verb_as_read(line) for line in read)
    assert executed.keys() <= chain.verbs, read
    sent = Counter(verb_as_read(line.decode("latin-1")) for hop in hops for line in hop.commands)
    assert not executed - sent, read
    # Between chunks, not every server writes down what it reads.
    assert executed == sent or "BDAT" in sent


def is_stored(message: bytes, stored: bytes) -> bool:
    """Tell if `stored` is this content, but for header fields that a server has added or written anew."""
    plain = _lines(message)
    fields = _FIELDS.match(plain)
    assert fields is not None
    subjects = re.findall(rb"(?m)^Subject:.*$", fields[0])
    head, _, body = stored.partition(b"\n\n")
    return body == plain[fields.end() :].removeprefix(b"\n") and all(line in head.split(b"\n") for line in subjects)


def is_arrived(message: bytes, stored: bytes) -> bool:
    """Tell if the end of `stored` is what of this content stands behind its first empty line.

    A chunk may end anywhere; what servers make of a CR that ends there is up to them.
    """
    end = (b"\n" + _lines(message)).partition(b"\n\n")[2]
    return stored.replace(b"\r", b" ").rstrip().endswith(end.replace(b"\r", b" ").rstrip())


def _lines(message: bytes) -> bytes:
    """Return a content as servers store it; a chunk may lack its last line end."""
    plain = message.replace(b"\r\n", b"\n")
    return plain if plain.endswith(b"\n") or not plain else plain + b"\n"


def check_mail(
    server: Server,
    before: Sequence[Delivery],
    messages: Sequence[bytes],
    is_it: Callable[[bytes, bytes], bool] = is_stored,
) -> None:
    """Hold that all these contents come to be stored, beside the deliveries `before`."""
    known = Counter(before)

    def missing() -> list[bytes]:
        stored = [one.content for one in (Counter(server.deliveries(0)) - known).elements()]
        counted = Counter(messages).items()
        return [message for message, count in counted if sum(is_it(message, one) for one in stored) < count]

    def story() -> str:
        return f"{missing()}\n{server.log()[-2000:]}"

    wait_until(lambda: not missing(), f"{len(messages)} messages to arrive", 30, story)
