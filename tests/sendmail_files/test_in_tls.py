"""The condition `tls` on a real sendmail with a certificate: in clear and in TLS both answer alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.encryption.support import BACKEND, Certified, EncryptingSendmail, TlsTalk
from tests.rig.hosts import Host
from tests.rig.sendmail import RealSendmail
from tests.sendmail.support import ConfiguredGuard, server_endpoint

from .conftest import EVERYWHERE
from .support import ask_from, export

POLICY = """
networks: {here: [127.0.0.0/8]}
rulesets:
  check_vrfy: [{tls: true, from_not: here, action: forward}, {from: here, tls: false, action: forward}, {action: reply}]
  check_expn: [{tls: false, action: reply}]
  check_etrn: [{tls: true, reply: "550 5.7.1 not in TLS"}]
  check_mail: [{from: 192.0.2.70, tls: false, reply: "530 5.7.0 Must issue a STARTTLS command first"}]
  check_rcpt: [{from: 10.20.30.40, tls: true, reply: "550 5.7.1 no recipients in TLS"}]
"""
SAID = ("EHLO me.test", "VRFY george", "EXPN all", "ETRN x.test", "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>")


def in_tls(host: Host, certified: Certified, address: str, port: int, commands: Sequence[str]) -> list[str]:
    """Say commands from an address, in TLS; return the replies."""
    with host.inside(), TlsTalk(address, port, None) as client:
        client.say("EHLO me.test")
        assert client.say("STARTTLS").startswith("220 ")
        client.shake_hands(certified.trusting(verify=False), None)
        replies = [client.say(command) for command in commands]
    # What is offered is not what is asked, and sendmail puts the address in front of what it says of it.
    return [
        replies[0][:3],
        *(one.replace("<a@b.example>... ", "").replace("<george@x.test>... ", "") for one in replies[1:]),
    ]


def test_rules_about_tls_decide_in_clear_and_in_tls_as_the_policy(
    host: Host, plain: RealSendmail, tmp_path: Path
) -> None:
    """They look at `$&{tls_version}`, which is there before the EHLO in TLS."""
    certified = Certified(tmp_path)
    found = export(tmp_path, POLICY)
    assert not found.remarks
    issued = certified.authority.issue((BACKEND,))
    starttls = {"certificates": str(certified.sites)}
    listener = {"endpoint": server_endpoint("0.0.0.0"), "starttls": starttls}
    with (
        host.inside(),
        EncryptingSendmail(issued, certified.authority.ca_pem, found.text, listen=EVERYWHERE) as server,
        ConfiguredGuard(
            tmp_path, ("127.0.0.1", plain.port), POLICY, {"listen": [listener]}, listen=("0.0.0.0",)
        ) as guard,
    ):
        for address in ("127.0.0.1", "10.20.30.40", "192.0.2.70"):
            clear = ask_from(host, address, server.port, SAID)
            secret = in_tls(host, certified, address, server.port, SAID)
            assert clear != secret
            assert ask_from(host, address, guard.port, SAID) == clear, address
            assert in_tls(host, certified, address, guard.port, SAID) == secret, address
