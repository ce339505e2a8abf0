"""What the commands sent and the replies received have taught about the session.

Contract: the dialogue tells it of every command that it forwards and of every 2yz; it answers what a
verdict, an octet above 0x7f or the end of the service depends on.  Where servers differ on whether
a command had an effect, the more dangerous reading counts.
"""

from __future__ import annotations

from . import ehlo
from .grammar import Command, is_last_chunk, parameters
from .replies import BackendReply
from .verbs import ANONYMOUS, MECHANISMS
from .verdict import NOTHING_KNOWN, Facts


class Knowledge:
    """The state of one session, apart from whose turn it is."""

    __slots__ = (
        "_offers", "_utf8_mail", "always_seven_bit", "between_chunks", "facts", "in_transaction", "may_chunk",
        "mechanism", "overfull", "password_may_come", "told_seven_bit",
    )  # fmt: skip

    def __init__(self, always_seven_bit: bool = False, facts: Facts | None = None) -> None:
        self._offers: frozenset[bytes] = frozenset()
        self._utf8_mail = False
        self.facts = facts or NOTHING_KNOWN
        self.mechanism = ""
        """Of the last AUTH sent, if it is one that is known."""
        self.in_transaction = False
        """A MAIL was accepted, and its message is neither delivered nor reset."""
        self.password_may_come = False
        """An AUTH was refused, and the client may go on with the exchange all the same."""
        self.may_chunk = False
        """The backend offers CHUNKING and has accepted a MAIL and a RCPT, and no chunk was refused since (RFC 3030)."""
        self.between_chunks = False
        """It has accepted a chunk that is not the last of its message."""
        self.overfull = False
        """A RCPT of this transaction got 552; a server may then refuse the chunks without counting them."""
        self.always_seven_bit = always_seven_bit
        """The backend drops the eighth bit of every message."""
        self.told_seven_bit = False
        """The backend was told BODY=7BIT (RFC 6152 3), and may go on dropping the eighth bit."""

    @property
    def seven_bit(self) -> bool:
        """An octet above 0x7f could become another one."""
        return self.told_seven_bit or self.always_seven_bit

    def suppose_smtputf8(self, facts: Facts) -> None:
        """Suppose that the backend offers SMTPUTF8 if it was greeted with EHLO, and that a MAIL asked for it."""
        self.facts = facts
        self._offers = frozenset({b"SMTPUTF8"}) if facts.esmtp else frozenset()
        self._utf8_mail = True

    def sending(self, command: Command) -> None:
        """`command` goes to the backend now."""
        if command.verb == b"MAIL" and _says_seven_bit(command):
            # Told is told, whatever the reply: a server may act on it before it refuses the sender.
            self.told_seven_bit = True
        elif command.verb in (b"EHLO", b"HELO"):
            self._offers = frozenset()  # of the last EHLO, and if that is refused, of none
            self.may_chunk = False
        elif command.verb == b"AUTH":
            mechanism = (command.argument or b"").lstrip(b" ").partition(b" ")[0].upper().decode("ascii", "replace")
            self.mechanism = mechanism if mechanism in MECHANISMS else ""

    def accepted(self, verb: bytes, command: Command | None, reply: BackendReply) -> None:
        """The backend answered `verb` with a 2yz; `command` is its line if that is the last sent."""
        match verb:
            case b"EHLO" | b"HELO":
                esmtp = verb == b"EHLO"
                self.facts = self.facts.greeting(esmtp)
                self._offers = ehlo.keywords(reply.octets) if esmtp else frozenset()
                self.message_over()
            case b"MAIL" if command is not None:
                self.in_transaction = True
                self.may_chunk = self.overfull = False
                self.told_seven_bit = _says_seven_bit(command)
                self._utf8_mail = _says_smtputf8(command)
            case b"RCPT":
                self.may_chunk = self.in_transaction and not self.overfull and b"CHUNKING" in self._offers
            case b"BDAT" if command is not None and reply.code == 250 and not is_last_chunk(command.argument):
                self.between_chunks = True
            case b"BDAT":
                self.message_over()
            case b"RSET":
                self.message_over()
            case b"AUTH" if reply.code == 235 and self.mechanism != ANONYMOUS:
                self.facts = self.facts.authentication(True)

    def authentication_failed(self) -> None:
        """An AUTH got 535."""
        self.facts = self.facts.authentication(False)

    def secured(self, names: frozenset[str]) -> None:
        """TLS with the client has begun: nothing that was said in clear counts any more (RFC 3207 4.2).

        What the backend was told stays told, as there was no TLS between it and the guard; and so does
        what it said of a password.
        """
        self.facts = Facts(tls=True, tls_names=names, auth_failed=self.facts.auth_failed)
        self._offers = frozenset()
        self._utf8_mail = self.password_may_come = False
        self.message_over()

    def recipients_overfull(self) -> None:
        """A RCPT got 552."""
        self.overfull = True
        self.may_chunk = False

    def message_over(self) -> None:
        """The transaction ended, whether its message was accepted or not."""
        self.in_transaction = self.may_chunk = self.between_chunks = False

    def allows_eight_bit(self, command: Command) -> bool:
        """True if octets >= 0x80 have one meaning in this command: SMTPUTF8 (RFC 6531 3.4), offered by
        the backend in its last EHLO and asked for by the client, and the octets are UTF-8."""
        if self.seven_bit or _says_seven_bit(command) or b"SMTPUTF8" not in self._offers:
            return False
        asked = _says_smtputf8(command) if command.verb == b"MAIL" else self._utf8_mail
        if not asked or command.verb not in (b"MAIL", b"RCPT"):
            return False
        try:
            command.line.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True


def _says_seven_bit(command: Command) -> bool:
    argument = command.argument
    return argument is not None and b"=" in argument and b"BODY=7BIT" in argument.upper()


def _says_smtputf8(command: Command) -> bool:
    argument = command.argument
    return argument is not None and b" " in argument and b"SMTPUTF8" in parameters(argument)
