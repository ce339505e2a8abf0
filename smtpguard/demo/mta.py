"""The demo's mail server: small, talkative, and trusting like a stock sendmail.

Contract: speaks enough SMTP to be played with; answers VRFY and EXPN to everybody; relays for
127.0.0.1 and for no other address.  It keeps no mail.
"""

from __future__ import annotations

import re
from typing import Any, Final

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

DOMAIN: Final = "here.domain"
USERS: Final = {"george": "George Washington", "john": "John Adams", "thomas": "Thomas Jefferson"}
LISTS: Final = {"all": ("george", "john", "thomas"), "postmaster": ("george",)}
TRUSTED: Final = "127.0.0.1"

_PATH: Final = re.compile(r"(?:FROM|TO):\s*<([^<>]*)>", re.IGNORECASE)


class DemoMta(LineOnlyReceiver):
    """One session."""

    transport: Any
    MAX_LENGTH = 2048

    def __init__(self, trusted: bool) -> None:
        self._trusted = trusted
        self._in_content = False
        self._sender: str | None = None
        self._recipients: list[str] = []

    def connectionMade(self) -> None:
        self._say(f"220 {DOMAIN} ESMTP demo mail server")

    def lineReceived(self, line: bytes) -> None:
        text = line.decode("latin-1")
        if self._in_content:
            if text == ".":
                self._in_content = False
                self._say(f"250 2.0.0 Message for {len(self._recipients)} accepted, and forgotten: this is a demo")
                self._reset()
            return
        verb, _, argument = text.strip().partition(" ")
        match verb.upper():
            case "HELO":
                self._say(f"250 {DOMAIN} Hello")
            case "EHLO":
                self._say(f"250-{DOMAIN} Hello", "250-PIPELINING", "250-8BITMIME", "250-EXPN", "250-VERB", "250 HELP")
            case "MAIL":
                self._mail(argument)
            case "RCPT":
                self._rcpt(argument)
            case "DATA":
                self._data()
            case "RSET":
                self._reset()
                self._say("250 2.0.0 Reset state")
            case "NOOP":
                self._say("250 2.0.0 OK")
            case "VRFY":
                self._vrfy(argument)
            case "EXPN":
                self._expn(argument)
            case "HELP":
                self._say("214-2.0.0 HELO EHLO MAIL RCPT DATA RSET NOOP QUIT VRFY EXPN", "214 2.0.0 End of HELP info")
            case "DEBUG":
                self._say("200 2.0.0 Debug set")
            case "QUIT":
                self._say(f"221 2.0.0 {DOMAIN} closing connection")
                self.transport.loseConnection()
            case _:
                self._say("500 5.5.1 Command unrecognized")

    def _mail(self, argument: str) -> None:
        match = _PATH.match(argument)
        if match is None:
            self._say("501 5.5.2 Syntax error in parameters")
            return
        self._reset()
        self._sender = match.group(1)
        self._say("250 2.1.0 Sender ok")

    def _rcpt(self, argument: str) -> None:
        match = _PATH.match(argument)
        if self._sender is None or match is None:
            self._say("503 5.0.0 Need MAIL before RCPT")
            return
        user, _, domain = match.group(1).partition("@")
        if domain and domain != DOMAIN:
            if not self._trusted:
                self._say("550 5.7.1 Relaying denied")
                return
        elif user.lower() not in USERS | LISTS:
            self._say("550 5.1.1 User unknown")
            return
        self._recipients.append(match.group(1))
        self._say("250 2.1.5 Recipient ok")

    def _data(self) -> None:
        if not self._recipients:
            self._say("503 5.0.0 Need RCPT (recipient)")
            return
        self._in_content = True
        self._say('354 Enter mail, end with "." on a line by itself')

    def _vrfy(self, argument: str) -> None:
        user = argument.strip().strip("<>").partition("@")[0].lower()
        if user in USERS:
            self._say(f"250 2.1.5 {USERS[user]} <{user}@{DOMAIN}>")
        elif user in LISTS:
            self._say(f"250 2.1.5 <{user}@{DOMAIN}>")
        else:
            self._say("550 5.1.1 User unknown")

    def _expn(self, argument: str) -> None:
        members = LISTS.get(argument.strip().lower())
        if members is None:
            self._say("550 5.1.1 List unknown")
            return
        lines = [f"2.1.5 {USERS[member]} <{member}@{DOMAIN}>" for member in members]
        self._say(*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")

    def _reset(self) -> None:
        self._sender = None
        self._recipients = []

    def _say(self, *lines: str) -> None:
        self.transport.write("".join(f"{line}\r\n" for line in lines).encode("ascii"))


class DemoMtaFactory(Factory):
    """Tells by the address whom the server trusts."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> DemoMta:
        return DemoMta(getattr(addr, "host", "") == TRUSTED)
