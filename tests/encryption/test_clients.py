"""Programs that people use, in TLS that ends at the guard, before a sendmail without STARTTLS and one with its own."""

from __future__ import annotations

import re
import smtplib
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.sendmail import comparable
from tests.rig.wait import wait_until
from tests.sendmail.support import (
    ALL,
    GEORGE,
    INSIDE,
    NO_EXPN,
    NO_VRFY,
    OUTSIDE,
    ask,
    delivered,
    nothing_asked,
)

from .conftest import Ports
from .support import MX, TLS_LINE, Certified, commands, implicit, posttls_finger, s_client, starttls

BOTH = pytest.mark.parametrize("way", ["starttls", "implicit"])
# Lines of 76, 998 and 0 octets, octets above 0x7f, dots at the beginning of lines; sendmail adds nothing to them.
BODY = b"".join(b"%06d " % n + bytes(range(0xA0, 0xE5)) + b"\r\n..\r\n.x\r\n\r\n" for n in range(12_000))
LETTER = b"From: a@b.example\r\nSubject: big\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
LETTER += b"Content-Transfer-Encoding: 8bit\r\n\r\n" + b"y" * 990 + b"\r\n" + BODY


def smtp(ports: Ports, way: str, context: ssl.SSLContext, source: str) -> smtplib.SMTP:
    """Return smtplib's client in TLS, which sends MX as SNI and verifies the name."""
    if way == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL(local_hostname="me.test", source_address=(source, 0), context=context)
        client._host = MX  # type: ignore[attr-defined]  # the name it verifies; the address is another
        client.connect("127.0.0.1", ports.implicit)
        return client
    client = smtplib.SMTP("127.0.0.1", ports.starttls, "me.test", 20, (source, 0))
    client._host = MX  # type: ignore[attr-defined]
    client.starttls(context=context)
    return client


@BOTH
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def test_a_megabyte_of_eight_bit_mail_arrives_octet_by_octet(
    ports: Ports, certified: Certified, way: str, version: ssl.TLSVersion
) -> None:
    """As it does without guard and TLS, dots included; smtplib stuffs them."""
    assert len(LETTER) > 1_000_000
    sender = f"big-{way}-{version.name}@b.example".lower()
    with smtplib.SMTP(ports.server.address, ports.server.port, "me.test", 20) as client:
        client.sendmail(sender, "george@x.test", LETTER, ["body=8bitmime"])
    with smtp(ports, way, certified.trusting(version=version), OUTSIDE) as client:
        client.sendmail(sender, "george@x.test", LETTER, ["body=8bitmime"])
    first, second = delivered(ports.server, sender, 2)
    assert comparable(first.content) == comparable(second.content)
    assert second.content.endswith(BODY.replace(b"\r\n", b"\n"))


