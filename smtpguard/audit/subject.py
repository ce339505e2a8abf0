"""The server under audit: its one address, how much of it may be asked, and what several probes need to know.

Contract: a name is resolved once, and every connection goes to the address that answered first; the
number of connections and the time for all of them are bounded.  What cannot be asked is `NotAsked`,
and only a server that cannot be reached at all is `Unreachable`.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from ipaddress import ip_address
from time import monotonic
from typing import Final

from attrs import frozen

from ..journal.lines import loggable_name, printable
from .conversation import Answer, Conversation
from .wishes import Tls, Wishes

CONNECTIONS: Final = 100
"""For the whole audit; all probes together make some fifty against a server that answers all of them."""
ALL_SECONDS: Final = 900.0
"""For the whole audit: with a server that lets every question run into its time-out, the end of most."""
PER_CONNECTION: Final = 3
"""Questions asked in one conversation.  Exim hangs up at the fourth unknown command
(smtp_max_unknown_commands), sendmail slows down at the sixth VRFY, Postfix at the tenth error."""
UNWELCOME: Final = 3
"""Connections in a row without a banner or an EHLO reply, after which no more are made."""


_Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


class Unreachable(Exception):
    """There is nothing to audit; the text says why, and is printable."""


class NotAsked(Exception):
    """A question could not be put; the text says why, and is printable."""


@frozen
class Hello:
    """The server's first words."""

    banner: Answer
    reply: Answer
    """To EHLO, or to the HELO that was said because EHLO was refused."""

    @property
    def keywords(self) -> dict[str, str]:
        """The service extensions, in upper case, and their parameters."""
        return keywords_of(self.reply)


def keywords_of(reply: Answer) -> dict[str, str]:
    """Return the service extensions of an EHLO reply (RFC 5321 4.1.1.1), in upper case, and their parameters."""
    lines = [re.sub(rb"\A250[ -]", b"", one).decode("ascii", "replace") for one in reply.lines[1:]]
    # AUTH=LOGIN is what clients of the last century want to see.
    words = [one.replace("=", " ", 1).split(" ", 1) for one in lines if reply.code == 250]
    return {one[0].upper(): one[1] if len(one) > 1 else "" for one in words}


