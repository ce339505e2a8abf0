"""Whether a backend may be used: asked at the start, and again whenever it may have become another.

Contract: a `RelayWatch` asks (relay_check.py) as outsiders are seen (relay_question.py), and keeps what follows from
the answers in `standing` and `closed_because`.  Under `enforce` nobody is served as long as there is no answer, after
an outage too, nor while the backend would relay for outsiders.  Where the policy itself keeps outsiders from relaying
(`relay_domains`), any backend will do, and that is said.  Each of several backends has a watch of its own (member.py),
which rests while the backend is away.
"""

from __future__ import annotations

import syslog
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall

from ..config.endpoints import parse_client
from .backend import BackendConnector, Client
from .blame import CANNOT_CONNECT
from .circumstances import Circumstances
from .relay_check import Answer, Relaying, ask
from .relay_question import Question, questions

ASK_AGAIN_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Between questions to a backend that gives no answer, or the wrong one; the last one goes on."""
LOST_SECONDS: Final = 10.0
"""A connection that fails may be due to its client, so no more than one in this time leads to a question."""
_ABOUT_THE_QUESTION: Final = "relay_check_recipient, relay_check_source and --relay-check"
_ABOUT_THE_WAY: Final = "backend.endpoint: does the mail server listen there?"
WOULD_RELAY: Final = "the mail server would relay for outsiders (relay check)"
"""Why clients are turned away, or a reload is refused."""


class Standing(Enum):
    """What is to be done with clients."""

    SERVE = "serve"
    WAIT = "wait"
    """There is no answer: 421."""
    RELAYS = "relays"
    """The backend would relay for outsiders: 421, or no start."""


class RelayWatch:
    """Asks, and remembers."""

    def __init__(
        self, circumstances: Circumstances, backend: BackendConnector, changed: Callable[[Standing], None]
    ) -> None:
        """`changed` is told of every standing that is not the one before."""
        settings, policy = circumstances.settings, circumstances.policy
        self._reactor = circumstances.reactor
        self._settings = settings
        self._backend = backend
        self._journal = circumstances.journal
        self._host = circumstances.host
        self._changed = changed
        self._questions = list(questions(settings, policy))
        # Behind a STARTTLS that is passed through no recipient is looked at.
        self._safe = policy.refuses_relaying and not settings.passes_starttls
        self._asking = False
        self._again = False  # something happened while it was being asked
        self._tries: Iterator[float] = iter(ASK_AGAIN_SECONDS)
        self._timer: IDelayedCall | None = None
        self._asked_at = float("-inf")
        self._stopped = False
        self._round = 0  # what was asked before a rest is not listened to behind it
        self._said: dict[str, str] = {}
        self.standing = Standing.SERVE if settings.relay_check != "enforce" else Standing.WAIT
        self.heard: Callable[[list[Answer]], None] = lambda _answers: None
        """Told of every answer, before it is judged; who then calls `rest` keeps it from being judged."""

    @property
    def closed_because(self) -> str | None:
        """Why clients are turned away, for the log; None if they are not."""
        match self.standing:
            case Standing.WAIT:
                return "relay check without an answer yet"
            case Standing.RELAYS:
                return WOULD_RELAY
        return None

    def start(self) -> Deferred[Standing]:
        """Ask for the first time; the result is what came of it."""
        if self._settings.relay_check == "off":
            self._set(Standing.SERVE)
        return self._ask().addCallback(lambda _: self.standing)

    def ask(self) -> None:
        """Ask soon: something changed, as at a reload."""
        self._tries = iter(ASK_AGAIN_SECONDS)
        self._ask()

    def backend_away(self, gone: bool = True) -> None:
        """No connection to the backend could be made (`gone`), or one broke.

        Under `transparent` it may be that only this one client cannot be connected for; so what the guard
        finds when it asks counts, and no client can have it asked more often than LOST_SECONDS say.
        """
        certain = gone and self._settings.backend.identity != "transparent"
        if certain:
            self._wait()
        too_soon = self._asked_at + LOST_SECONDS - self._reactor.seconds()
        if certain or too_soon <= 0:
            self.ask()
        elif self._asking:
            self._again = True
        elif self._timer is not None and self._timer.active():
            # Put off, not left out: what broke may be back as another one.
            self._timer.reset(min(too_soon, self._timer.getTime() - self._reactor.seconds()))

    def _wait(self) -> None:
        """The backend is away; what comes back may be another one."""
        if self.standing is not Standing.SERVE or self._safe or self._settings.relay_check != "enforce":
            return
        self._journal.service(
            "relay check: the mail server is away; clients get 421 until it has been asked again", syslog.LOG_WARNING
        )
        self._said.clear()
        self._set(Standing.WAIT)

    @property
    def outsider(self) -> Client:
        """Whom the backend is shown when it is asked."""
        return self._questions[0].client

    def rest(self) -> None:
        """The backend is away, and somebody else looks whether it is back: ask nothing before the next `ask`."""
        self._round += 1
        self._asking = self._again = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if not self._safe and self._settings.relay_check == "enforce":
            self._said.clear()
            self._set(Standing.WAIT)

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    # -- asking ------------------------------------------------------------------------------------

    def _ask(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        if self._settings.relay_check == "off" or self._stopped or self._asking:
            self._again = self._asking
            done.callback(None)
            return done
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._asking, self._again = True, False
        self._asked_at = self._reactor.seconds()
        asked_in = self._round
        recipient = self._settings.relay_check_recipient

        def about(question: Question) -> Deferred[tuple[Question, Answer]]:
            asked = ask(self._reactor, lambda user: self._backend.connect(user, question.client), self._host, recipient)
            return asked.addCallback(lambda answer: (question, answer))

        def answered(answers: list[tuple[Question, Answer]]) -> None:
            if asked_in != self._round:
                return
            self._asking = False
            if not self._stopped:
                self.heard([answer for _, answer in answers])
            if not self._stopped and asked_in == self._round:
                self._judge(answers)
                self._later()

        return gatherResults([about(question) for question in self._questions]).addCallback(answered)

    def _later(self) -> None:
        if self._stopped:
            return
        settled = self.standing is Standing.SERVE and not self._again
        if settled:
            self._tries = iter(ASK_AGAIN_SECONDS)
        seconds = self._settings.relay_check_interval if settled else next(self._tries, ASK_AGAIN_SECONDS[-1])
        self._timer = self._reactor.callLater(seconds, self._ask)

    # -- judging -----------------------------------------------------------------------------------

    def _judge(self, answers: list[tuple[Question, Answer]]) -> None:
        found = {answer.relaying for _, answer in answers}
        enforced = self._settings.relay_check == "enforce"
        for question, answer in answers:
            self._tell(question, answer, enforced)
        if self._safe or not enforced:
            self._set(Standing.SERVE)
        elif Relaying.RELAYS in found:
            self._set(Standing.RELAYS)
        elif Relaying.UNKNOWN in found:
            # Who was found not to relay is not turned away because one question in between went wrong,
            # unless the backend was away.
            if self.standing is not Standing.SERVE or any(answer.away for _, answer in answers):
                self._set(Standing.WAIT)
        else:
            self._set(Standing.SERVE)

    def _tell(self, question: Question, answer: Answer, enforced: bool) -> None:
        source = question.shown or answer.source
        backend = self._backend.endpoint
        if ":" in source and self._settings.backend.endpoint_ipv6 is not None:
            backend = self._settings.backend.endpoint_ipv6
        mail = f"mail from {source}" if source else "mail from the guard"
        priority = syslog.LOG_WARNING
        if answer.relaying is Relaying.REFUSES:
            text, priority = f"{backend} refuses to relay {mail}: {answer.said}", syslog.LOG_INFO
        elif self._safe and answer.relaying is Relaying.RELAYS:
            text = (
                f"{backend} would relay {mail} to anywhere, and `relay_domains` of the policy keeps outsiders from it"
            )
            priority = syslog.LOG_INFO
        elif answer.relaying is Relaying.RELAYS:
            text = (
                f"{backend} would relay {mail} to anywhere ({answer.said}), so that everybody "
                f"outside could send through it. {self._advice()}; or see --relay-check"
            )
            priority = syslog.LOG_CRIT if enforced else syslog.LOG_WARNING
        else:
            waits = enforced and not self._safe and (answer.away or self.standing is not Standing.SERVE)
            waiting = "clients get 421 until it answers" if waits else "serving all the same"
            keys = "backend.server_name and backend.ca" if answer.said.startswith("TLS: ") else _ABOUT_THE_QUESTION
            if answer.said.startswith(CANNOT_CONNECT) and "refused" in answer.said:
                keys = _ABOUT_THE_WAY
            text = f"{backend} gave no clear answer: {answer.said}; {waiting} (see {keys})"
        if self._said.get(question.shown) != text:  # a wait is told once, not at every try
            self._journal.service(f"relay check: {text}", priority)
        self._said[question.shown] = text

    def _advice(self) -> str:
        backend = self._settings.backend
        endpoint = parse_client(self._backend.endpoint)
        if backend.identity != "none":
            return (
                f"It was shown an outsider ({backend.identity}), so it relays for everybody, or does not look: "
                "with Postfix see mynetworks, with sendmail relay-domains and the access map; or set `relay_domains` "
                "in the policy"
            )
        if endpoint.kind == "unix":
            return "A unix socket says nothing of who the client is: connect to the server by tcp:"
        if endpoint.option("host", 0) == "::1":
            return "There is one IPv6 loopback address only: connect to 127.0.0.1, and set `bind`"
        used = backend.bind.get("default")
        if used is not None:
            return (
                f"It relays for {used}: look for `Connect:127 RELAY` in its access map (sendmail on Debian has it; "
                "write Connect:127.0.0.1), or take an address outside 127.0.0.0/8, as 198.18.0.25 added to lo"
            )
        return (
            "Give outsiders an address that it does not relay for: "
            "backend: {endpoint: ..., bind: {internal: 127.0.0.1, default: 127.0.0.25}}; "
            "or show it the client's own: identity: transparent; or set `relay_domains` in the policy"
        )

    def _set(self, standing: Standing) -> None:
        if standing is not self.standing:
            self.standing = standing
            self._changed(standing)