@BOTH
def test_swaks_sends_mail(ports: Ports, certified: Certified, way: str) -> None:
    """It verifies the chain, and says what it saw."""
    sender = f"swaks-{way}@b.example"
    port = ports.starttls if way == "starttls" else ports.implicit
    done = subprocess.run(
        [
            *("swaks", "--server", "127.0.0.1", "--port", str(port), "--local-interface", OUTSIDE, "--helo", "me.test"),
            *("--from", sender, "--to", "george@x.test", "--body", "text\\n.dot\\n"),
            *("-tls" if way == "starttls" else "-tlsc", "--tls-sni", MX),
            *("--tls-verify", "--tls-ca-path", str(certified.ca)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^=== TLS started with cipher TLSv1\.3:", done.stdout, re.MULTILINE)
    (delivery,) = delivered(ports.server, sender)
    assert delivery.content.rstrip(b"\n").endswith(b"\n\ntext\n.dot")


@BOTH
def test_openssl_verifies_and_talks(ports: Ports, certified: Certified, way: str) -> None:
    """It waits for no reply, as a pipelining client; commands come behind the handshake."""
    port, how = (ports.starttls, ("-starttls", "smtp")) if way == "starttls" else (ports.implicit, ())
    said = "EHLO me.test\r\nNOOP\r\nVRFY george\r\nQUIT\r\n"
    options = ("-CAfile", str(certified.ca), "-verify_return_error", "-servername", MX, "-verify_hostname", MX)
    seen = s_client(port, *options, said=said, way=how)
    assert "Verify return code: 0 (ok)" in seen
    assert "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384" in seen
    assert f"{GEORGE}\r\n221 2.0.0 x.test closing connection\r\n" in seen


@pytest.mark.parametrize("level", ["encrypt", "secure"])
def test_postfix_trusts_the_guard(plain_ports: Ports, certified: Certified, tmp_path: Path, level: str) -> None:
    """Its own words, by level of verification; it says EHLO, STARTTLS, EHLO and QUIT."""
    options = ("-l", level, *(("-F", str(certified.ca)) if level == "secure" else ()), "-s", MX)
    said = posttls_finger(tmp_path, plain_ports.starttls, *options)
    trust = {"encrypt": "Untrusted", "secure": "Verified"}[level]
    assert (
        f"{trust} TLS connection established to 127.0.0.1[127.0.0.1]:{plain_ports.starttls}: TLSv1.3 with cipher"
        in said
    )
    assert "< 221 2.0.0 " in said


@BOTH
@pytest.mark.parametrize(("source", "vrfy", "expn"), [(INSIDE, GEORGE, ALL), (OUTSIDE, NO_VRFY, NO_EXPN)])
def test_the_policy_holds_inside_tls(
    ports: Ports, certified: Certified, way: str, source: str, vrfy: str, expn: str
) -> None:
    """What is encrypted is read all the same."""
    begin = starttls if way == "starttls" else implicit
    port = ports.starttls if way == "starttls" else ports.implicit
    with begin(port, certified.trusting(), source) as client:
        client.say("EHLO me.test")
        assert ask(client, "VRFY george", "EXPN all") == [vrfy, expn]


def test_nothing_that_is_refused_in_tls_reaches_the_server(ports: Ports, certified: Certified) -> None:
    """Held against what sendmail itself says of the session."""
    before = len(ports.server.traffic())
    with (
        nothing_asked(ports.server),
        starttls(ports.starttls, certified.trusting(), OUTSIDE, greeting="nosy.test") as client,
    ):
        assert ask(client, "vRFY george", "EXPN all") == [NO_VRFY, NO_EXPN]
        assert client.say("QUIT").startswith("221 ")
        assert client.closed()
    assert commands(ports.server, "nosy.test", before) == ["EHLO nosy.test", "QUIT"]


def test_what_is_offered_is_filtered_anew_in_tls(ports: Ports, certified: Certified) -> None:
    """In clear the guard's own STARTTLS and no AUTH; in TLS no STARTTLS, whatever the server offers."""
    with Talk("127.0.0.1", ports.starttls, OUTSIDE) as plain:
        offered = [line[4:].split()[0] for line in plain.say("EHLO me.test").split("\n")[1:]]
    with starttls(ports.starttls, certified.trusting(), OUTSIDE) as client:
        in_tls = client.keywords()
        assert client.say("STARTTLS") == "503 5.5.1 TLS is in use already"
    with implicit(ports.implicit, certified.trusting(), OUTSIDE) as client:
        assert client.keywords() == in_tls
        assert client.say("STARTTLS").startswith("502 ")
    assert offered[-1] == "STARTTLS"
    assert offered.count("STARTTLS") == 1
    assert not {"AUTH", "EXPN", "ETRN"} & set(offered)
    assert "ETRN" in in_tls
    assert not {"STARTTLS", "EXPN"} & set(in_tls)
    with Talk(ports.server.address, ports.server.port, INSIDE) as direct:
        assert ("\n250-AUTH " in direct.say("EHLO me.test")) is ("AUTH" in in_tls)


def test_sendmail_is_never_told_starttls(ports: Ports, certified: Certified) -> None:
    """Nor is it seen to be in TLS: there is none on that side."""
    before, logged = len(ports.server.traffic()), len(ports.server.log())
    with starttls(ports.starttls, certified.trusting(), OUTSIDE, greeting="in-clear.test") as client:
        client.say("EHLO in-tls.test")
        client.say("QUIT")
        assert client.closed()
    assert commands(ports.server, "in-clear.test", before) == ["EHLO in-clear.test", "EHLO in-tls.test", "QUIT"]
    assert "STARTTLS=server, relay=" not in ports.server.log()[logged:]


@BOTH
@pytest.mark.parametrize(
    ("version", "name", "cipher"),
    [
        (ssl.TLSVersion.TLSv1_2, "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (ssl.TLSVersion.TLSv1_3, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ],
)
def test_what_was_negotiated_is_logged_as_sendmail_does(
    ports: Ports, certified: Certified, way: str, version: ssl.TLSVersion, name: str, cipher: str
) -> None:
    """One line a handshake, the client in it."""
    source = {"TLSv1.2": "127.0.0.12", "TLSv1.3": "127.0.0.13"}[name]
    pattern = TLS_LINE.format(re.escape(f"[{source}]"), re.escape(name), "NO", cipher)
    ended = rf"disconnect from \[{re.escape(source)}\]"

    def lines(of: str) -> int:
        return sum(re.search(of, line) is not None for line in ports.guard.lines())

    before, ended_before = lines(pattern), lines(ended)
    begin = starttls if way == "starttls" else implicit
    port = ports.starttls if way == "starttls" else ports.implicit
    with begin(port, certified.trusting(version=version), source) as client:
        assert client.tls.version() == name
        client.say("QUIT")
        assert client.closed()
    wait_until(lambda: lines(pattern) > before and lines(ended) > ended_before, "the lines of the session")
    assert lines(pattern) == before + 1


@BOTH
@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (None, [MX]),
        ("unknown.test", [MX]),
        (MX, [MX]),
        ("a.test", ["a.test"]),
        ("A.TEST", ["a.test"]),
        ("x.b.test", ["*.b.test"]),
        ("x.y.b.test", [MX]),
    ],
)
def test_the_name_asked_for_chooses_the_certificate(
    ports: Ports, certified: Certified, way: str, asked: str | None, shown: list[str]
) -> None:
    """A directory with three of them, one called `default`."""
    context = certified.trusting()
    context.check_hostname = False
    begin_at = ports.starttls if way == "starttls" else ports.implicit
    if way == "starttls":
        with starttls(begin_at, context, name=asked) as client:
            assert client.host_names == shown
    else:
        with implicit(begin_at, context, name=asked) as client:
            assert client.host_names == shown
