"""Target: the settings file (smtpguard.config.settings, smtpguard.config.endpoints).

The octets are written to a file, as `load` reads one.  What must hold: it makes settings, or is
refused with faults that have their place in it, and nothing else is raised; the same file makes the
same; what is accepted as an endpoint is one, to Twisted too.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from twisted.internet import endpoints as twisted_endpoints

from smtpguard.config.endpoints import Endpoint, parse_client, parse_server
from smtpguard.config.faults import Fault, Faulty
from smtpguard.config.fields import LONGEST_WAIT
from smtpguard.config.settings import Loaded, load, policy_named_in
from smtpguard.policy.networks import NetworkTable
from smtpguard.policy.rules import Policy

from . import yaml_words
from .policy import check_places

MAX_LEN: Final = 1024
WORDS: Final = (
    *yaml_words.WORDS, b"listen: ", b"backend: ", b"endpoint: ", b"bind: ", b"name: ", b"policy: ", b"relay_check: ",
    b"log: ", b"limits: ", b"timeouts: ", b"dns: ", b"servers: ", b"tcp:25", b"tcp6:25:interface=", b"\\:\\:",
    b"tcp:127.0.0.1:2525", b"unix:/run/s", b"systemd:domain=INET:name=a", b":index=0", b":backlog=5", b":mode=660",
    b":lockfile=0", b":timeout=5", b":bindAddress=", b"127.0.0.1", b"fe80\\:\\:1%eth0", b"localhost", b"host=",
    b"port=", b"default", b"internal", b"syslog", b"classic", b"line: 2000", b"queue: 65536", b"reply: 1048576",
    b"sessions: 1", b"command: 300", b"\\\\", b"\\=", b"x@example.com",
)  # fmt: skip


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="guided-")


def one(data: bytes) -> None:
    path = Path(_folder().name, "settings.yaml")
    path.write_bytes(data)
    loaded, faults = _load(path)
    assert faults == _load(path)[1]
    check_places(faults, data, str(path))
    policy = policy_named_in(path)
    if loaded is None:
        return
    settings = loaded.settings
    assert policy in (None, settings.policy)
    assert settings.listen
    for listener in settings.listen:
        _same_to_twisted(parse_server(listener.endpoint))
    for endpoint in settings.backend.endpoints:
        _same_to_twisted(parse_client(endpoint))
    assert all(0 < seconds <= LONGEST_WAIT for seconds in vars(settings.timeouts).values())
    check_places(loaded.faults_with(Policy(NetworkTable({"internal": ()}), {})), data, str(path))


def _load(path: Path) -> tuple[Loaded | None, list[Fault]]:
    try:
        return load(path, {}), []
    except Faulty as faulty:
        assert faulty.faults
        return None, list(faulty.faults)


def _same_to_twisted(endpoint: Endpoint) -> None:
    assert all("!" <= character <= "~" for character in endpoint.text)
    arguments, options = twisted_endpoints._parse(endpoint.text)
    assert arguments == [endpoint.kind, *endpoint.positional]
    assert options == endpoint.options


def seeds() -> Iterator[bytes]:
    least = b"listen: tcp:25\nbackend: tcp:127.0.0.1:2525\n"
    yield least
    yield b"listen: ['tcp6:25:interface=\\:\\:', {endpoint: systemd:domain=INET:name=smtp, name: in}]\n" + (
        b"backend: {endpoint: tcp:mail:25, bind: {internal: 127.0.0.2, default: '::1'}}\n"
    )
    yield b"listen: unix:/run/a:mode=660:lockfile=0\nbackend: unix:/run/b:timeout=5\npolicy: perimeter\n"
    yield least + b"log: {to: both, style: classic, format: json, level: 11, ident: a-b}\nrelay_check: warn\n"
    yield least + b"limits: {sessions: 5, line: 1000, queue: 4096, reply_line: 512, reply: 16384, refused: 0}\n"
    yield (
        least
        + b"timeouts: {connect: 1, banner: 1.5, message: 86400}\ndns: {names: false, servers: ['::1'], cache: 5}\n"
    )
    yield b'listen: tcp:25\nbackend: {endpoint: tcp:h:25, bind: {"\\e[2J": x}}\n'
    yield b'listen: tcp:25\nbackend: "tcp:a\\nb:25"\n'
    yield least + b"policy: " + b"a" * 300 + b"\n"
    yield least + b"policy: " + b"a/" * 400 + b"b" * 150 + b"\n"
    yield b"listen: 25\nbackend: {endpoint: tcp:25, bnd: 1}\npolicy: 17\nlog: {to: sys}\nlimits: {line: 9}\nx: &a *a\n"
