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
    for said in cf.options.get("daemonportoptions", []):
        modifiers = next(
            (part.partition("=")[2].strip() for part in said.text.split(",") if part.strip()[:1].upper() == "M"), ""
        )
        for letter, what in _MODIFIERS.items():
            if letter in modifiers:
                remarks.tell(said.file, said.line, f"DaemonPortOptions {said.text}: {letter}", what)


_STANDARD: Final = ("check_relay", "check_mail", "check_rcpt")
_SETS_TOLD: Final = {
    "greet_pause": ("FEATURE(`greet_pause')", "see `early_input`"),
    "RateControl": ("FEATURE(`ratecontrol')", "see `limits` with `count: connections`"),
    "ConnControl": ("FEATURE(`conncontrol')", "see `limits` with `count: parallel`"),
}
_BLOCKLISTS: Final = ("dnsbl", "ednsbl")


def _tell_sets(cf: Cf, remarks: Remarks) -> None:
    """Tell what a .cf shows of the features that it was made with, and of rules in their place."""
    for name, (what, to_do) in _SETS_TOLD.items():
        if cf.rule_sets.get(name):
            remarks.tell(cf.file, cf.first_line[name], what, to_do)
    for name in _BLOCKLISTS:
        if name in cf.maps:
            to_do = "it needs the client's address: keep it in sendmail behind a transparent guard"
            remarks.tell(cf.file, cf.maps[name].line, f"map {name} asks a blocklist of DNS's", to_do)
    for name in _STANDARD:
        if cf.rule_sets.get(name) and f"Basic_{name}" not in cf.rule_sets:
            what = f"rule set {name} is not sendmail's own, and is not carried over"
            remarks.tell(cf.file, cf.first_line[name], what, verbatim(cf, name))
    if "Basic_check_rcpt" in cf.rule_sets and "Relay_ok" not in cf.rule_sets:
        what = "there is no Relay_ok, as with FEATURE(`promiscuous_relay'): an OPEN RELAY"
        remarks.tell(cf.file, cf.first_line["Basic_check_rcpt"], what, "not carried over")


_MODIFIERS: Final = {
    "a": "AUTH is asked for on this port: a rule for MAIL with `listener` and `authenticated: false`",
    "E": "ETRN is off on this port: a rule for ETRN with `listener`",
    "s": "TLS from the first octet: a listener of its own (docs/tls.md)",
    "f": "FQDN is asked for: sendmail goes on doing it",
}
