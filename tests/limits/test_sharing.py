"""Counting together: partners before a real Redis, or in one process for several."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtpguard.ledger.deeds import Deed, Kind
from smtpguard.ledger.measures import Measure
from smtpguard.ledger.sharing import EXCHANGE_SECONDS, HEARD, InOneProcess, InRedis, ban_of
from smtpguard.ledger.together import Away, Told
from smtpguard.policy.limits import LONGEST_BAN, Hardness
from tests.rig.sendmail import free_port
from tests.tls.support import Authority

from .redis_server import RedisServer
from .support import policy

LIMITS = "limits: {scanners: {count: probes, rate: 10/hour, then: [close, {over: 20, ban: 1 hour}]}}"
POLICY = policy(LIMITS)
CLIENT = "203.0.113.9"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def blank(server: RedisServer) -> RedisServer:
    """The same, with nothing in it."""
    server.client().flushall()
    return server


def guard(server: RedisServer) -> InRedis:
    """Return what one guard has of it."""
    return InRedis(server.url, lambda: POLICY)


def probes(number: int, address: str = CLIENT) -> Told:
    """Return so many deeds."""
    return Told([Deed(Kind.PROBE, address, time.time(), times=number)])


def ban(key: str, seconds: float = 3600.0) -> Measure:
    """Return a ban that begins now."""
    now = time.time()
    return Measure(Hardness.BAN, key, now + seconds, "scanners", now, 0.0, 21)


def test_what_two_guards_have_counted_adds_up(blank: RedisServer) -> None:
    """Neither has seen enough by itself; who tells last hears what follows, and the other one at its next deed."""
    one, other = guard(blank), guard(blank)
    now = time.time()
    assert one.exchange(probes(6), now).measures == []
    (measure,) = other.exchange(probes(5), now).measures
    assert (measure.hardness, measure.key, measure.count) == (Hardness.CLOSE, CLIENT, 11)
    (measure,) = one.exchange(probes(1), now).measures
    assert measure.count == 12
    assert other.exchange(probes(1), now).measures == []  # it is known there already


def test_in_one_process_it_is_counted_in_the_same_way() -> None:
    """For several workers without a Redis."""
    clerk = InOneProcess(lambda: POLICY)
    now = time.time()
    assert clerk.exchange(probes(6), now).measures == []
    (measure,) = clerk.exchange(probes(5), now).measures
    assert (measure.hardness, measure.count) == (Hardness.CLOSE, 11)
    assert clerk.exchange(probes(1), now).measures == []
    assert clerk.exchange(Told(bans={CLIENT: None}), now).measures == []
    assert clerk.exchange(probes(9), now).measures == []


def test_a_ban_reaches_the_other_guards_and_so_does_its_end(blank: RedisServer) -> None:
    """Whether it was decided here, by the counts of all, or elsewhere; each hears of it once."""
    one, other, late = guard(blank), guard(blank), guard(blank)
    now = time.time()
    told = ban("2001:db8:1:2::/64")
    assert one.exchange(Told(bans={told.key: told}), now).measures == []
    assert other.exchange(Told(), now).measures == [told]
    assert other.exchange(Told(), now).measures == []
    (counted,) = other.exchange(probes(21), now).measures
    assert counted.hardness is Hardness.BAN
    assert one.exchange(Told(), now).measures == [counted]
    assert set(late.exchange(Told(), now).measures) == {told, counted}
    assert other.exchange(Told(bans={told.key: None}), now).lifted == []
    assert one.exchange(Told(), now).lifted == [told.key]
    assert late.exchange(Told(), now).lifted == [told.key]
    assert guard(blank).exchange(Told(), now).measures == [counted]


def test_a_guard_that_comes_back_does_not_ban_again_whom_others_have_let_off(blank: RedisServer) -> None:
    """It tells what stands with it; of that, what was lifted meanwhile is lifted there too."""
    one, away = guard(blank), guard(blank)
    now = time.time()
    first, second = ban("192.0.2.7"), ban("192.0.2.8")
    away.exchange(Told(bans={first.key: first, second.key: second}), now)
    one.exchange(Told(), now)
    one.exchange(Told(bans={first.key: None}), now)
    heard = away.exchange(Told(bans={first.key: first, second.key: second}), now)
    assert heard.lifted == [first.key]
    assert guard(blank).exchange(Told(), now).measures == [second]


def test_a_redis_that_has_lost_everything_lifts_nothing_and_learns_again(blank: RedisServer) -> None:
    """Its version is lower than what was heard of."""
    one = guard(blank)
    now = time.time()
    told = ban("192.0.2.7")
    for number in range(5):
        one.exchange(Told(bans={f"192.0.2.1{number}": ban(f"192.0.2.1{number}")}), now)
    one.exchange(Told(), now)
    blank.client().flushall()
    further = ban("192.0.2.8")
    guard(blank).exchange(Told(bans={further.key: further}), now)
    heard = one.exchange(Told(bans={told.key: told}), now)
    assert (heard.measures, heard.lifted) == ([further], [])
    assert guard(blank).exchange(Told(), now).measures == [further, told]


def test_very_many_bans_are_heard_in_parts(blank: RedisServer) -> None:
    """An exchange is bounded, and nothing is lost."""
    one, other = guard(blank), guard(blank)
    now = time.time()
    bans = {key: ban(key) for key in (f"10.0.{number // 256}.{number % 256}" for number in range(HEARD + 500))}
    one.exchange(Told(bans=dict(bans)), now)
    heard = other.exchange(Told(), now).measures
    assert len(heard) == HEARD
    heard = [*heard, *other.exchange(Told(), now).measures]
    assert {measure.key for measure in heard} == set(bans)


GOOD = ban("192.0.2.7").as_row()
NO_BANS = [
    b"",
    b"{}",
    b"[" * 5000,
    b"\xff\xfe",
    json.dumps([*GOOD, 1]).encode(),
    json.dumps(["delay", *GOOD[1:]]).encode(),
    json.dumps([GOOD[0], "192.0.2.8", *GOOD[2:]]).encode(),
    json.dumps([*GOOD[:2], "soon", *GOOD[3:]]).encode(),
    json.dumps([*GOOD[:2], time.time() + 2 * LONGEST_BAN, *GOOD[3:]]).encode(),
    json.dumps([*GOOD[:2], 1.0, *GOOD[3:]]).encode(),
    json.dumps([*GOOD[:3], "a\nb", *GOOD[4:]]).encode(),
    json.dumps([*GOOD[:3], 5, *GOOD[4:]]).encode(),
    json.dumps([*GOOD[:6], "many"]).encode(),
    json.dumps([*GOOD[:2], float("nan"), *GOOD[3:]]).encode(),
    json.dumps([*GOOD[:2], str(GOOD[2]), *GOOD[3:]]).encode(),
    json.dumps([*GOOD[:2], 10**400, *GOOD[3:]]).encode(),
    json.dumps([*GOOD[:4], str(GOOD[4]), *GOOD[5:]]).encode(),
    json.dumps([*GOOD[:4], float("-inf"), *GOOD[5:]]).encode(),
    json.dumps([*GOOD[:5], "0", *GOOD[6:]]).encode(),
    json.dumps([*GOOD[:6], 1 << 64]).encode(),
    json.dumps([*GOOD[:6], -1]).encode(),
]


@pytest.mark.parametrize("row", NO_BANS, ids=range(len(NO_BANS)))
def test_what_is_no_ban_is_none_whoever_put_it_there(row: bytes) -> None:
    """Redis may be written by others; its texts go into logs and its times into timers."""
    assert ban_of(json.dumps(GOOD).encode(), "192.0.2.7", time.time()) is not None
    assert ban_of(row, "192.0.2.7", time.time()) is None


def test_rubbish_in_redis_keeps_nobody_from_hearing_the_rest(blank: RedisServer) -> None:
    """A key that is none, and a row that is none."""
    client = blank.client()
    one, other = guard(blank), guard(blank)
    now = time.time()
    for key, row in (("not an address", b"lifted"), ("192.0.2.66", b"rubbish"), ("\r\n500 x", b"lifted")):
        version = client.incr("smtpguard:version")
        client.set(f"smtpguard:ban:{key}", row)
        client.zadd("smtpguard:changes", {key: version})
    told = ban("192.0.2.7")
    one.exchange(Told(bans={told.key: told}), now)
    heard = other.exchange(Told(), now)
    assert (heard.measures, heard.lifted) == ([told], [])


def test_all_that_is_kept_in_redis_ends_by_itself(blank: RedisServer) -> None:
    """But for two keys that do not grow."""
    one = guard(blank)
    one.exchange(probes(21), time.time())
    one.exchange(Told(bans={"192.0.2.7": None}), time.time())
    client = blank.client()
    lasting = {key for key in client.keys("*") if client.ttl(key) < 0}
    assert lasting == {b"smtpguard:version", b"smtpguard:changes"}


@pytest.mark.parametrize("how", ["killed", "silent", "never there"])
def test_a_redis_that_is_away_is_said_to_be_and_nobody_waits_long(tmp_path: Path, how: str) -> None:
    """Whether the connection breaks or nothing comes any more; when it is back, the same partner goes on."""
    server = RedisServer(tmp_path)
    partner = guard(server)
    if how != "never there":
        server.start()
        partner.exchange(probes(6), time.time())
    try:
        if how == "killed":
            server.kill()
        elif how == "silent":
            server.stop_answering()
        began = time.monotonic()
        with pytest.raises(Away) as fault:
            partner.exchange(probes(1), time.time())
        assert time.monotonic() - began < EXCHANGE_SECONDS + 1
        assert str(fault.value)
        server.kill()
        server.start()
        assert partner.exchange(probes(6), time.time()).measures == []
        assert len(partner.exchange(probes(5), time.time()).measures) == 1
    finally:
        partner.close()
        server.kill()


def test_a_redis_behind_tls_must_show_the_certificate_that_it_is_asked_for(tmp_path: Path) -> None:
    """Signed by who was named, for the host that was named; anything else is as if it were away."""
    authority, stranger = Authority(), Authority("Somebody Else")
    issued = authority.issue(["127.0.0.1"])
    (tmp_path / "cert.pem").write_bytes(issued.chain_pem)
    (tmp_path / "key.pem").write_bytes(issued.key_pem)
    known, unknown = authority.write_ca(tmp_path, "known"), stranger.write_ca(tmp_path, "unknown")
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(tmp_path / "cert.pem")]
    options += [
        "--tls-key-file",
        str(tmp_path / "key.pem"),
        "--tls-ca-cert-file",
        str(known),
        "--tls-auth-clients",
        "no",
    ]
    with RedisServer(tmp_path, options):

        def exchange(host: str, ca: Path) -> None:
            partner = InRedis(f"rediss://{host}:{port}/0?ssl_ca_certs={ca}", lambda: POLICY)
            try:
                partner.exchange(probes(1), time.time())
            finally:
                partner.close()

        exchange("127.0.0.1", known)
        with pytest.raises(Away, match=r"(?i)certificate"):
            exchange("127.0.0.1", unknown)
        with pytest.raises(Away, match=r"(?i)certificate"):
            exchange("localhost", known)
