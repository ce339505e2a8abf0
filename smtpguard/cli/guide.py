"""What `smtpguard --help` tells: the commands in the order of a site's life, a line for each, examples, first steps.

Contract: constants.  Every command has its line and its examples here (tests/cli/test_help.py), so that the help of the
program imports none of them, and the man pages (smtpguard.cli.manual) tell the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

GROUPS: Final[dict[str, dict[str, str]]] = {
    "Serve": {
        "run": "Serve clients, in front of a mail server.",
        "demo": "See it work: a mail server of its own, two dialogues; no root.",
    },
    "Before it acts": {
        "check": "Find every fault in settings and policy; run the policy's tests.",
        "explain": "Ask what happens to a line or a session, and by which rule.",
        "replay": "Run recorded traffic against a policy; compare two policies.",
        "report": "Tell what rules in shadow would have refused, and to whom.",
    },
    "From and to sendmail": {
        "setup": "Put the guard in front of sendmail, or take it away again.",
        "import-sendmail": "Write the policy that a sendmail's files amount to.",
        "export-sendmail": "Write a policy as rule sets for sendmail.mc.",
    },
    "While it runs": {
        "status": "Tell whether it is ready, and what it is doing.",
        "incidents": "Tell who has probed, and what was tried.",
        "bans": "Tell who is banned, or lift a ban.",
    },
    "From outside": {
        "audit": "Show what an outsider sees of a mail server; delivers no mail.",
    },
    "For editors": {
        "schema": "Print the JSON Schema of settings or policy.",
    },
}
"""By title: the commands, each with one line."""

FIRST_STEPS: Final = (
    ("smtpguard demo", "see it work"),
    ("smtpguard check --policy internal-vrfy", "a shipped policy"),
    ('smtpguard explain --from 203.0.113.9 "VRFY root"', "what it does"),
    ("smtpguard setup sendmail --dry-run", "for your own"),
)
"""What to do first, with what for."""

_CONFIG: Final = "--config /etc/smtpguard/smtpguard.yaml"
EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "run": (
        f"smtpguard run {_CONFIG}",
        "smtpguard run --listen tcp:2600:interface=127.0.0.1 --backend tcp:127.0.0.1:2525 --relay-check warn",
    ),
    "demo": ("smtpguard demo --once",),
    "check": (f"smtpguard check {_CONFIG}", "smtpguard check --policy perimeter"),
    "explain": (
        'smtpguard explain --from 203.0.113.9 "VRFY root"',
        f'smtpguard explain {_CONFIG} --from 203.0.113.9 --tls "EXPN staff"',
    ),
    "replay": (
        "smtpguard replay smtp.pcap --policy no-vrfy --only-changes",
        "smtpguard replay session.txt --from 203.0.113.9",
    ),
    "report": (f"smtpguard report {_CONFIG} --since 7d",),
    "setup": (
        "smtpguard setup sendmail --dry-run",
        "smtpguard setup sendmail --apply",
        "smtpguard setup sendmail --undo",
    ),
    "import-sendmail": ("smtpguard import-sendmail --output policy.yaml",),
    "export-sendmail": ("smtpguard export-sendmail --policy internal-vrfy",),
    "status": ("smtpguard status", "smtpguard status --json"),
    "incidents": ("smtpguard incidents --since 7d", "smtpguard incidents --open"),
    "bans": ("smtpguard bans --all", "smtpguard bans lift 192.0.2.7"),
    "audit": ("smtpguard audit mx.example.org",),
    "schema": ("smtpguard schema policy",),
}
"""By command: what may be typed as it stands; tests/documented runs them."""

PAGES: Final = "smtpguard(8), smtpguard.yaml(5), smtpguard-policy(5)"


def lines() -> Iterator[tuple[str, str]]:
    """Yield every command with its line, in order."""
    for commands in GROUPS.values():
        yield from commands.items()


def epilog(name: str) -> str:
    """Return what stands below a command's help, in click's form; empty if there is nothing."""
    typed = EXAMPLES.get(name, ())
    return "\b\n" + "\n".join(["Examples:", *(f"  {one}" for one in typed)]) if typed else ""
