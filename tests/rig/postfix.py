"""A real Postfix, out of the unpacked Debian package postfix."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .unpacked import DOMAINS, HOST_NAME, Account, UnpackedServer

_POSTFIX: Final = Account("postfix", 60101, "/var/spool/postfix")
_POSTDROP: Final = Account("postdrop", 60102)

_SETTINGS: Final = {
    "compatibility_level": "3.6",
    "mail_owner": _POSTFIX.name,
    "setgid_group": _POSTDROP.name,
    "myhostname": HOST_NAME,
    "mydestination": ", ".join((*DOMAINS, "localhost")),
    "inet_protocols": "ipv4",
    # Every recipient is known, and nobody may relay.
    "local_recipient_maps": "",
    "local_transport": "rig",
    "rig_destination_recipient_limit": "1000",
    "null_sender": "",
    "mynetworks": "192.0.2.0/24",
    "alias_maps": "",
    "alias_database": "",
    # No name server.
    "disable_dns_lookups": "yes",
    "smtpd_peername_lookup": "no",
    "smtpd_tls_security_level": "none",
    "local_header_rewrite_clients": "",
    # No pauses and no bounds for a client that makes many mistakes on many connections.
    "smtpd_error_sleep_time": "0",
    "smtpd_soft_error_limit": "10000",
    "smtpd_hard_error_limit": "10000",
    "smtpd_junk_command_limit": "10000",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_client_connection_rate_limit": "0",
    "smtpd_client_message_rate_limit": "0",
    "smtpd_client_recipient_rate_limit": "0",
    "in_flow_delay": "0",
    "process_min_free": "0",
    # What it reads as a command is in the log.
    "debug_peer_list": "127.0.0.0/8",
    "debug_peer_level": "1",
}

_AT_V6: Final = "[::1]:{port} inet n - n - - smtpd\n"
_MASTER: Final = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix  n - n -    0 cleanup
qmgr      unix  n - n 300  1 qmgr
rewrite   unix  - - n -    - trivial-rewrite
bounce    unix  - - n -    0 bounce
defer     unix  - - n -    0 bounce
trace     unix  - - n -    0 bounce
verify    unix  - - n -    1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -    - proxymap
showq     unix  n - n -    - showq
error     unix  - - n -    - error
retry     unix  - - n -    - error
discard   unix  - - n -    - discard
anvil     unix  - - n -    1 anvil
rig       unix  - n n -    - pipe user=nobody argv=/deliver ${{sender}} ${{recipient}}
"""

# Its directories, for whom and with which rights, as its own installation makes them.
_QUEUES: Final = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "saved", "trace")
_SHARED: Final = {"private": (0o700, 0), "public": (0o2710, _POSTDROP.number), "maildrop": (0o1730, _POSTDROP.number)}

# With smtpd_client_port_logging there is a port behind the address.
_READ: Final = re.compile(r"\]: < [^\s:]+\[[^\]]*\](?::\d+)?: (?P<line>.*)", re.DOTALL)


class RealPostfix(UnpackedServer):
    """Postfix with all that Debian's has switched on: VRFY, BDAT, ETRN.

    `settings` are added to those of the rig, or replace them.  With `inet_protocols: all` it listens at ::1 too.
    """

    name = "postfix"
    package = "postfix"
    # For a VRFY; a recipient gets 250, and the guard says 252 2.5.2.
    tells = re.compile(rb"(?m)^252 2\.0\.0 ")
    ended = re.compile(r"postfix/smtpd\[\d+\]: disconnect from ")
    accounts = (_POSTFIX,)
    groups = (_POSTDROP,)

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """Only take the settings."""
        super().__init__()
        self._settings = {**_SETTINGS, **(settings or {})}

    def configure(self, root: Path) -> None:
        """Write main.cf and master.cf, and make the queue."""
        etc, queue, data = root / "etc/postfix", root / "var/spool/postfix", root / "var/lib/postfix"
        etc.mkdir()
        (etc / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in self._settings.items()))
        # Settings of this very second would be read only once that has passed.
        os.utime(etc / "main.cf", (0, 0))
        # ::1 first: when 127.0.0.1 listens, which is waited for, so does it.
        services = _AT_V6 + _MASTER if self._settings["inet_protocols"] == "all" else _MASTER
        (etc / "master.cf").write_text(services.format(port=self.port))
        for path in (queue, queue / "pid", data, *(queue / name for name in (*_QUEUES, *_SHARED))):
            path.mkdir()
        for path in (data, *(queue / name for name in _QUEUES)):
            path.chmod(0o700)
            os.chown(path, _POSTFIX.number, 0)
        for name, (mode, group) in _SHARED.items():
            os.chown(queue / name, _POSTFIX.number, group)
            (queue / name).chmod(mode)

    def command(self) -> Sequence[str]:
        """Return the command of its first process."""
        return ["/usr/lib/postfix/sbin/master", "-d", "-c", "/etc/postfix"]

    def records(self) -> list[str]:
        """Return what it has said to syslog."""
        return self.syslog_lines()

    def command_in(self, record: str) -> str | None:
        """Return what such a line says that it has read."""
        match = _READ.search(record)
        return match["line"] if match is not None else None
