"""What a session costs that does nothing: the memory of thousands of them.

Contract: `kb` is the resident memory (1,024 octets; /proc/PID/smaps_rollup of the whole tree) that a session adds
once it has greeted, `kb_rcpt` the same behind MAIL and RCPT; a mail proxy may have no connection to the server
before that.  The kernel's own memory for sockets is in neither.  Every round is a process of its own, that has
served some sessions before.
"""

from __future__ import annotations

from typing import Final

from .bench import Bench, Standing, rested
from .places import SESSIONS
from .systems import PROXIES
from .talk import held, together

ROUNDS: Final = 3
"""At most: memory spreads little, and thousands of connections take their time."""


def idle(bench: Bench) -> None:
    """Hold sessions."""
    names = [one.name for one in bench.proxies()]
    for name in bench.rotated(names, ROUNDS):
        with Standing(bench, (name,)) as standing:
            running, port = standing.proxies[name], standing.ports[name]
            count = max(int(min(bench.counts.idle, SESSIONS) * PROXIES[name].share), 1)
            with held(port, min(bench.counts.warm, count)):
                pass
            rested(running.tree.used)
            before = running.tree.rss()
            with held(port, count) as talks:
                rested(running.tree.used)
                greeted = running.tree.rss()
                for at in range(0, len(talks), 100):
                    together(talks[at : at + 100], b"MAIL FROM:<from@bench.test>", b"250")
                    together(talks[at : at + 100], b"RCPT TO:<to@bench.test>", b"250")
                rested(running.tree.used)
                proxied = running.tree.rss()
        bench.add(
            "idle",
            name,
            kb=(greeted - before) / count / 1024,
            kb_rcpt=(proxied - before) / count / 1024,
            base_mb=before / 2**20,
        )
