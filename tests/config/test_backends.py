"""What the settings may say of several backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smtpguard.config.backend import MOST_BACKENDS
from smtpguard.config.faults import Faulty
from smtpguard.config.settings import Settings, load


def _loaded(folder: Path, section: str, **flags: Any) -> Settings:
    path = folder / "settings.yaml"
    path.write_text(f"listen: tcp:2500\nbackend: {{{section}}}\n")
    return load(path, flags).settings


def test_one_is_a_list_of_one(tmp_path: Path) -> None:
    """Whichever way it is written."""
    for text in ("endpoint: tcp:a:25", "endpoint: [tcp:a:25]"):
        backend = _loaded(tmp_path, text).backend
        assert (backend.endpoint, backend.endpoints, backend.balance) == ("tcp:a:25", ["tcp:a:25"], "order")


def test_several_are_kept_in_order_and_have_defaults(tmp_path: Path) -> None:
    """Unix sockets, names and addresses may stand side by side."""
    listed = "endpoint: [tcp:b:25, unix:/run/a.sock, tcp:127.0.0.1:25], balance: round-robin, health: {fall: 5}"
    backend = _loaded(tmp_path, listed).backend
    assert backend.endpoints == ["tcp:b:25", "unix:/run/a.sock", "tcp:127.0.0.1:25"]
    health = backend.health
    assert (health.interval, health.timeout, health.rise, health.fall) == (30, 30, 1, 5)


def test_the_flag_names_one_and_what_else_is_set_still_holds(tmp_path: Path) -> None:
    """As for a single one."""
    backend = _loaded(tmp_path, "endpoint: [tcp:a:25, tcp:b:25], bind: 127.0.0.25", backend="tcp:127.0.0.1:26").backend
    assert (backend.endpoints, backend.bind) == (["tcp:127.0.0.1:26"], {"default": "127.0.0.25"})


@pytest.mark.parametrize(
    ("backend", "fault"),
    [
        ("endpoint: []", "2:21: endpoint: must not be empty"),
        ("endpoint: [tcp:a:25, tcp:b]", "2:32: endpoint: 'tcp:b' has no port from 1 to 65535"),
        ("endpoint: [tcp:a:25, tcp:a:25]", "endpoint: tcp:a:25 is in the list twice"),
        ("endpoint: [tcp:a:25, tcp:127.0.0.1:2500]", "tcp:127.0.0.1:2500 is a listener of this guard"),
        ("endpoint: [tcp:a:25, tcp:b:25], balance: rr", "balance: 'rr' is none of order, round-robin"),
        ("endpoint: tcp:a:25, health: {intervall: 3}", "unknown key 'intervall' (did you mean interval?)"),
        ("endpoint: tcp:a:25, health: {rise: 0}", "rise: must be greater than or equal to 1, not 0"),
        ("endpoint: tcp:a:25, health: {timeout: 0}", "timeout: must be greater than 0, not 0"),
        ("endpoint: [tcp:127.0.0.1:25, unix:/s], bind: 127.0.0.25", "bind: a unix socket has no source address"),
        ("endpoint: [tcp:127.0.0.1:25, 'tcp:\\:\\:1:25'], bind: 127.0.0.25", "nothing gets from 127.0.0.25 to ::1"),
        ("endpoint: [tcp:127.0.0.1:25, tcp:b:25], identity: transparent", "transparent needs the backend's address"),
        (
            "endpoint: [tcp:127.0.0.1:25, 'tcp:\\:\\:1:25'], identity: transparent",
            "every client must come to all of them: list addresses of one family",
        ),
        (
            "endpoint: [tcp:127.0.0.1:25, tcp:127.0.0.2:25], endpoint_ipv6: 'tcp:\\:\\:1:25', identity: transparent",
            "endpoint_ipv6: it is for one `endpoint`, not for a list",
        ),
        ("endpoint: [tcp:a:25, unix:/s], starttls: required", "a unix socket has no name that could be verified"),
    ],
)
def test_what_makes_no_sense_is_a_fault(tmp_path: Path, backend: str, fault: str) -> None:
    """With its place, and what to write."""
    with pytest.raises(Faulty) as raised:
        _loaded(tmp_path, backend)
    assert fault in "\n".join(map(str, raised.value.faults))


def test_there_is_a_bound(tmp_path: Path) -> None:
    """A list that is longer is one of something else."""
    listed = [f"tcp:h{number}:25" for number in range(MOST_BACKENDS + 1)]
    assert len(_loaded(tmp_path, f"endpoint: [{', '.join(listed[:-1])}]").backend.endpoints) == MOST_BACKENDS
    with pytest.raises(Faulty) as raised:
        _loaded(tmp_path, f"endpoint: [{', '.join(listed)}]")
    assert str(MOST_BACKENDS) in str(raised.value.faults[0])


def test_each_must_have_the_name_that_its_host_has_in_the_endpoint(tmp_path: Path) -> None:
    """Or all of them the one that is set."""
    ca = tmp_path / "ca.pem"
    ca.touch()
    backend = _loaded(tmp_path, f"endpoint: [tcp:a:25, tcp:b:25], starttls: required, ca: {ca}").backend
    assert [backend.certified_name(text) for text in backend.endpoints] == ["a", "b"]
    backend = _loaded(tmp_path, "endpoint: [tcp:a:25, unix:/s], starttls: required, server_name: mx").backend
    assert [backend.certified_name(text) for text in backend.endpoints] == ["mx", "mx"]
