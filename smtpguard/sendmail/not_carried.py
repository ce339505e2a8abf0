"""What of a sendmail.cf no policy has: it is told, and what there is in its place.

Contract: tells, and changes nothing.
"""

from __future__ import annotations

from typing import Final

from .cf_file import Cf
from .told import Remarks

_SHOWN_RULES: Final = 12


def verbatim(cf: Cf, name: str) -> str:
    """Return a rule set as it stands there, with what to do about it."""
    lines = [rule.text for rule in cf.rule_sets[name]]
    more = " ..." if len(lines) > _SHOWN_RULES else ""
    return "write it by hand; it is " + " / ".join(f"`{one}`" for one in lines[:_SHOWN_RULES]) + more


_TOLD: Final = {
    "SmtpGreetingMessage": "the server's banner is passed on; see `banner`",
    "BadRcptThrottle": "sendmail goes on doing it; see `limits` with `count: recipients`",
    "ConnectionRateThrottle": "it counts all clients together, and behind a guard all come at once; see `limits`",
    "MaxDaemonChildren": "see `limits.sessions` in the settings",
    "MaxMessageSize": "sendmail goes on doing it, and says so in its EHLO reply",
    "MaxRecipientsPerMessage": "sendmail goes on doing it",
    "MaxNOOPCommands": "see `budgets`",
    "InputMailFilters": "filters need the client's address: keep them behind a transparent guard",
}
_STOCK: Final = {
    "badrcptthrottle": "0",
    "maxdaemonchildren": "0",
    "connectionratethrottle": "0",
    "maxmessagesize": "0",
    "maxrecipientspermessage": "0",
}


def tell_rest(cf: Cf, remarks: Remarks) -> None:
    """Tell what of options, features and standard rule sets is not carried over."""
    _tell_sets(cf, remarks)
    for name, to_do in _TOLD.items():
        said = cf.option(name)
        if said is not None and said.text and said.text != _STOCK.get(name.lower()):
            remarks.tell(said.file, said.line, f"{name}={said.text}", to_do)


_STANDARD: Final = ("check_relay", "check_mail", "check_rcpt")
_SETS_TOLD: Final = {
    "greet_pause": ("FEATURE(`greet_pause')", "see `early_input`"),
    "RateControl": ("FEATURE(`ratecontrol')", "see `limits` with `count: connections`"),
    "ConnControl": ("FEATURE(`conncontrol')", "see `limits` with `count: parallel`"),
    "Delay_TLS_Clt": ("FEATURE(`delay_checks')", "clients that are refused are so at RCPT"),
}
_BLOCKLISTS: Final = ("dnsbl", "ednsbl", "mtamark")
_RULES_TOLD: Final = (
    (
        "Basic_check_relay",
        "Fix reverse DNS",
        "require_rdns",
        "who has no name in DNS is refused: keep it in sendmail behind a transparent guard",
    ),
    ("Rcpt_ok", "$=m", "relay_entire_domain", "who and what is in the own domain (class m): name the domain"),
    ("Rcpt_ok", "$(mxserved", "relay_based_on_MX", "domains whose MX is this host: name them"),
    ("Rcpt_ok", "$(bestmx", "bestmx_is_local", "domains whose best MX is this host: name them"),
    ("Relay_ok", "$&f", "relay_mail_from", "who says that he is a sender of this site: anybody can"),
    ("Relay_ok", "$(drac", "drac", "who has fetched mail before: use AUTH"),
)
"""By what a rule has in it; those that open in sendmail stay closed in the policy, and mail would be missed."""


def _tell_sets(cf: Cf, remarks: Remarks) -> None:
    """Tell what a .cf shows of the features that it was made with, and of rules in their place."""
    for name, (what, to_do) in _SETS_TOLD.items():
        if cf.rule_sets.get(name):
            remarks.tell(cf.file, cf.first_line[name], what, to_do)
    for name in _BLOCKLISTS:
        if name in cf.maps:
            to_do = "it needs the client's address: keep it in sendmail behind a transparent guard"
            remarks.tell(cf.file, cf.maps[name].line, f"map {name} asks a blocklist of DNS's", to_do)
    for name, mark, feature, what in _RULES_TOLD:
        rule = next((one for one in cf.rule_sets.get(name, ()) if mark in f"{one.left} {one.right}"), None)
        if rule is not None:
            remarks.tell(cf.file, rule.line, f"FEATURE(`{feature}') is not carried over", what)
    for name in _STANDARD:
        if cf.rule_sets.get(name) and f"Basic_{name}" not in cf.rule_sets:
            what = f"rule set {name} is not sendmail's own, and is not carried over"
            remarks.tell(cf.file, cf.first_line[name], what, verbatim(cf, name))
    if "Basic_check_rcpt" in cf.rule_sets and "Relay_ok" not in cf.rule_sets:
        what = "there is no Relay_ok, as with FEATURE(`promiscuous_relay'): an OPEN RELAY"
        remarks.tell(cf.file, cf.first_line["Basic_check_rcpt"], what, "not carried over")
