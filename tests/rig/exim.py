"""A real Exim, out of the unpacked Debian package exim4-daemon-light."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .unpacked import DOMAINS, HOST_NAME, Account, UnpackedServer

_EXIM: Final = Account("Debian-exim", 60111, "/var/spool/exim4")

_SETTINGS: Final = """\
primary_hostname = {host}
qualify_domain = {host}
domainlist local_domains = {domains}
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
daemon_startup_retries = 0
recipient_unqualified_hosts = *
acl_smtp_vrfy = accept
acl_smtp_expn = accept
acl_smtp_rcpt = recipients
acl_smtp_data = accept
chunking_advertise_hosts = *
tls_advertise_hosts =
# No name server and no ident.
host_lookup =
rfc1413_hosts =
dns_ipv4_lookup =
# No pauses and no bounds for a client that makes many mistakes on many connections.
smtp_accept_max = 0
smtp_accept_max_nonmail = 10000
smtp_accept_queue_per_connection = 0
smtp_max_synprot_errors = 10000
smtp_max_unknown_commands = 10000
never_users =
keep_environment =
log_file_path = /var/log/exim4/%slog

begin acl
recipients:
  accept domains = +local_domains
  deny message = relay not permitted

begin routers
# Of the aliases only the lists: other mail goes to whom it is addressed to.
lists:
  driver = redirect
  domains = +local_domains
  local_parts = list : all
  data = ${{lookup{{$local_part}}lsearch{{/etc/aliases}}}}
everybody:
  driver = accept
  domains = +local_domains
  transport = rig

begin transports
rig:
  driver = pipe
  command = /deliver-exim $pipe_addresses
  user = nobody
  group = nogroup
  batch_max = 1000
  message_prefix =
  message_suffix =
  home_directory = /
  current_directory = /

begin retry
* * F,1h,1m
"""

_READ: Final = re.compile(r" *\d+ SMTP<< (?P<line>.*)", re.DOTALL)


class RealExim(UnpackedServer):
    """Exim as stock, but that it offers CHUNKING, VRFY and EXPN to everybody."""

    name = "exim"
    package = "exim4-daemon-light"
    tells = re.compile(rb"CANARY|is deliverable")
    ended = re.compile(r"Exim pid=\d+ \(daemon-accept\) terminating")
    accounts = (_EXIM,)

    def configure(self, root: Path) -> None:
        """Write exim4.conf, and make the spool."""
        etc = root / "etc/exim4"
        etc.mkdir()
        (etc / "exim4.conf").write_text(
            _SETTINGS.format(host=HOST_NAME, domains=" : ".join((*DOMAINS, "localhost")), port=self.port)
        )
        # In a command line it takes no text from outside but the recipients.
        mailer = root / "deliver-exim"
        mailer.write_text('#!/bin/sh\nexec /deliver "$SENDER" "$@"\n')
        mailer.chmod(0o755)
        for name in ("var/spool/exim4", "var/log/exim4", "run/exim4"):
            path = root / name
            path.mkdir(mode=0o750)
            os.chown(path, _EXIM.number, _EXIM.number)

    def command(self) -> Sequence[str]:
        """Return the command of the daemon, which tells on stderr what it reads."""
        return ["/usr/sbin/exim4", "-bdf", "-d-all+receive+pid"]

    def records(self) -> list[str]:
        """Return what it has written to stderr."""
        return self.stderr_lines()

    def command_in(self, record: str) -> str | None:
        """Return what such a line says that it has read."""
        match = _READ.fullmatch(record)
        return match["line"] if match is not None else None
