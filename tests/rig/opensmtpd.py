"""A real OpenSMTPD, out of the unpacked Debian package opensmtpd."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .unpacked import DOMAINS, HOST_NAME, Account, UnpackedServer

_SMTPD: Final = Account("opensmtpd", 60121, "/var/lib/opensmtpd/empty")
_QUEUE: Final = Account("opensmtpq", 60122)

_SETTINGS: Final = """\
table everybody {{ "@" = nobody }}
listen on 127.0.0.1 port {port} hostname {host}
action rig mda "/deliver '%{{sender}}' '%{{rcpt}}'" virtual <everybody>
match from any for domain {{ {domains} }} action rig
"""

_READ: Final = re.compile(r"smtp: 0x[0-9a-f]+: <<< (?P<line>.*)", re.DOTALL)


class RealOpenSmtpd(UnpackedServer):
    """OpenSMTPD as stock; it tells no names."""

    name = "opensmtpd"
    package = "opensmtpd"
    tells = re.compile(rb"CANARY")
    ended = re.compile(r" smtp disconnected ")
    accounts = (_SMTPD, _QUEUE)

    def configure(self, root: Path) -> None:
        """Write smtpd.conf, and make the directory that it changes its root to."""
        (root / "etc/smtpd.conf").write_text(
            _SETTINGS.format(host=HOST_NAME, domains=", ".join(DOMAINS), port=self.port)
        )
        (root / "var/lib/opensmtpd/empty").mkdir(mode=0o755, parents=True)

    def command(self) -> Sequence[str]:
        """Return the command of its first process, which tells on stderr what it reads."""
        return ["/usr/sbin/smtpd", "-d", "-T", "smtp"]

    def records(self) -> list[str]:
        """Return what it has written to stderr."""
        return self.stderr_lines()

    def command_in(self, record: str) -> str | None:
        """Return what such a line says that it has read."""
        match = _READ.match(record)
        return match["line"] if match is not None else None