class Subject:
    """A server, by the first of its addresses that takes a connection."""

    def __init__(self, wishes: Wishes) -> None:
        """Find the address; raises Unreachable."""
        self.wishes = wishes
        self.connections = 0
        self._unwelcome = 0  # connections in a row that came to no EHLO reply
        self._talking = False
        self._until = monotonic() + ALL_SECONDS
        self._ready: socket.socket | None = None
        self._family, self._address = self._find()

    @property
    def address(self) -> str:
        return str(self._address[0])

    def close(self) -> None:
        """Give up the connection that was made to find the address, if no probe has used it."""
        if self._ready is not None:
            self._ready.close()
            self._ready = None

    def _find(self) -> tuple[socket.AddressFamily, _Address]:
        wishes = self.wishes
        try:
            found = socket.getaddrinfo(wishes.host, wishes.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{wishes.host}: {_why(error)}") from None
        why = "no address"
        for family, _, _, _, address in found:
            try:
                self._ready = self._open(family, address)
            except OSError as error:
                why = f"{address[0]} port {wishes.port}: {_why(error)}"
            else:
                return family, address
        raise Unreachable(why)

    def _open(self, family: socket.AddressFamily, address: _Address) -> socket.socket:
        connecting = socket.socket(family, socket.SOCK_STREAM)
        try:
            connecting.settimeout(self.wishes.timeout)
            if self.wishes.source:
                connecting.bind((self.wishes.source, 0))
            connecting.connect(address)
        except BaseException:
            connecting.close()
            raise
        self.connections += 1
        return connecting

    # -- conversations ---------------------------------------------------------------------------

    @contextmanager
    def connected(self, encrypted: bool = True) -> Iterator[Conversation]:
        """A conversation in which nothing has been read or sent yet; raises NotAsked.

        There is one at a time: a server may allow us no more, and none is asked behind its own back.
        Where TLS begins with the first octet it is in TLS, unless it is not to be `encrypted` yet.
        """
        if self._talking:
            raise RuntimeError("a conversation is open already")
        connected, self._ready = self._ready, None
        if connected is None:
            if self._unwelcome >= UNWELCOME:
                raise NotAsked(f"no service {UNWELCOME} times running")
            if self.connections >= CONNECTIONS:
                raise NotAsked(f"{CONNECTIONS} connections were made before")
            if monotonic() >= self._until:
                raise NotAsked(f"{ALL_SECONDS:.0f} seconds have passed")
            try:
                connected = self._open(self._family, self._address)
            except OSError as error:
                raise NotAsked(f"no further connection: {_why(error)}") from None
        self._talking = True
        try:
            with Conversation(connected, self.wishes.timeout, self._until) as conversation:
                if encrypted and self.wishes.tls is Tls.IMPLICIT:
                    try:
                        conversation.wrap(any_tls(), None)
                    except OSError as error:
                        raise NotAsked(f"no TLS: {_why(error)}") from None
                yield conversation
        finally:
            self._talking = False

    @contextmanager
    def welcomed(self) -> Iterator[Conversation]:
        """A conversation behind the server's banner; raises NotAsked."""
        with self.connected() as conversation:
            self.await_banner(conversation)
            yield conversation

    @contextmanager
    def greeted(self) -> Iterator[Conversation]:
        """A conversation behind EHLO, or HELO where that is all it knows; raises NotAsked."""
        with self.welcomed() as conversation:
            self.greet(conversation)
            yield conversation

    def await_banner(self, conversation: Conversation) -> Answer:
        """Return the banner; raises NotAsked if there is none that lets us in."""
        banner = conversation.answer()
        if banner.code != 220:
            self._unwelcome += 1
            raise NotAsked(f"banner: {banner.said}")
        return banner

    def greet(self, conversation: Conversation) -> Answer:
        """Say EHLO, or HELO; raises NotAsked if neither is accepted."""
        reply = conversation.say(b"EHLO " + self.helo(conversation))
        if reply.code >= 500 and not conversation.ended:
            reply = conversation.say(b"HELO " + self.helo(conversation))
        if reply.code != 250:
            self._unwelcome += 1
            raise NotAsked(f"EHLO: {reply.said}")
        self._unwelcome = 0
        return reply

    def helo(self, conversation: Conversation) -> bytes:
        """Return the name that we go by."""
        return (self.wishes.helo or conversation.own_address).encode("ascii")

    def ask(self, *commands: bytes) -> list[Answer]:
        """Put one question after the other, few in one conversation; raises NotAsked.

        A server that has had enough closes: then the question is put once more, as the first one of
        a new conversation, and only what happens there counts.
        """
        answers: list[Answer] = []
        while len(answers) < len(commands):
            with self.greeted() as conversation:
                for place, command in enumerate(commands[len(answers) :][:PER_CONNECTION]):
                    answer = conversation.say(command)
                    if place and (answer.closed or answer.over or answer.code == 421):
                        break
                    answers.append(answer)
                    if conversation.ended:
                        break
        return answers

    def replies_to(self, octets: bytes, greeted: bool = True) -> list[Answer]:
        """Send octets and, once one reply has come, QUIT; return every reply but that to QUIT.

        So two replies where there should be one are seen without a guess how long to wait.
        """
        with self.greeted() if greeted else self.welcomed() as conversation:
            conversation.put(octets)
            return until_quit(conversation, [conversation.answer()])

    # -- what several probes need to know -----------------------------------------------------------

    @cached_property
    def hello(self) -> Hello:
        """Banner and EHLO reply; raises NotAsked."""
        with self.connected() as conversation:
            return Hello(self.await_banner(conversation), self.greet(conversation))

    @cached_property
    def domain(self) -> str:
        """The name that the server goes by, or that it was called by; raises NotAsked."""
        first = [answer.text.split(b"\n")[0].split(b" ")[0] for answer in (self.hello.reply, self.hello.banner)]
        names = [loggable_name(one.decode("ascii", "replace")) for one in first]
        return next(
            (one for one in [*names, loggable_name(self.wishes.host)] if one and re.search(r"[.].*[A-Za-z]", one)),
            "localhost",
        )

    @property
    def server_name(self) -> str | None:
        """The name to ask for in a handshake; None if it was called by its address."""
        try:
            ip_address(self.wishes.host)
        except ValueError:
            return self.wishes.host.rstrip(".")
        return None

    @cached_property
    def vrfy(self) -> Answer:
        """The answer to VRFY in its plain form, for the known name; raises NotAsked."""
        return self.ask(b"VRFY " + self.wishes.known.encode("ascii"))[0]


def until_quit(conversation: Conversation, answers: list[Answer]) -> list[Answer]:
    """Say QUIT, and return the answers with those before that to QUIT; a hang-up is the last of them."""
    if answers[-1].code != 354 and not conversation.ended:
        conversation.put(b"QUIT\r\n")
        answers += conversation.answers(last=221)
        while len(answers) > 1 and not answers[-1].octets:
            answers.pop()
        if answers[-1].code == 221 and len(answers) > 1:
            answers.pop()
    return answers


def any_tls() -> ssl.SSLContext:
    """A context that takes whatever certificate there is: it is looked at, not trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _why(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(text.encode("utf-8", "replace"))


def as_octets(words: Iterable[str]) -> list[bytes]:
    """Return commands as octets."""
    return [one.encode("ascii") for one in words]
