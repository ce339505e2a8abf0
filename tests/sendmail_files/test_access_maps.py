"""Access maps and classes R made up at random: whom sendmail's own rules refuse and relay for, and the policy does.

sendmail is asked in its test mode (-bt), about clients for which DNS has no name: nothing is sent anywhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from random import Random  # noqa: TID251 - seeded
from typing import Any, Final

import pytest

from smtpguard.config import yaml_reader
from tests.rig.sendmail import run_directory

from .support import cf_of, import_files
from .test_on_sendmail import make_map

VALUES: Final = (
    *("RELAY", "RELAY", "Relay", "REJECT", "OK", "DISCARD", "SKIP", "RELAY # x"),
    *("ERROR:5.7.1:550 no", "450 later"),
)
KEYS: Final = (
    *("10", "10.1", "10.1.2", "10.1.2.3", "10.2", "[10.1]", "[10.1.2.3]", "192.168", "192.168.1.", "10.", "010", "127"),
    *("IPv6:2001:db8", "IPv6:2001:DB8:0:1", "IPv6:2001", "IPv6:2001:db8:0:1:0:0:0:7", "IPv6:2001:db8::7", "IPv6"),
    *("IPv6:2001:db8:0:1::7", "[IPv6:2001:db8]", "10.0.0.0/8", "IPv6:2001:db8:1", "IPv6:::1"),
)
CLIENTS: Final = (
    *(
        "10.1.2.3",
        "10.1.2.4",
        "10.1.9.9",
        "10.9.9.9",
        "10.2.0.1",
        "192.168.1.1",
        "192.168.2.2",
        "127.0.0.2",
        "11.0.0.1",
    ),
    *("2001:db8:0:1::7", "2001:db8:0:1::8", "2001:db8::7", "2001:db8:1::1", "2001:1::1", "2002::1"),
    *("2001:db8:1:2:3:4:5:6", "2001:db8:0:1:1:1:1:1"),
)
ASKED: Final = 'LOCAL_RULESETS\nScrelay\nR$*\t$: $&{client_name} $| $&{client_addr}\nR$*\t$@ $>"Basic_check_relay" $1\n'
"""Test mode cannot write the `$|` that Basic_check_relay is given."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in which sendmail reads files."""
    made = run_directory("maps")
    yield made
    shutil.rmtree(made)


def written(client: str, compressed: bool) -> str:
    """Return an address as sendmail writes it."""
    address = ip_address(client)
    if address.version == 4:
        return client
    return "IPv6:" + (client if compressed else ":".join(f"{int(one, 16):x}" for one in address.exploded.split(":")))


def asked(cf: Path, compressed: bool) -> list[tuple[bool, bool]]:
    """Return of each client whether sendmail refuses it, and whether it relays for it."""
    lines = []
    for client in CLIENTS:
        key = written(client, compressed)
        lines += [f".D{{client_addr}}{key}", f".D{{client_name}}[{key}]", ".D{client_resolve}FAIL", "crelay x"]
        lines.append("Relay_ok x")
    # With a name of its own for the host, which it would look for in DNS.
    command = ["unshare", "--uts", "sh", "-c", f"hostname x.test; exec sendmail -bt -C {cf}"]
    said = subprocess.run(command, input="\n".join([*lines, ""]).encode(), capture_output=True, check=True).stdout
    refused = re.findall(rb"^crelay +returns: (.*)$", said, re.MULTILINE)
    relayed = re.findall(rb"^Relay_ok +returns: (.*)$", said, re.MULTILINE)
    assert len(refused) == len(relayed) == len(CLIENTS)
    return [(b"error" in one, two.strip() == b"RELAY") for one, two in zip(refused, relayed, strict=True)]


def of_policy(data: dict[str, Any]) -> list[tuple[bool, bool]]:
    """Return the same of a policy."""
    networks = {name: [ip_network(one) for one in listed] for name, listed in data["networks"].items()}
    refused = [one for name, listed in networks.items() if name.startswith("refused") for one in listed]
    return [
        (any(ip_address(one) in net for net in refused), any(ip_address(one) in net for net in networks["internal"]))
        for one in CLIENTS
    ]


@pytest.mark.parametrize("seed", range(24))
def test_whom_sendmail_refuses_is_refused_and_whom_it_does_not_relay_for_is_not_internal(
    seed: int, folder: Path
) -> None:
    """Whatever stands in the map; where the policy differs, it refuses more and holds fewer for internal."""
    chance, compressed = Random(seed), seed % 2 == 1
    entries: dict[str, str] = {}
    for _ in range(chance.randrange(1, 8)):
        key = chance.choice(("Connect:", "", "connect:")) + chance.choice(KEYS)
        entries.setdefault(key.lower(), f"{key}\t{chance.choice(VALUES)}\n")
    access = folder / "access"
    access.write_text("".join(entries.values()), "ascii")
    make_map(access)
    more = "define(`confUSE_COMPRESSED_IPV6_ADDRESSES', `True')dnl\n" if compressed else ""
    more += "".join(f"RELAY_DOMAIN(`{chance.choice(KEYS)}')dnl\n" for _ in range(chance.randrange(3)))
    cf = cf_of(folder, f"FEATURE(`access_db', `hash -T<TMPF> {access}')dnl\n{more}{ASKED}")
    policy, _ = import_files(cf=cf)
    data = yaml_reader.read(policy, "policy.yaml").data
    assert isinstance(data, dict)
    for client, (refuses, relays), (refused, internal) in zip(
        CLIENTS, asked(cf, compressed), of_policy(data), strict=True
    ):
        assert refused or not refuses, (client, [*entries.values()])
        assert refused or relays or not internal, (client, [*entries.values()])
