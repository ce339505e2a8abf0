"""What sendmail's files say of the settings: where to listen, how much to log.

Contract: the text is settings that load, with a backend that sendmail has to be moved to, and a policy beside it.
"""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Final

from ..config.faults import printable
from .cf_file import Cf
from .daemons import Daemon, daemons
from .told import Remarks

BACKEND: Final = "tcp:127.0.0.1:2525"


def written(cf: Cf, remarks: Remarks, policy: str) -> str:
    """Return the text of the settings."""
    lines = [
        f"# What {printable(cf.file)} says of the settings, by `smtpguard import-sendmail`.",
        "listen:",
    ]
    found = [_listener(one, remarks) for one in daemons(cf)]
    listeners = list(dict.fromkeys(one for one in found if one))
    if not listeners and daemons(cf):  # never more than sendmail had
        listeners = ['  - {endpoint: "tcp:25:interface=127.0.0.1"}  # in place of those that are to be written by hand']
    lines += listeners or ['  - {endpoint: "tcp:25:interface=0.0.0.0", name: Daemon0}  # sendmail\'s default']
    lines += [f"backend: {BACKEND}  # where sendmail is to be moved to", f"policy: {json.dumps(policy)}"]
    level = cf.option("LogLevel")
    if level is not None and level.text.isdecimal() and int(level.text) <= 99:
        lines.append(f"log: {{level: {int(level.text)}}}  # {printable(level.file)}:{level.line} LogLevel")
    return "\n".join([*lines, ""])


def _listener(daemon: Daemon, remarks: Remarks) -> str:
    """Return the line of one listener; empty for one that cannot be, or would take in clear what is to be in TLS."""
    said, given = daemon.said, daemon.given
    family = given.get("F", "inet").lower()
    try:
        address = ip_address(given.get("A", "::" if family == "inet6" else "0.0.0.0").removeprefix("IPv6:"))
    except ValueError:
        address = None
    if "s" in daemon.modifiers:
        return ""  # which is told with what else its modifiers are
    if not daemon.port or address is None or family not in ("inet", "inet6"):
        remarks.tell(said.file, said.line, f"DaemonPortOptions {said.text}", "write the listener by hand")
        return ""
    kind, escaped = ("tcp6", str(address).replace(":", "\\:")) if address.version == 6 else ("tcp", str(address))
    endpoint = json.dumps(f"{kind}:{daemon.port}:interface={escaped}")
    return f"  - {{endpoint: {endpoint}, name: {json.dumps(daemon.name)}}}  # {printable(said.file)}:{said.line}"
