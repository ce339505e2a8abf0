"""The guard's own files, as setup writes them: settings, policy, and what starts it.

Contract: texts; nothing is written, and nothing is read but what came with the program.  The settings say what they are
and hold no more keys than need be said; their reasons stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..config import policy_file
from . import shipped
from .sendmail_mc import Door
from .wishes import IMPORT, OUTSIDERS, THIS_HOST, Wishes

SETTINGS: Final = "/etc/smtpguard/smtpguard.yaml"
POLICY: Final = "/etc/smtpguard/policy.yaml"
UNIT: Final = "/etc/systemd/system/smtpguard.service"
PACKAGED_UNITS: Final = ("/lib/systemd/system/smtpguard.service", "/usr/lib/systemd/system/smtpguard.service")
DROP_IN: Final = "/etc/systemd/system/smtpguard.service.d/transparent.conf"
ROUTES: Final = "/usr/local/libexec/smtpguard-transparent"
PACKAGED_ROUTES: Final = "/usr/libexec/smtpguard-transparent"
INIT_SCRIPT: Final = "/etc/init.d/smtpguard"

WATCHING: Final = """
# Decide, log and count, and forward all the same.  What would have been refused: smtpguard report.  To switch over,
# remove the line and reload.
shadow: true
"""
_PROGRAM: Final = "/opt/smtpguard/bin/smtpguard"
"""As the shipped files name it."""


def settings(wishes: Wishes, doors: Iterable[Door], listen: Iterable[str], syslog: bool) -> str:
    """Return smtpguard.yaml for a sendmail with these doors."""
    found = sorted(doors, key=lambda door: door.family)
    behind = {door.family: _endpoint(door.behind, wishes.port) for door in found}
    first = behind[min(behind)]
    lines = [
        "# In front of the sendmail of this host.  Written by `smtpguard setup sendmail`; change it as you like, then:",
        f"#   smtpguard check --config {SETTINGS}",
        "# and reload smtpguard, or restart it if `listen` was changed.  `smtpguard setup sendmail --undo` leaves this",
        "# file alone once it has been changed.  All keys: smtpguard.yaml(5).",
        "",
        "listen:",
        *(f'  - "{_listener(address)}"' for address in listen),
        "",
        "backend:",
        f'  endpoint: "{first}"',
        *([f'  endpoint_ipv6: "{behind[6]}"'] if len(behind) > 1 and wishes.identity == "transparent" else []),
        "  profile: sendmail",
        *_identity(wishes),
        "",
        f"policy: {_policy_name(wishes)}",
        "",
        "# The mail server is asked whether it would relay for outsiders: before the start, and from time to time.",
        "relay_check: enforce",
        "",
        "admin: unix:/run/smtpguard/admin.sock    # for `smtpguard status` and `smtpguard bans`",
        *(["", "log: {to: syslog}"] if syslog else []),
        "",
    ]
    return "\n".join(lines)


def _identity(wishes: Wishes) -> list[str]:
    if wishes.identity == "transparent":
        return [
            "  # sendmail sees every client's own address, so its access map, limits and log are as they were.",
            "  identity: transparent",
        ]
    return [
        "  # Only this host itself comes from 127.0.0.1, for which sendmail relays; all others from an address that",
        "  # may not relay.  Whom sendmail relayed for by address, besides, must send by its port for submission.",
        f"  bind: {{{THIS_HOST}: 127.0.0.1, default: {OUTSIDERS}}}",
    ]


def is_ours(wishes: Wishes) -> bool:
    """True if setup writes the policy."""
    return wishes.policy == IMPORT or wishes.policy in policy_file.SHIPPED


def policy(wishes: Wishes, imported: str = "") -> str | None:
    """Return policy.yaml, with the network for `bind`; None for a file of the administrator's."""
    if not is_ours(wishes):
        return None
    text = imported or policy_file.find(wishes.policy).read_text("utf-8")
    if wishes.shadow:
        text = f"{text.rstrip()}\n{WATCHING}"
    if wishes.identity != "bind":
        return text
    network = f'  {THIS_HOST}: [127.0.0.0/8, "::1/128"]    # may relay, as it might before\n'
    if "\nnetworks:\n" in text:
        return text.replace("\nnetworks:\n", f"\nnetworks:\n{network}", 1)
    head, gap, rest = text.partition("\nrulesets:")
    return f"{head}\nnetworks:\n{network}{gap}{rest}"


def _policy_name(wishes: Wishes) -> str:
    return "policy.yaml" if is_ours(wishes) else str(Path(wishes.policy).resolve())


def unit() -> str:
    return shipped.text(shipped.SYSTEMD, "smtpguard.service").replace(_PROGRAM, shipped.program())


def drop_in(packaged: bool) -> str:
    """Return the drop-in; `packaged` if the script for the routes is a package's."""
    text = shipped.text(shipped.SYSTEMD, "smtpguard.service.d/transparent.conf")
    return text.replace(ROUTES, PACKAGED_ROUTES) if packaged else text


def routes() -> str:
    return shipped.text(shipped.SYSTEMD, "smtpguard-transparent")


def init_script(packaged: bool) -> str:
    """Return the init script; `packaged` as above."""
    text = shipped.text(shipped.INIT, "smtpguard").replace(_PROGRAM, shipped.program())
    return text.replace(ROUTES, PACKAGED_ROUTES) if packaged else text


def as_shipped(path: str, content: bytes) -> bool:
    """True if a file is what a package or a copy of the examples has put there, and no work of the administrator's."""
    if path == SETTINGS:
        example = shipped.text(shipped.SYSTEMD, "smtpguard.yaml")
        # The Debian package has the policy in a file beside it.
        packaged = example.replace("\npolicy: internal-vrfy\n", "\npolicy: policy.yaml\n")
        return content in (example.encode(), packaged.encode())
    return any(content == policy_file.find(name).read_bytes() for name in policy_file.SHIPPED)


def _listener(address: str) -> str:
    kind, written = ("tcp6", address.replace(":", "\\\\:")) if ":" in address else ("tcp", address)
    return f"{kind}:25:interface={written}"


def _endpoint(address: str, port: int) -> str:
    written = address.replace(":", "\\\\:")
    return f"tcp:{written}:{port}"
