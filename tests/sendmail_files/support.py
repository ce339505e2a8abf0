"""What the tests of this folder share: conversions in one step, and clients that ask from an address."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from smtpguard.sendmail import importing, sources, writing
from smtpguard.sendmail.exporting import Exported, exported
from smtpguard.sendmail.told import Remarks
from tests.rig.client import Talk
from tests.rig.hosts import Host
from tests.rig.sendmail import AUTH_PASSWORD, AUTH_USER

ADDRESSES = ("127.0.0.1", "10.20.30.40", "192.0.2.70", "192.0.2.130", "::1", "2001:db8::7", "2001:db8:8000::7")
"""Of the host that the tests talk in: who connects to one of them comes from it."""

_ECHO = re.compile(r"^(\d{3} \d\.\d\.\d )<[^>]*>\.\.\. ")
_MC = "divert(0)dnl\ninclude(`/usr/share/sendmail/cf/m4/cf.m4')dnl\nOSTYPE(`debian')dnl\n"


def export(folder: Path, policy: str) -> Exported:
    """Write a policy as rule sets."""
    path = folder / "exported.yaml"
    path.write_text(policy, "utf-8")
    return exported(str(path))


def cf_of(folder: Path, fragment: str, *, warns: bool = False) -> Path:
    """Put a fragment through m4, with sendmail's own macros; return the .cf."""
    source = folder / "made.mc"
    source.write_text(f"{_MC}{fragment}MAILER(`local')dnl\nMAILER(`smtp')dnl\n", "utf-8")
    made = subprocess.run(["m4", source.name], cwd=folder, capture_output=True, check=True)
    assert bool(made.stderr) is warns, made.stderr
    path = folder / "made.cf"
    path.write_bytes(made.stdout)
    return path


def import_files(*, named: bool = True, **files: Path) -> tuple[str, list[str]]:
    """Return the policy that files amount to, and what is told; `named` is as for `importing.imported`."""
    remarks = Remarks()
    gathered = sources.gathered(remarks, **{key: str(path) for key, path in files.items()})
    text = writing.written(importing.imported(gathered, remarks, named=named))
    return text, [str(one) for one in remarks.found]


def ask_from(host: Host, address: str, port: int, commands: Sequence[str]) -> list[str]:
    """Say commands from an address, in one session, which goes on until it is closed; return the replies.

    sendmail puts the address in front of what it says to MAIL and RCPT; the guard repeats nothing, so here that is
    left out.
    """
    replies = []
    with host.talk(address, port) as client:
        for command in commands:
            replies.append(_ECHO.sub(r"\1", _asked(client, command)))
    return replies


def _asked(client: Talk, command: str) -> str:
    if command == "AUTH":
        secret = base64.b64encode(f"\0{AUTH_USER}\0{AUTH_PASSWORD}".encode()).decode()
        return client.say(f"AUTH PLAIN {secret}")
    if command.startswith("EHLO"):
        return client.say(command)[:3]  # what is offered is not what is asked here
    return client.say(command)
