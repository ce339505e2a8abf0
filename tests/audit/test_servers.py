"""Audits of real servers, and of a guard before one: what is found, and that no mail comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from smtpguard.audit.findings import Finding, Verdict
from smtpguard.audit.probes import NAMES
from tests.rig.exim import RealExim
from tests.rig.guard import client_endpoint
from tests.rig.opensmtpd import RealOpenSmtpd
from tests.rig.postfix import RealPostfix
from tests.rig.sendmail import RealSendmail
from tests.rig.unpacked import UnpackedServer
from tests.sendmail.support import ConfiguredGuard, commands_read, policy, server_endpoint

from .certificates import certificate
from .support import bad, found, one

NOT_PROMISED = {("banner", "first line"), ("help", "HELP"), ("starttls", "offered")}
"""What the shipped rules leave as the server has it, and STARTTLS, for which a guard needs a certificate."""


@pytest.fixture(scope="module")
def stock() -> Iterator[RealSendmail]:
    """A sendmail with its default privacy."""
    with RealSendmail() as server:
        yield server


@pytest.fixture(scope="module")
def of_stock(stock: RealSendmail) -> list[Finding]:
    """What an audit of it finds."""
    return found(stock.port, known="george")


def guarded(server: RealSendmail, folder: Path, rules: str, keys: Path | None = None) -> list[Finding]:
    """Audit a guard before a server, as an outsider, for whom the server does not relay."""
    listener: dict[str, object] = {"endpoint": server_endpoint("127.0.0.1")}
    if keys is not None:
        pair = {"chain": str(keys / "cert.pem"), "key": str(keys / "key.pem")}
        listener["starttls"] = {"certificates": [pair]}
    backend = {
        "endpoint": client_endpoint(server.address, server.port),
        "bind": {"internal": "127.0.0.1", "default": "127.0.0.25"},
    }
    with ConfiguredGuard(
        folder, (server.address, server.port), rules, {"backend": backend, "listen": [listener]}
    ) as guard:
        return found(guard.port, known="george", source="127.0.0.1")


def check_no_mail(server: RealSendmail | UnpackedServer) -> None:
    """Hold that nothing was delivered, or is on its way."""
    assert server.deliveries(0) == []


def test_every_probe_has_its_say(of_stock: list[Finding]) -> None:
    """And without STARTTLS, only those of TLS cannot be put."""
    assert list(dict.fromkeys(finding.probe for finding in of_stock)) == list(NAMES)
    unasked = {finding.probe for finding in of_stock if finding.unasked}
    assert unasked == {"certificate", "tls-versions", "starttls-injection", "inside-tls"}


def test_what_a_stock_sendmail_tells_is_found(of_stock: list[Finding]) -> None:
    """Names, lists, its version, and that it reads LF as a line end."""
    assert bad(of_stock) == {
        ("banner", "first line"): Verdict.WARNING,
        ("help", "HELP"): Verdict.WARNING,
        ("ehlo", "EXPN"): Verdict.WARNING,
        ("ehlo", "VERB"): Verdict.WARNING,
        ("vrfy", "VRFY george"): Verdict.WARNING,
        ("vrfy", "VRFY of no user"): Verdict.WARNING,
        ("vrfy", "VRFY root"): Verdict.WARNING,
        ("expn", "EXPN all"): Verdict.WARNING,
        ("expn", "EXPN staff"): Verdict.WARNING,
        ("expn", "EXPN postmaster"): Verdict.WARNING,
        ("expn", "EXPN root"): Verdict.WARNING,
        ("verbs", "VERB"): Verdict.WARNING,
        ("forms", "behind NOOP and LF"): Verdict.WARNING,
        ("starttls", "offered"): Verdict.WARNING,
    }
    assert one(of_stock, "EXPN all").seen == (
        "250-2.1.5 <bob@x.test> / 250-2.1.5 <alice@x.test> / 250 2.1.5 <george@x.test>"
    )
    assert one(of_stock, "in a message").seen == "421 4.5.0 Bare linefeed (LF) not allowed"


def test_whatever_is_bad_says_what_mends_it(of_stock: list[Finding]) -> None:
    """And names the guard's own key where it has one."""
    assert all(finding.advice for finding in of_stock if finding.verdict is not Verdict.OK and not finding.unasked)
    assert "check_vrfy" in one(of_stock, "VRFY george").advice
    assert "novrfy" in one(of_stock, "VRFY george").advice


