"""What sendmail's files say of the settings: where to listen, how much to log.

Contract: the text is settings that load, with a backend that sendmail has to be moved to, and a policy beside it.
"""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import Final

from ..config.faults import printable
from .cf_file import Cf, Said
from .told import Remarks

PORTS: Final = {"smtp": 25, "submission": 587, "submissions": 465, "smtps": 465}
"""Names of services that a DaemonPortOptions may have."""
BACKEND: Final = "tcp:127.0.0.1:2525"
LISTENERS: Final = 64
"""sendmail has no more (MAXDAEMONS)."""


def written(cf: Cf, remarks: Remarks, policy: str) -> str:
    """Return the text of the settings."""
    lines = [
        f"# What {printable(cf.file)} says of the settings, by `smtpguard import-sendmail`.",
        "listen:",
    ]
    found = [_listener(said, remarks) for said in cf.options.get("daemonportoptions", [])[:LISTENERS]]
    listeners = list(dict.fromkeys(one for one in found if one))
    lines += listeners or ['  - {endpoint: "tcp:25:interface=0.0.0.0", name: MTA}  # sendmail\'s default']
    lines += [f"backend: {BACKEND}  # where sendmail is to be moved to", f"policy: {json.dumps(policy)}"]
    level = cf.option("LogLevel")
    if level is not None and level.text.isdecimal() and int(level.text) <= 99:
        lines.append(f"log: {{level: {int(level.text)}}}  # {printable(level.file)}:{level.line} LogLevel")
    return "\n".join([*lines, ""])


def _listener(said: Said, remarks: Remarks) -> str:
    """Return the line of one listener; empty for one that cannot be."""
    parts = dict(part.strip().partition("=")[::2] for part in said.text.split(",") if "=" in part)
    given = {key.strip()[:1].upper(): value.strip() for key, value in parts.items()}
    port = PORTS.get(given.get("P", "smtp").lower()) or _number(given.get("P", ""))
    v6 = given.get("F", "inet") == "inet6"
    try:
        address = ip_address(given.get("A", "::" if v6 else "0.0.0.0").removeprefix("IPv6:"))
    except ValueError:
        address = None
    if not port or address is None or given.get("F", "inet") not in ("inet", "inet6"):
        remarks.tell(said.file, said.line, f"DaemonPortOptions {said.text}", "write the listener by hand")
        return ""
    kind, escaped = ("tcp6", str(address).replace(":", "\\:")) if address.version == 6 else ("tcp", str(address))
    name = given.get("N", "")
    named = f", name: {json.dumps(name)}" if re.fullmatch(r"[\w.-]{1,64}", name) else ""
    endpoint = json.dumps(f"{kind}:{port}:interface={escaped}")
    return f"  - {{endpoint: {endpoint}{named}}}  # {printable(said.file)}:{said.line}"


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[1-9]\d{0,4}", text) and int(text) < 1 << 16 else 0
