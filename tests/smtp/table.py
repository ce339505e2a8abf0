"""A table at which a dialogue is played: no sockets, no clock, every effect seen.

`Table` feeds a Dialogue and keeps what it says to either side; `Pair` puts a backend behind it that
answers by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from smtpguard.config import policy_file
from smtpguard.config.yaml_reader import read
from smtpguard.policy.networks import Peer
from smtpguard.policy.rules import Policy
from smtpguard.smtp.answers import Closing
from smtpguard.smtp.bounds import Bounds
from smtpguard.smtp.dialogue import Dialogue
from smtpguard.smtp.effects import (
    BeginTls,
    Close,
    Effect,
    Note,
    ToBackend,
    ToClient,
    Wait,
)
from smtpguard.smtp.phases import Phase
from smtpguard.smtp.profiles import PROFILES
from smtpguard.smtp.terms import StartTls as Offer
from smtpguard.smtp.terms import Terms
from smtpguard.smtp.verdict import Facts

HOST = "guard.test"
OUTSIDE = "203.0.113.9"
INSIDE = "127.0.0.1"


def perimeter() -> Policy:
    """Return the shipped perimeter rules with 127.0.0.1 alone inside, as the streams want them."""
    text = policy_file.find("perimeter").read_text("ascii")
    lines = [
        "  internal: [127.0.0.1/32]" if line.startswith("  internal:") else line
        for line in text.partition("\ntests:")[0].splitlines()
    ]
    return policy("\n".join(lines))


def policy(text: str) -> Policy:
    """Return a policy from its YAML."""
    return policy_file.build(read(text, "test.yaml")).policy


@dataclass
class Table:
    """A dialogue, and everything that it has done."""

    policy: Policy = field(default_factory=perimeter)
    source: str = OUTSIDE
    bounds: Bounds = field(default_factory=Bounds)
    listener: str = ""
    profile: str = "default"
    chunking: bool = False
    starttls: Offer = Offer.HIDDEN
    in_tls: frozenset[str] | None = None
    """The client's names, in a session that is encrypted from its first octet."""
    to_client: bytearray = field(default_factory=bytearray)
    to_backend: bytearray = field(default_factory=bytearray)
    notes: list[Note] = field(default_factory=list)
    tls_begun: int = 0
    waits: list[float] = field(default_factory=list)
    closed: Close | None = None
    kept: bytes = b""
    """What `take_backend_kept` has returned, all of it."""

    def __post_init__(self) -> None:
        peer = Peer.parse(self.source)
        terms = Terms(self.bounds, PROFILES[self.profile], chunking=self.chunking, starttls=self.starttls)
        terms = self.policy.terms_for(peer, terms)
        facts = None if self.in_tls is None else Facts(tls=True, tls_names=self.in_tls)
        self.dialogue = Dialogue(self.policy.judge_for(peer, self.listener), Closing(HOST), terms, facts)

    def perform(self, effects: Iterable[Effect]) -> None:
        """Keep `effects`; nothing may come behind a Close."""
        for effect in effects:
            assert self.closed is None, f"{effect} after {self.closed}"
            match effect:
                case ToClient(octets):
                    assert octets
                    self.to_client += octets
                case ToBackend(octets):
                    assert octets
                    self.to_backend += octets
                case Wait(seconds):
                    self.waits.append(seconds)
                case BeginTls():
                    self.tls_begun += 1
                case Close():
                    self.closed = effect
                case _:
                    self.notes.append(effect)

    def client(self, octets: bytes) -> None:
        self.perform(self.dialogue.from_client(octets))

    def backend(self, octets: bytes) -> None:
        self.perform(self.dialogue.from_backend(octets))

    def client_finished(self) -> None:
        self.perform(self.dialogue.client_finished())

    def be_patient(self) -> None:
        """Let every delay pass at once."""
        while self.dialogue.phase is Phase.DELAYED:
            self.perform(self.dialogue.delay_over())

    def take_client(self) -> bytes:
        """Return what the client got since the last call."""
        octets = bytes(self.to_client)
        self.to_client.clear()
        return octets

    def take_backend(self) -> bytes:
        """Return what the backend got since the last call."""
        octets = bytes(self.to_backend)
        self.to_backend.clear()
        return octets

    def take_backend_kept(self) -> bytes:
        """Return what the backend got since the last call, and keep it."""
        octets = self.take_backend()
        self.kept += octets
        return octets


Split = Callable[[bytes], Iterable[bytes]]


def whole(octets: bytes) -> Iterable[bytes]:
    """One segment."""
    return [octets] if octets else []


def each_octet(octets: bytes) -> Iterable[bytes]:
    """A segment for each octet."""
    return [octets[i : i + 1] for i in range(len(octets))]