def test_a_sendmail_that_relays_for_who_asks_is_an_open_relay_from_there(stock: RealSendmail) -> None:
    """It trusts 127.0.0.1, and nobody else; nothing is delivered."""
    inside = found(stock.port, "relay", source="127.0.0.1")
    assert one(inside, "user@foreign").verdict is Verdict.HOLE
    assert one(inside, "@host:user@foreign").verdict is Verdict.HOLE
    # It refuses users that do not exist, so this one was read as a route.
    assert one(inside, "user%foreign@host").verdict is Verdict.WARNING
    assert not bad(found(stock.port, "relay"))
    check_no_mail(stock)


def test_a_stock_sendmail_has_got_no_message(stock: RealSendmail, of_stock: list[Finding]) -> None:
    """Nor a DATA with a recipient that was not reset."""
    assert of_stock
    check_no_mail(stock)
    read = [line.strip().upper() for line in commands_read(stock.traffic())]
    assert "DATA" in read
    assert not [line for line in read if line.startswith(".")]


def test_a_private_sendmail_answers_no_question(tmp_path: Path) -> None:
    """PrivacyOptions goaway: what is left is the version, which it tells anyway."""
    with RealSendmail(privacy_options="goaway") as server:
        findings = found(server.port, known="george")
        check_no_mail(server)
    assert bad(findings).keys() == NOT_PROMISED
    assert one(findings, "two blanks before").verdict is Verdict.NOTE


def test_a_guard_keeps_what_it_promises(stock: RealSendmail, tmp_path: Path) -> None:
    """The default policy before a stock sendmail: no name, no list, no form of VRFY, no relay."""
    findings = guarded(stock, tmp_path, policy(("192.0.2.0/24",)))
    assert bad(findings).keys() == NOT_PROMISED
    promised = ("vrfy", "expn", "forms", "long-lines", "identity", "relay")
    assert {finding.verdict for finding in findings if finding.probe in promised} == {Verdict.OK}
    check_no_mail(stock)


def test_a_guard_with_the_perimeter_rules_a_banner_and_a_certificate_has_nothing_bad(
    stock: RealSendmail, tmp_path: Path
) -> None:
    """Neither version nor HELP, and in TLS no more than in clear."""
    rules = {**yaml.safe_load(policy(("192.0.2.0/24",), "perimeter")), "banner": "mail service"}
    with certificate() as keys:
        findings = guarded(stock, tmp_path, yaml.safe_dump(rules), keys)
    assert bad(findings) == {}
    assert not [finding for finding in findings if finding.unasked]
    assert one(findings, "NOOP behind STARTTLS").seen.startswith("554 5.5.0 ")
    assert {finding.verdict for finding in findings if finding.probe == "inside-tls"} == {Verdict.OK}
    check_no_mail(stock)


@pytest.mark.parametrize("kind", [RealPostfix, RealExim, RealOpenSmtpd], ids=lambda kind: str(kind.name))
def test_other_servers_get_no_mail_either(kind: type[UnpackedServer]) -> None:
    """All their recipients exist; they are asked from an address for which they do not relay."""
    with kind() as server:
        findings = found(server.port, known="george")
        check_no_mail(server)
    assert one(findings, "user@foreign").verdict is Verdict.OK
    assert one(findings, "XCLIENT").verdict is Verdict.OK
    wanted = {
        "postfix": {("starttls", "offered")},
        "opensmtpd": {("starttls", "offered")},
        "exim": {
            *(("banner", "first line"), ("ehlo", "EXPN"), ("starttls", "offered")),
            *(("vrfy", f"VRFY {name}") for name in ("george", "of no user", "root")),
            *(("expn", f"EXPN {name}") for name in ("all", "staff", "postmaster", "root")),
            *(("forms", "behind NOOP and LF"), ("long-lines", "behind 16385 octets")),
        },
    }
    assert bad(findings).keys() == wanted[server.name]


def test_the_source_of_an_audit_is_its_choice(stock: RealSendmail) -> None:
    """sendmail logs who asked."""
    found(stock.port, "help", source="127.0.0.7")
    stock.wait_log(r"connect from \[127\.0\.0\.7\]")
