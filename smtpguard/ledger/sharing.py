"""Counting over several processes, and over guards that share a Redis.

Contract: partners of together.py: they block, are used by one thread, and raise Away when Redis does not answer; no
call waits longer than CALL_SECONDS, and an exchange begins no further one after EXCHANGE_SECONDS.  Counts are those of
the library `limits`; bans and their ends are told by a list of what has changed, so that a guard that has been away
hears of both.  What stands in Redis was put there by somebody: it is checked like any input, and can neither let in
whom a guard has banned by itself, unless it says that the ban was lifted, nor make one wait longer than a policy can.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from limits.storage import RedisStorage

from ..config.state import State
from ..policy.limits import LONGEST_BAN, Hardness
from ..policy.networks import Peer
from .counting import UNLIMITED, Counting, Rules, in_memory
from .measures import Measure
from .sources import written
from .standing import Standing
from .together import Away, Heard, Partner, Told
from .windows import Windows

if TYPE_CHECKING:
    import redis

CALL_SECONDS: Final = 1.0
"""For an answer of Redis, or for a connection to it."""
EXCHANGE_SECONDS: Final = 3.0
"""For all calls of one exchange: the file is written by the same thread, and waits meanwhile."""
COUNTED: Final = 2000
"""Clients and kinds of deeds that are counted together in one exchange; each takes two calls and a limit.  Each process
has counted them all for itself."""
CHANGES: Final = 20_000
"""Changes that Redis keeps; a guard that was away for more hears of the last ones."""
HEARD: Final = 1000
"""Changes that are heard in one exchange; the next ones in the next."""
LIFTED_SECONDS: Final = 7 * 86400
"""For which it is remembered that a ban was lifted."""
NAME: Final = "smtpguard"
"""All keys in Redis begin with it."""
_LIFTED: Final = b"lifted"
_LONGEST_ROW: Final = 500
"""Octets of a ban in Redis; ours have less than 200."""
_LIMIT: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")

# KEYS: the version, the changes, the ban.  ARGV: the key, what is to be known of it, for how many ms, CHANGES.
_TELL: Final = """
local version = redis.call('incr', KEYS[1])
redis.call('set', KEYS[3], ARGV[2], 'PX', ARGV[3])
redis.call('zadd', KEYS[2], version, ARGV[1])
redis.call('zremrangebyrank', KEYS[2], 0, -1 - tonumber(ARGV[4]))
return version
"""


def partner_of(state: State, rules: Callable[[], Rules], several: bool) -> Partner | None:
    """Return who counts over all: Redis, or this process for several others; None if each process is the only one."""
    if state.shared:
        return InRedis(state.shared, rules)
    return InOneProcess(rules) if several else None


class Tally:
    """Counts what is told by the policy that there is now."""

    def __init__(self, rules: Callable[[], Rules], make: Callable[[Rules], Counting]) -> None:
        """`rules` returns the policy; it is asked in the thread, and a policy does not change."""
        self._rules = rules
        self._make = make
        self._by: Rules | None = None
        self._counting: Counting | None = None
        self._standing = Standing()
        self._shadow = Standing()
        """What would stand; apart, so that it hides nothing that does."""

    def count(self, told: Told, now: float, until: float) -> list[Measure]:
        """Count deeds, and return what follows that did not follow before."""
        rules = self._rules()
        if self._counting is None or rules is not self._by:
            self._by, self._counting = rules, self._make(rules)
            self._shadow = Standing()
        self._standing.expire(now)
        self._shadow.expire(now)
        sums: dict[tuple[str, str], int] = {}
        for deed in told.deeds:
            key = deed.kind.value, deed.address
            sums[key] = sums.get(key, 0) + max(1, deed.times)
        found = []
        for (kind, address), times in list(sums.items())[:COUNTED]:
            if time.monotonic() > until:
                break
            try:
                peer = Peer.parse(address)
            except ValueError:
                continue
            found += [one for one in self._counting.did(kind, peer, times, now) if self._is_news(one)]
        return found

    def _is_news(self, measure: Measure) -> bool:
        return (self._shadow if measure.shadow else self._standing).add(measure)

    def let_off(self, key: str) -> None:
        """Count a client anew whose ban was lifted."""
        self._standing.lift(key)
        if self._counting is not None:
            self._counting.forget(key)


class InOneProcess:
    """Counts for several processes of one service, in memory."""

    def __init__(self, rules: Callable[[], Rules], clock: Callable[[], float] = time.time) -> None:
        self._windows = Windows(clock)
        self._tally = Tally(rules, lambda by: in_memory(by, self._windows))

    def exchange(self, told: Told, now: float) -> Heard:
        """See smtpguard.ledger.together.Partner."""
        for key in [key for key, ban in told.bans.items() if ban is None]:
            self._tally.let_off(key)
        self._windows.sweep()
        return Heard(self._tally.count(told, now, float("inf")))

    def close(self) -> None:
        """Nothing is held."""


class InRedis:
    """Counts for all guards that share a Redis, and passes their bans on."""

    def __init__(self, url: str, rules: Callable[[], Rules]) -> None:
        """Nothing is connected to before the first exchange."""
        self._url = url
        self._storage: RedisStorage | None = None
        self._tally = Tally(rules, self._counting)
        self._heard_of = 0
        """The version of the last change that was heard of."""
        self._known: dict[str, bytes] = {}
        """What is in Redis of each key as far as we know."""

    def exchange(self, told: Told, now: float) -> Heard:
        """See smtpguard.ledger.together.Partner."""
        import redis

        until = time.monotonic() + EXCHANGE_SECONDS
        try:
            bans, lifted = self._hear(now)
            for key in lifted:
                self._tally.let_off(key)
            self._tell({key: ban for key, ban in told.bans.items() if key not in lifted}, now, until)
            found = self._tally.count(told, now, until)
            bans_now = {one.key: one for one in found if one.hardness is Hardness.BAN and not one.shadow}
            self._tell(bans_now, now, until)
        except (redis.RedisError, OSError) as error:
            # The text is of the library or the server, and may be long.
            raise Away(f"{type(error).__name__}: {str(error)[:200]}") from None
        return Heard([*bans, *found], lifted)

    def close(self) -> None:
        """Let go of the connection."""
        if self._storage is not None:
            self._client.close()

    @property
    def _client(self) -> redis.Redis:
        if self._storage is None:
            from redis.backoff import NoBackoff
            from redis.retry import Retry

            # Older clients look at who has signed a certificate, and not at whose it is.
            named: dict[str, Any] = {"ssl_check_hostname": True} if self._url.startswith("rediss:") else {}
            self._storage = RedisStorage(
                self._url,
                **named,
                key_prefix=f"{NAME}:count",
                socket_timeout=CALL_SECONDS,
                socket_connect_timeout=CALL_SECONDS,
                retry=Retry(NoBackoff(), 0),  # type: ignore[arg-type]  # it goes to redis as it is
                max_connections=1,
            )
        client: redis.Redis = self._storage.storage
        return client

    def _counting(self, rules: Rules) -> Counting:
        _ = self._client
        assert self._storage is not None
        return Counting(rules, self._storage)

    # -- bans ----------------------------------------------------------------------------------------

    def _tell(self, bans: Mapping[str, Measure | None], now: float, until: float) -> None:
        for key, ban in bans.items():
            if time.monotonic() > until:
                raise TimeoutError(f"no more than {EXCHANGE_SECONDS:g} s for all bans")
            row = _LIFTED if ban is None else json.dumps(ban.as_row(), separators=(",", ":")).encode("ascii")
            if ban is None:
                self._tally.let_off(key)
            if self._known.get(key) == row:
                continue
            seconds = LIFTED_SECONDS if ban is None else ban.until - now
            if seconds <= 0:
                continue
            keys = (f"{NAME}:version", f"{NAME}:changes", f"{NAME}:ban:{key}")
            self._client.eval(_TELL, len(keys), *keys, key, row, str(max(1, int(seconds * 1000))), str(CHANGES))
            self._know(key, row)

    def _hear(self, now: float) -> tuple[list[Measure], list[str]]:
        """Return the bans of other guards, and the keys that they have let off, since the last time."""
        client = self._client
        version = int(client.get(f"{NAME}:version") or 0)
        if version == self._heard_of:
            return [], []
        if version < self._heard_of:  # Redis has begun anew
            self._heard_of = 0
            self._known.clear()
        changes: Any = client.zrangebyscore(
            f"{NAME}:changes", f"({self._heard_of}", "+inf", start=0, num=HEARD, withscores=True
        )
        if not changes:
            self._heard_of = version
            return [], []
        names = [name for name, _ in changes]
        rows: Any = client.mget([f"{NAME}:ban:".encode() + name for name in names])
        bans: list[Measure] = []
        lifted: list[str] = []
        for name, row in zip(names, rows, strict=True):
            key = name.decode("utf-8", "replace")
            if row is None or self._known.get(key) == row:  # it is over; or it was us
                continue
            if row == _LIFTED:
                if _is_key(key):
                    lifted.append(key)
            elif (ban := ban_of(row, key, now)) is not None:
                bans.append(ban)
            else:
                continue
            self._know(key, row)
        self._heard_of = int(changes[-1][1])
        return bans, lifted

    def _know(self, key: str, row: bytes) -> None:
        self._known.pop(key, None)
        self._known[key] = row
        if len(self._known) > CHANGES:
            del self._known[next(iter(self._known))]


def ban_of(row: bytes, key: str, now: float) -> Measure | None:
    """Return the ban that a guard has put into Redis; None if it is anything else, or over."""
    if len(row) > _LONGEST_ROW:
        return None
    try:
        ban = Measure.from_row(json.loads(row))
        right = (
            ban.hardness is Hardness.BAN
            and not ban.shadow
            and ban.key == key
            and _is_key(key)
            and _LIMIT.fullmatch(ban.limit) is not None
            and all(type(one) in (int, float) for one in (ban.until, ban.since, ban.seconds))
            and now < ban.until <= now + LONGEST_BAN
            and 0 <= ban.since <= now + LONGEST_BAN
            and ban.seconds == 0
            and type(ban.count) is int
            and 0 <= ban.count <= UNLIMITED
        )
    except (ValueError, TypeError, RecursionError):
        return None
    return ban if right else None


def _is_key(key: str) -> bool:
    try:
        return written(key) == key
    except ValueError:
        return False
