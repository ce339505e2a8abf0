"""Every transcript in tests/transcripts, with segments as written and with segments of one octet.

A transcript is read from top to bottom.  `C>` the client sends, `B<` the backend sends; `B>` the
backend must now have got, `C<` the client must now have got, both exactly and no more.  A line ends in
CRLF unless its last character is `\\`; escapes are those of Python.  `= close`, `= abort` and `= open`
say what has become of the session; `! WHAT` makes something happen: finish (the client half-closes),
lost, backend-lost, unreachable, timeout, delay-over, drain, stop, or `tls [NAMES]` (the handshake is done,
and these are in the client's certificate).  `= wait SECONDS` says what the last delay asked for, `= tls`
that the handshake is to begin, `= log WORDS` what the last note for the log is.  `@ from ADDRESS`, `@ policy
NAME`, `@ profile NAME`, `@ chunking forward` and `@ starttls offered|passed` stand at the top; policies are
those of POLICIES below or shipped ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from smtpguard.config import policy_file
from smtpguard.policy.rules import Policy
from smtpguard.smtp.terms import StartTls

from .table import OUTSIDE, Split, Table, each_octet, perimeter, policy, whole

FOLDER = Path(__file__).parents[1] / "transcripts"

POLICIES = {
    "none": "rulesets: {}",
    "declared": "verbs: [vrfyx]\nrulesets: {}",
    "delay": "rulesets: {check_vrfy: [{action: reply, delay: 5}], check_noop: [{action: forward, delay: 3}]}",
    "close": "rulesets: {check_debug: [{action: close}], check_wiz: [{action: close, reply: 554 5.7.1 Go away}]}",
    "banner": "banner: mx.example.org ESMTP\nrulesets: {check_bdat: [{action: close}]}",
    "auth": (
        "rulesets:\n  check_etrn: [{authenticated: true, action: forward}, {action: reply}]\n"
        "  check_expn: [{authenticated: false, action: reply}]\n  check_verb: [{argument: 'on*', action: reply}]\n"
        "  check_help: [{esmtp: false, action: reply}, {argument: '*', action: reply}]"
    ),
    "normalize": (
        "networks: {internal: [127.0.0.1/32], printers: [192.0.2.0/24]}\n"
        "bare_newline: {printers: normalize, internal: reject}\nrulesets: {check_vrfy: [{action: reply}]}"
    ),
    "early": "networks: {internal: [127.0.0.1/32]}\nearly_input: {default: reject, internal: hold}\nrulesets: {}",
    "budgets": "budgets: {vrfy: 2, bad: 3, etrn: 1, noop: 1}\nnetworks: {internal: [127.0.0.1/32]}\n"
    "rulesets: {check_vrfy: [{action: reply}], check_expn: [{action: reply}], check_etrn: [{action: reply}], "
    "check_noop: [{action: reply, reply: 250 ok}], check_rcpt: [{action: reply}]}",
    "tls": "rulesets:\n  check_expn: [{tls: true, action: forward}, {action: reply}]\n"
    "  check_etrn: [{tls_name: '*.PARTNER.example', action: forward}, {action: reply}]",
    "slow-tls": "rulesets: {check_starttls: [{action: forward, delay: 5}]}",
    "slow-noop": "rulesets: {check_noop: [{action: forward, delay: 3}]}",
    "no-tls": "rulesets: {check_starttls: [{action: reply, reply: 502 5.7.0 Not from you}]}",
    "auth-in-tls": "auth: {require_tls: true}",
    "auth-failed": "rulesets: {check_auth: [{auth_failed: true, action: close}]}",
    "no-data": "rulesets: {check_data: [{action: reply}], check_auth: [{action: reply}]}",
}

EVENTS = {
    "finish": "client_finished",
    "lost": "client_lost",
    "backend-lost": "backend_lost",
    "unreachable": "backend_unreachable",
    "timeout": "timed_out",
    "delay-over": "delay_over",
    "drain": "drain",
    "stop": "stop",
}


def transcripts() -> list[tuple[str, list[str]]]:
    """Return (name, lines) of every transcript; a file holds several, each under a `# name` line."""
    found: list[tuple[str, list[str]]] = []
    for path in sorted(FOLDER.glob("*.txt")):
        for line in path.read_text("ascii").splitlines():
            if line.startswith("# "):
                found.append((f"{path.stem}: {line[2:]}", []))
            elif line.strip():
                found[-1][1].append(line)
    return found


def octets_of(text: str) -> bytes:
    """Return the octets of a transcript line."""
    more = text.endswith("\\") and not text.endswith("\\\\")
    text = text[:-1] if more else text
    return text.encode("ascii").decode("unicode_escape").encode("latin-1") + (b"" if more else b"\r\n")


def find_policy(name: str) -> Policy:
    if name == "perimeter":
        return perimeter()
    if name in POLICIES:
        return policy(POLICIES[name])
    return policy_file.load(policy_file.find(name)).policy


class Player:
    """Plays one transcript."""

    def __init__(self, lines: list[str], split: Split) -> None:
        self._lines = lines
        self._split = split
        options = dict(line[2:].split(" ", 1) for line in lines if line.startswith("@ "))
        self.table = Table(
            find_policy(options.get("policy", "perimeter")),
            options.get("from", OUTSIDE),
            profile=options.get("profile", "default"),
            chunking=options.get("chunking") == "forward",
            starttls=StartTls(options.get("starttls", "hidden")),
        )
        self._handshakes = 0

    def play(self) -> None:
        at = 0
        while at < len(self._lines):
            sign = self._lines[at][:2]
            end = at
            while end < len(self._lines) and self._lines[end][:2] == sign:
                end += 1
            group = [line[3:] for line in self._lines[at:end]] if sign != "! " else [self._lines[at][2:]]
            if sign == "! ":
                end = at + 1
            if sign in ("C>", "B<", "! "):
                self._nothing_unexpected(self._lines[at])
            self._do(sign, group, self._lines[at])
            at = end
        self._nothing_unexpected("the end")

    def _do(self, sign: str, group: list[str], line: str) -> None:
        octets = b"" if sign in ("! ", "= ", "@ ") else b"".join(map(octets_of, group))
        match sign:
            case "C>":
                for segment in self._split(octets):
                    self.table.client(segment)
            case "B<":
                for segment in self._split(octets):
                    self.table.backend(segment)
            case "C<":
                assert self.table.take_client() == octets
            case "B>":
                assert self.table.take_backend() == octets
            case "! " if group[0].split()[0] == "tls":
                self.table.perform(self.table.dialogue.tls_established(frozenset(group[0].split()[1:])))
            case "! ":
                self.table.perform(getattr(self.table.dialogue, EVENTS[group[0]])())
            case "= " if line == "= tls":
                self._handshakes += 1
                assert self.table.tls_begun == self._handshakes
                assert self.table.dialogue.phase.value == "tls"
            case "= " if line.startswith("= log "):
                assert line[6:] in str(self.table.notes[-1])
            case "= " if line.startswith("= wait "):
                assert self.table.waits[-1] == float(line[7:])
                assert self.table.dialogue.phase.value == "delayed"
            case "= ":
                assert self._state() == line[2:]
            case _:
                assert sign == "@ ", line

    def _state(self) -> str:
        if self.table.closed is None:
            return "open"
        return "abort" if self.table.closed.abort_backend else "close"

    def _nothing_unexpected(self, before: str) -> None:
        assert (self.table.take_client(), self.table.take_backend()) == (b"", b""), f"before {before!r}"


@pytest.mark.parametrize("split", [whole, each_octet])
@pytest.mark.parametrize(("name", "lines"), transcripts(), ids=[name for name, _ in transcripts()])
def test_the_dialogue_is_the_one_written_down(name: str, lines: list[str], split: Split) -> None:
    """The transcripts are the specification of what either side sees."""
    Player(lines, split).play()


def test_a_transcript_that_is_wrong_fails() -> None:
    """The player must be able to say no."""
    greeting = ["B< 220 hi", "C< 220 hi"]
    for wrong in (["C> NOOP", "B> QUIT"], ["C> NOOP"], ["C> VRFY x", "C< 250 ok"], ["= close"]):
        with pytest.raises(AssertionError):
            Player([*greeting, *wrong], whole).play()
