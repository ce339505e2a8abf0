"""The machines on which the commands of the docs are run."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from .machine import Machine
from .pages import text
from .reading import blocks

LIMIT = "limits: {scanners: {count: probes, rate: 3/hour, except: [198.51.100.0/24], then: [{ban: 1 hour}]}}"
"""So that there is somebody to let off; not for the machine itself, which asks itself what an outsider sees."""


@pytest.fixture(scope="session")
def served() -> Iterator[Machine]:
    """A machine on which somebody has followed the README: sendmail moved away, a guard before it, under systemd."""
    with Machine(clients=["192.0.2.7"]) as machine:
        _move_sendmail(machine)
        settings = next(b.text for b in blocks(text("README.md")) if b.language == "yaml" and "listen:" in b.text)
        machine.must("mkdir -p /etc/smtpguard && cp policies/internal-vrfy.yaml /etc/smtpguard/policy.yaml")
        machine.must(f"echo '{LIMIT}' >>/etc/smtpguard/policy.yaml")
        machine.write("/etc/smtpguard/smtpguard.yaml", settings)
        machine.must("cp systemd/smtpguard.service /etc/systemd/system/ && systemctl enable --now smtpguard")
        yield machine


def _move_sendmail(machine: Machine) -> None:
    """Do what step 2 of the README says, with its own words."""
    page = text("README.md")
    (options,) = re.findall(r"``(DAEMON_OPTIONS\(`Family=inet, Name=MTA-v4.*?)``", page)
    assert "`Connect:127 RELAY` to `Connect:127.0.0.1 RELAY`" in " ".join(page.split())
    script = (
        f"import re; p = '/etc/mail/sendmail.mc'; t = open(p).read()\n"
        f"t, n = re.subn(r'(?m)^DAEMON_OPTIONS.*Port=smtp.*$', lambda _: {options!r}, t); assert n == 1\n"
        "open(p, 'w').write(t); p = '/etc/mail/access'; t = open(p).read()\n"
        r"t, n = re.subn(r'(?m)^Connect:127\s+RELAY$', 'Connect:127.0.0.1 RELAY', t); assert n == 1" + "\n"
        "open(p, 'w').write(t)\n"
    )
    machine.write("/tmp/move.py", script)
    machine.must("python3 /tmp/move.py && make -C /etc/mail && systemctl restart sendmail")
