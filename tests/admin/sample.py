"""A status document with something in every part of it, as a guard in the middle of its work has it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

NOW: Final = 1_796_000_000.0

_STATUS: Final[dict[str, Any]] = {
    "version": "0.9.0",
    "host": "mx.example.org",
    "pid": 4711,
    "started": NOW - 90_000,
    "now": NOW,
    "ready": True,
    "ready_because": "",
    "policy": {
        "path": "/etc/smtpguard/policy.yaml",
        "version": "1f2e3d4c",
        "loaded": NOW - 7200,
        "rules": 14,
        "tests": 6,
    },
    "reload": {"at": NOW - 7200, "ok": True, "faults": [], "warnings": []},
    "listeners": [{"name": "tcp:25", "endpoint": "tcp:25", "address": "0.0.0.0:25"}],
    "processes": [
        {"name": "worker 1", "pid": 4712, "sessions": 3, "since": NOW - 90_000, "state": "serving"},
        {"name": "worker 2", "pid": 4713, "sessions": 1, "since": NOW - 60, "state": "starting"},
    ],
    "sessions": {
        "now": 4,
        "limit": 2000,
        "total": 81_234,
        "turned_away": {"limit": 12, "sessions": 1},
        "live": [
            {
                "id": "0UAbcdef004712",
                "address": "203.0.113.9",
                "listener": "tcp:25",
                "seconds": 12.5,
                "state": "content",
                "backend": "tcp:127.0.0.1:2525",
                "tls": True,
                "commands": 4,
            }
        ],
    },
    "backends": [
        {
            "endpoint": "tcp:127.0.0.1:2525",
            "state": "up",
            "since": NOW - 90_000,
            "fault": "",
            "sessions": 4,
            "failures": 0,
            "next_try": None,
        },
        {
            "endpoint": "tcp:192.0.2.4:25",
            "state": "down",
            "since": NOW - 30,
            "fault": "connection refused",
            "sessions": 0,
            "failures": 3,
            "next_try": 8,
        },
    ],
    "relay_check": {"standing": "serve", "because": ""},
    "verdicts": [
        {
            "rule": "policy.yaml:12, check_vrfy 2",
            "action": "reply",
            "count": 40,
            "history": [0] * 50 + [1, 0, 3, 2, 0, 0, 1, 0, 0, 5],
        },
    ],
    "verbs": [{"verb": "MAIL", "passed": 900, "all": 1000}, {"verb": "VRFY", "passed": 0, "all": 40}],
    "limits": [
        {"name": "scanners", "counts": "probes", "rate": "20/hour", "by": "address", "crossed": 3, "standing": 1}
    ],
    "bans": [{"key": "198.51.100.7", "until": NOW + 3000, "since": NOW - 600, "limit": "scanners", "count": 61}],
    "bans_total": 1,
    "standing": [
        {
            "key": "203.0.113.4",
            "until": NOW + 900,
            "since": NOW - 600,
            "limit": "guessers",
            "count": 41,
            "step": "close",
            "seconds": 0.0,
        },
        {
            "key": "203.0.113.5",
            "until": NOW + 900,
            "since": NOW - 60,
            "limit": "scanners",
            "count": 21,
            "step": "delay",
            "seconds": 2.5,
        },
    ],
    "standing_total": 3,
    "incidents": [
        {
            "id": 17,
            "key": "198.51.100.7",
            "addresses": ["198.51.100.7"],
            "opened": NOW - 900,
            "last": NOW - 20,
            "closed": None,
            "verdict": "scanner",
            "deeds": {"probes": 61},
            "sessions": 9,
            "names": ["root", "[bold]admin[/bold]"],
            "evidence": [],
            "names_more": 3,
            "banned": True,
        }
    ],
    "incidents_open": 1,
    "state": {"file": "/var/lib/smtpguard/smtpguard.db", "shared": "redis ok", "counting": "together"},
    "log": {"lost": 2},
}


def status(**changed: Any) -> dict[str, Any]:
    """Return a copy, with some parts replaced."""
    return {**deepcopy(_STATUS), **changed}
