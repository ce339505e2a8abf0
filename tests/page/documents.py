"""Status documents for the page to be made of: a quiet guard, a busy one, one in trouble, one that is attacked."""

from __future__ import annotations

from random import Random  # noqa: TID251  # seeded
from typing import Any

NOW = 1_772_366_584.0  # 2026-03-01 12:03:04 UTC

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></svg><iframe src=//evil.example>",
    "]]><!--",
    "javascript:alert(1)",
    "\u202eevil\u202c\u200b\u00ad\ufeff",
    "\x00\x07\x1b[31m\r\n\t\x85",
    "\ud800 lone",
    "a\u0300\u0301\u0302\u0303\u0304 \u3164\u2800",
    "&lt;b&gt;&#60;",
    "x" * 5000,
    "\u05e9\u05dc\u05d5\u05dd (abc) \u0645\u0631\u062d\u0628\u0627",
)


def quiet() -> dict[str, Any]:
    """A guard that has just been started, and that nobody has talked to."""
    return {
        "version": "0.5.0",
        "host": "mail.example.org",
        "pid": 812,
        "started": NOW - 40,
        "now": NOW,
        "ready": True,
        "ready_because": "",
        "policy": {"path": "internal-vrfy", "version": "a41c09", "loaded": NOW - 40, "rules": 12, "tests": 13},
        "reload": None,
        "listeners": [{"name": "smtp", "endpoint": "tcp:25", "address": "0.0.0.0:25"}],
        "processes": [{"name": "smtpguard", "pid": 812, "sessions": 0, "since": NOW - 40, "state": "running"}],
        "sessions": {"now": 0, "limit": 1000, "total": 0, "turned_away": {}, "live": []},
        "backends": [
            {
                "endpoint": "tcp:127.0.0.1:2525",
                "state": "up",
                "for_seconds": 39,
                "fault": "",
                "sessions": 0,
                "failures": 0,
                "next_try_seconds": None,
            }
        ],
        "relay_check": {"standing": "serve", "because": "127.0.0.1:2525 refuses to relay mail from 192.0.2.1"},
        "verdicts": [],
        "verbs": [],
        "limits": [],
        "bans": [],
        "bans_total": 0,
        "standing": [],
        "standing_total": 0,
        "incidents": [],
        "incidents_open": 0,
        "state": {"file": "", "shared": "", "counting": "here"},
        "log": {"lost": 0},
    }


def busy() -> dict[str, Any]:
    """One that works, and is scanned now and then."""
    chance = Random(5)
    rules = [
        ("check_vrfy 2", "reply", 9),
        ("check_vrfy 1", "forward", 5),
        ("check_expn 2", "reply", 4),
        ("budget", "close", 2),
        ("check_debug 1", "reply", 1),
        ("relay_domains", "reply", 3),
        ("check_verb 1", "reply", 1),
        ("grammar", "close", 1),
        ("check_other 1", "reply", 1),
    ]
    verdicts = [
        {"rule": rule, "action": action, "history": history, "count": sum(history) * 31 + chance.randrange(90)}
        for rule, action, weight in rules
        for history in [_history(chance, weight)]
    ]
    live = [
        {
            "id": f"{chance.randrange(16**8):08x}",
            "address": f"198.51.100.{chance.randrange(1, 250)}",
            "listener": chance.choice(["smtp", "submission"]),
            "seconds": chance.expovariate(1 / 40),
            "state": chance.choice(["command", "reply", "content", "delayed"]),
            "backend": f"tcp:10.0.0.{chance.choice([4, 5])}:25",
            "tls": chance.random() < 0.7,
            "commands": chance.randrange(1, 14),
        }
        for _ in range(8)
    ]
    backends = [
        {
            "endpoint": f"tcp:10.0.0.{number}:25",
            "state": "up",
            "for_seconds": 86_400 * 12.2,
            "fault": "",
            "sessions": 19 + number,
            "failures": number % 4,
            "next_try_seconds": None,
        }
        for number in (4, 5)
    ]
    return {
        **quiet(),
        "started": NOW - 86_400 * 12.3,
        "policy": {
            "path": "/etc/smtpguard/policy.yaml",
            "version": "f3c210",
            "loaded": NOW - 7_500,
            "rules": 31,
            "tests": 44,
        },
        "reload": {"at": NOW - 7_500, "ok": True, "faults": [], "warnings": []},
        "listeners": [
            {"name": "smtp", "endpoint": "systemd:smtp", "address": "0.0.0.0:25"},
            {"name": "submission", "endpoint": "systemd:submission", "address": "0.0.0.0:587"},
        ],
        "processes": [
            {
                "name": f"worker {number}",
                "pid": 813 + number,
                "sessions": 21 + number,
                "since": NOW - 86_400 * 12.3,
                "state": "running",
            }
            for number in (1, 2)
        ],
        "sessions": {
            "now": 45,
            "limit": 1000,
            "total": 1_284_113,
            "turned_away": {"limit": 812, "sessions_per_address": 57, "unavailable": 3},
            "live": live,
        },
        "backends": backends,
        "verdicts": verdicts,
        "verbs": [
            {"verb": verb, "passed": passed, "all": every}
            for verb, passed, every in [
                ("EHLO", 801_220, 801_228),
                ("MAIL", 1_304_100, 1_304_377),
                ("RCPT", 1_702_113, 1_720_004),
                ("DATA", 1_298_050, 1_298_050),
                ("QUIT", 798_001, 798_001),
                ("VRFY", 812, 19_220),
                ("EXPN", 12, 3_119),
                ("HELO", 12_090, 12_090),
                ("RSET", 70_211, 70_211),
                ("DEBUG", 0, 37),
                ("UNKNOWN", 31, 4_417),
            ]
        ],
        "limits": [
            {
                "name": "scanners",
                "counts": "probes",
                "rate": "20/hour",
                "by": ["address", "prefix"],
                "crossed": 64,
                "standing": 3,
            },
            {
                "name": "guessers",
                "counts": "auth",
                "rate": "10 per 10 minutes",
                "by": ["address"],
                "crossed": 12,
                "standing": 1,
            },
            {"name": "crowd", "counts": "parallel", "rate": "20", "by": ["address"], "crossed": 5, "standing": 0},
        ],
        "bans": [
            {"key": "203.0.113.77", "until": NOW + 3_100, "since": NOW - 500, "limit": "scanners", "count": 61},
            {"key": "2001:db8:4:1::/64", "until": NOW + 900, "since": NOW - 2_700, "limit": "scanners", "count": 75},
            {"key": "198.51.100.9", "until": NOW + 86_000, "since": NOW - 400, "limit": "operator", "count": 0},
        ],
        "bans_total": 3,
        "incidents": [incident(*what) for what in _INCIDENTS],
        "incidents_open": 2,
        "state": {"file": "/var/lib/smtpguard/smtpguard.db", "shared": "redis ok", "counting": "together"},
    }


