"""A policy that becomes rule sets, a sendmail.cf and a policy again judges as it did."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from smtpguard.config import policy_file, yaml_reader
from smtpguard.policy.decision import decide
from smtpguard.policy.networks import Peer
from smtpguard.policy.rules import Policy
from smtpguard.smtp.answers import Closing
from smtpguard.smtp.verdict import Facts

from .support import cf_of, export, import_files

NETWORKS = {
    "internal": ["127.0.0.0/8", "10.16.0.0/12", "::1/128"],
    "upper": ["192.0.2.128/25", "2001:db8:8000::/33"],
    "many": [f"10.{a}.{b}.64/26" for a in range(9) for b in range(0, 250, 9)],
}
ADDRESSES = (
    *("127.0.0.1", "10.16.0.1", "10.32.0.1", "10.3.9.65", "10.3.9.63", "192.0.2.127", "192.0.2.128", "203.0.113.9"),
    *("::1", "::2", "2001:db8:8000::1", "2001:db8:7fff::1"),
)
COMMANDS = ("VRFY george", "VRFY <george@x.test>", "EXPN all", "ETRN example.org", "MAIL FROM:<a@b.example>", "DATA")
REPLIES = ("550 5.7.1 No", "450 4.7.1 it's `later' # (dnl) shift", "252 2.5.2 perhaps", "502 5.7.0 <not>")

WORDS = st.lists(st.sampled_from([*NETWORKS, "203.0.113.9", "198.51.100.0/22"]), min_size=1, max_size=2, unique=True)


@st.composite
def rules(draw: st.DrawFn, verb: str) -> dict[str, Any]:
    """Return a rule of the part of the language that sendmail's rule sets have."""
    rule: dict[str, Any] = {}
    asked = verb in ("vrfy", "expn", "etrn")
    for key, values in (
        ("from", WORDS),
        ("from_not", WORDS),
        ("authenticated", st.booleans()),
        ("tls", st.booleans()),
        ("listener", st.just(["out*side"])),
        ("argument", st.sampled_from([["geo*"], ["al?", "<*@x.test>"], ["a^$#\\|(b)"]])),
    ):
        if draw(st.integers(0, 3)) == 0 and (asked or key != "argument"):
            rule[key] = draw(values)
    replies = [one for one in REPLIES if asked or one[0] != "2"]
    action = draw(st.sampled_from(["forward", "reply", *replies] if asked else ["forward", *replies]))
    return rule | ({"action": action} if action in ("forward", "reply") else {"reply": action})


@st.composite
def policies(draw: st.DrawFn) -> str:
    """Return a policy."""
    sets = {}
    for verb in draw(st.sets(st.sampled_from(["vrfy", "expn", "etrn", "mail", "data"]), min_size=1)):
        last = [] if verb in ("mail", "data") else [{"action": draw(st.sampled_from(["reply", "forward"]))}]
        sets[f"check_{verb}"] = draw(st.lists(rules(verb), min_size=1, max_size=3)) + last
    whole: dict[str, Any] = {"networks": NETWORKS, "rulesets": sets}
    if not {"check_vrfy", "check_mail"} & set(sets):
        whole["privacy_options"] = draw(st.sampled_from([["novrfy"], ["needmailhelo", "needvrfyhelo"]]))
    return yaml.safe_dump(whole)


def judged(policy: Policy) -> dict[tuple[str, str, Facts, str], str]:
    """Return what the policy says in many cases."""
    facts = [
        Facts(greeted=True, esmtp=True, tls=tls, authenticated=auth) for tls in (True, False) for auth in (True, False)
    ]
    facts.append(Facts())
    return {
        (address, command, fact, listener): str(
            decide(policy, Peer.parse(address), command.encode(), Closing("here"), fact, listener)
        )
        for address in ADDRESSES
        for command in COMMANDS
        for fact in facts
        for listener in ("out*side", "inside")
    }


def load(text: str) -> policy_file.PolicyFile:
    """Read a policy."""
    return policy_file.build(yaml_reader.read(text, "policy.yaml"))


# Without shrinking: each example runs m4.
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(policies())
def test_a_policy_that_went_through_a_sendmail_cf_judges_as_before(policy: str) -> None:
    """m4 and sendmail's own macros are between."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = export(folder, policy)
        assert all("listener" in one.text for one in found.remarks), found.remarks
        back, told = import_files(cf=cf_of(folder, found.text))
    assert not [one for one in told if "check_" in one], told
    again = load(back)
    assert not [*again.failures()]
    assert judged(again.policy) == judged(load(policy).policy)


@pytest.mark.parametrize(
    ("edited", "into"),
    [("|192", "|193"), ("$: NO $)", "$: YES $)"), ("#= 10", "#= 11"), ("$&{client_addr}", "$&{client_name}")],
)
def test_rule_sets_that_were_edited_after_the_export_are_told_and_not_guessed(
    edited: str, into: str, tmp_path: Path
) -> None:
    """The comment above a map is believed only if it makes the same pattern again."""
    policy = (
        "networks: {here: [10.0.0.0/9, 192.0.2.64/26]}\nrulesets:\n"
        "  check_vrfy: [{from: here, action: forward}, {action: reply}]\n"
    )
    cf = cf_of(tmp_path, export(tmp_path, policy).text)
    text = cf.read_text("latin-1")
    assert edited in text
    cf.write_text(text.replace(edited, into), "latin-1")
    back, told = import_files(cf=cf)
    assert any("check_vrfy is not carried over" in one for one in told)
    assert yaml.safe_load(back)["rulesets"]["check_vrfy"] == [{"action": "reply"}]
