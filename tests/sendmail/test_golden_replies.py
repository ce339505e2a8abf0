"""The reply profile `sendmail` and the privacy options, against a sendmail that has these options."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import pytest

from smtpguard.policy.reply_profiles import reply_for
from smtpguard.smtp.verbs import CORE, KNOWN_VERBS
from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.sendmail import RealSendmail

from .support import INSIDE, ConfiguredGuard, hello

SERVED = {"HELP", "ETRN"}
"""What sendmail goes on to answer under novrfy,noexpn; ETRN has an option of its own, below."""

REFUSED = sorted({verb.decode() for verb in KNOWN_VERBS - CORE} - SERVED | {"UNHEARD-OF"})

# VERB comes last: where it is allowed, sendmail puts lines between replies that are none.  Not more
# than five VRFY and EXPN a session: it makes the sixth wait.
CONVERSATIONS = (
    (
        *("VRFY george", "EXPN all", "ETRN x.test", "MAIL FROM:<a@b.example>", "RSET", "FOO"),
        *("HELO me.test", "MAIL FROM:<a@b.example>", "RSET", "VRFY george", "EXPN all", "VRFY", "QUIT"),
    ),
    (
        *("EHLO me.test", "EXPN nobody-of-that-name", "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>"),
        *("VRFY george", "RSET", "EXPN all", "ETRN x.test", "DEBUG", "NOOP", "VERB", "QUIT"),
    ),
)


def unquoted(reply: str) -> str:
    """Return a reply without the quotation of what it answers: the guard sends nothing of a client's back."""
    return reply.partition(': "')[0]


@pytest.fixture(scope="module")
def refusing(stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """A guard that refuses every verb that it has a refusal for, to everybody."""
    rules = {f"check_{verb.lower()}": [{"action": "reply"}] for verb in (*REFUSED, "etrn", "help")}
    text = json.dumps({"verbs": ["UNHEARD-OF"], "rulesets": rules})  # JSON is YAML
    with ConfiguredGuard(tmp_path_factory.mktemp("refusing"), (stock.address, stock.port), text) as running:
        yield running


@pytest.mark.parametrize("argument", ["", " george"])
@pytest.mark.parametrize("verb", REFUSED)
def test_the_refusal_is_what_sendmail_says(private: RealSendmail, refusing: Guard, verb: str, argument: str) -> None:
    with hello(private.port) as direct, hello(refusing.port) as guarded:
        real = direct.say(verb + argument)
        answer = guarded.say(verb + argument)
    assert real.startswith(("252 2.5.2 ", "500 5.", "502 5.")), "sendmail does not refuse it"
    assert answer == unquoted(real) == str(reply_for("sendmail", verb.encode()))


def test_etrn_is_refused_in_the_words_of_noetrn(refusing: Guard) -> None:
    with RealSendmail(privacy_options="noetrn") as server, hello(server.port) as direct:
        real = direct.say("ETRN x.test")
    with hello(refusing.port) as guarded:
        assert guarded.say("ETRN x.test") == real == str(reply_for("sendmail", b"ETRN"))


@pytest.mark.parametrize(
    "options",
    [
        ["novrfy", "noexpn"],
        ["noetrn"],
        ["needmailhelo"],
        ["needvrfyhelo"],
        ["needexpnhelo"],
        ["needvrfyhelo", "novrfy"],
        ["goaway"],
        ["goaway", "noetrn"],
        ["authwarnings", "noexpn", "novrfy"],
    ],
    ids=",".join,
)
def test_privacy_options_before_a_stock_sendmail_mean_what_they_mean_in_it(
    stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory, options: list[str]
) -> None:
    """Every reply of whole conversations is the same, the keywords of EHLO included."""
    folder = tmp_path_factory.mktemp("options")
    text = json.dumps({"privacy_options": options})
    with (
        RealSendmail(privacy_options=",".join(options)) as server,
        ConfiguredGuard(folder, (stock.address, stock.port), text) as guard,
    ):
        for commands in CONVERSATIONS:
            replies = [_said(port, commands) for port in (guard.port, server.port)]
            assert replies[0] == replies[1]


def _said(port: int, commands: Iterable[str]) -> list[tuple[str, str]]:
    """Return the commands with their replies, without quotations."""
    with Talk("127.0.0.1", port, INSIDE) as client:
        return [(command, unquoted(client.say(command))) for command in commands]