_INCIDENTS = (
    (812, "203.0.113.77", 700, None, "scanner", {"probes": 61, "malformed": 4}, True),
    (811, "2001:db8:4:1::/64", 2_900, None, "harvester", {"recipients": 75}, True),
    (810, "198.51.100.201", 9_000, 5_000, "guesser", {"auth": 22, "connections": 22}, False),
    (809, "192.0.2.14", 90_000, 88_000, "scanner", {"probes": 2}, False),
)


def incident(
    number: int, key: str, opened: float, closed: float | None, verdict: str, deeds: dict[str, int], banned: bool
) -> dict[str, Any]:
    """Return one, with what it is known by."""
    tried = ["VRFY root", "VRFY postmaster", "EXPN all", "DEBUG", "VRFY george", "WIZ"]
    return {
        "id": number,
        "key": key,
        "addresses": [key.replace("::/64", "::7")],
        "opened": NOW - opened,
        "last": NOW - (closed or 12),
        "closed": NOW - closed + 900 if closed else None,
        "verdict": verdict,
        "deeds": deeds,
        "sessions": 3,
        "names": ["root", "postmaster", "george", "all", "info", "sales", "webmaster"],
        "names_more": 38,
        "evidence": [
            {
                "when": NOW - opened + 9 * place,
                "session": f"7f3a9c{place:02x}",
                "shown": line,
                "verdict": "252" if "VRFY" in line else "500",
            }
            for place, line in enumerate(tried)
        ],
        "banned": banned,
    }


def _history(chance: Random, weight: int) -> list[int]:
    wave = chance.randrange(60)
    return [
        int(chance.expovariate(1 / weight)) + (6 * weight if 0 <= minute - wave < 4 else 0)
        if chance.random() < 0.8
        else 0
        for minute in range(60)
    ]


def troubled() -> dict[str, Any]:
    """One with all troubles at once."""
    document = busy()
    document["ready"] = False
    document["ready_because"] = "no mail server may be used"
    document["reload"] = {
        "at": NOW - 65,
        "ok": False,
        "faults": [
            "/etc/smtpguard/policy.yaml:14:9: rulesets.check_vrfy.0.action: `forwrd` is none of forward, reply, close; "
            "do you mean `forward`?",
            "/etc/smtpguard/policy.yaml:31:5: tests.2: VRFY george from 203.0.113.9: expected 252, got forward",
        ],
        "warnings": ["/etc/smtpguard/policy.yaml:8:3: network `lan` is not used"],
    }
    first, second = document["backends"]
    first |= {
        "state": "down",
        "for_seconds": 95,
        "fault": "connect: Connection refused",
        "failures": 61,
        "next_try_seconds": 12,
        "sessions": 0,
    }
    second |= {"state": "relays", "for_seconds": 60, "fault": "", "failures": 1}
    document["relay_check"] = {
        "standing": "relays",
        "because": "10.0.0.5:25 would relay mail from 192.0.2.1 to anywhere",
    }
    document["processes"][1]["state"] = "does not answer"
    document["sessions"] |= {"now": 960}
    document["state"] |= {"shared": "redis away since 12:01:10", "fault": "database or disk is full"}
    document["log"] = {"lost": 1_204}
    return document


def hostile() -> dict[str, Any]:
    """One whose every text is hostile: what clients can say, and what they cannot."""
    place = iter(range(10**9))

    def spoil(value: Any) -> Any:
        if isinstance(value, str):
            return HOSTILE[next(place) % len(HOSTILE)]
        if isinstance(value, dict):
            return {key: spoil(one) for key, one in value.items()} | {HOSTILE[0]: 3, HOSTILE[6]: 4}
        return [spoil(one) for one in value] if isinstance(value, list) else value

    spoilt: dict[str, Any] = spoil(troubled())
    return spoilt
