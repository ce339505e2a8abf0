"""A host name in a log line, from a real name server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.wait import wait_until

SERVER = "127.0.0.153"
ZONES = {
    "arpa": """
zone = [
    SOA('127.in-addr.arpa', mname='ns.example.org', rname='x.example.org', serial=1, refresh=60, minimum=60,
        expire=60, retry=60, ttl=60),
    PTR('5.0.0.127.in-addr.arpa', 'there.example.org'),
    PTR('6.0.0.127.in-addr.arpa', 'liar.example.org'),
]
""",
    "org": """
zone = [
    SOA('example.org', mname='ns.example.org', rname='x.example.org', serial=1, refresh=60, minimum=60,
        expire=60, retry=60, ttl=60),
    A('there.example.org', '127.0.0.5'),
    A('liar.example.org', '192.0.2.1'),
]
""",
}


@pytest.fixture
def name_server(tmp_path: Path) -> Iterator[str]:
    """Run Twisted's name server on port 53 of a loopback address."""
    command = [sys.executable, "-m", "twisted", "dns", "--interface", SERVER, "--port", "53"]
    for name, zone in ZONES.items():
        path = tmp_path / name
        path.write_text(zone, "ascii")
        command += ["--pyzone", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            port = f"{int.from_bytes(bytes(map(int, SERVER.split('.'))), 'little'):08X}:0035"
            wait_until(lambda: port in Path("/proc/net/udp").read_text("ascii"), "the name server to listen")
            yield SERVER
        finally:
            server.terminate()


def test_the_log_names_who_has_a_name_and_nobody_else(name_server: str, tmp_path: Path) -> None:
    """Confirmed forwards; the unconfirmed stands in brackets."""
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"listen: tcp:25\nbackend: tcp:127.0.0.1:9\ndns: {{servers: [{name_server}]}}\n", "ascii")
    policy = "rulesets: {check_vrfy: [{action: reply}]}"
    with Guard(("127.0.0.1", 9), policy, extra_args=["--config", str(settings)]) as guard:
        for source in ("127.0.0.5", "127.0.0.6"):
            with Talk("127.0.0.1", guard.port, source=source, greet=False) as client:
                assert client.rest().startswith(b"421 4.3.2 ")
        guard.wait_line(r"\w{14}: there\.example\.org \[127\.0\.0\.5\]: mail server: cannot connect")
        guard.wait_line(r"\w{14}: \[127\.0\.0\.6\]: mail server: cannot connect")
