"""Endpoint strings: what is accepted can be opened, and what is not is answered with the right form."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.testing import MemoryReactorClock

from smtpguard.config.endpoints import CLIENT_FORMS, SERVER_FORMS, parse_client, parse_server


@pytest.mark.parametrize(
    ("text", "kind", "options"),
    [
        ("tcp:25", "tcp", {"port": "25"}),
        ("tcp:port=25", "tcp", {"port": "25"}),
        ("tcp:0:interface=127.0.0.1", "tcp", {"port": "0", "interface": "127.0.0.1"}),
        ("tcp:25:interface=0.0.0.0:backlog=50", "tcp", {"interface": "0.0.0.0", "backlog": "50"}),
        (r"tcp6:25:interface=\:\:", "tcp6", {"port": "25", "interface": "::"}),
        (r"tcp6:25:interface=fe80\:\:1%eth0", "tcp6", {"interface": "fe80::1%eth0"}),
        ("unix:/run/smtpguard/smtp.sock:mode=660", "unix", {"address": "/run/smtpguard/smtp.sock", "mode": "660"}),
        ("unix:address=/run/s", "unix", {"address": "/run/s"}),
        (r"unix:/run/a\:b\=c\\d", "unix", {"address": "/run/a:b=c\\d"}),
        ("unix:/run/s:lockfile=0", "unix", {"lockfile": "0"}),
        ("systemd:domain=INET:name=smtp", "systemd", {"domain": "INET", "name": "smtp"}),
        ("systemd:domain=INET6:index=0", "systemd", {"domain": "INET6", "index": "0"}),
    ],
)
def test_a_place_to_listen_at_is_read(text: str, kind: str, options: dict[str, str]) -> None:
    """By name or by place, with backslashes as Twisted has them."""
    endpoint = parse_server(text)
    assert (endpoint.text, endpoint.kind) == (text, kind)
    places = {"port": 0, "address": 0}
    assert {name: endpoint.option(name, places.get(name)) for name in options} == options


@pytest.mark.parametrize(
    ("text", "kind", "options"),
    [
        ("tcp:127.0.0.1:2525", "tcp", {"host": "127.0.0.1", "port": "2525"}),
        (r"tcp:\:\:1:2525", "tcp", {"host": "::1", "port": "2525"}),
        ("tcp:host=mail.example.org:port=25", "tcp", {"host": "mail.example.org", "port": "25"}),
        ("tcp:mail:25:bindAddress=127.0.0.25", "tcp", {"bindAddress": "127.0.0.25"}),
        ("tcp:mail:25:timeout=5", "tcp", {"timeout": "5"}),
        ("unix:/run/sendmail/smtp.sock", "unix", {"path": "/run/sendmail/smtp.sock"}),
        ("unix:path=/run/s:timeout=3", "unix", {"path": "/run/s", "timeout": "3"}),
    ],
)
def test_a_backend_is_read(text: str, kind: str, options: dict[str, str]) -> None:
    """By name or by place."""
    endpoint = parse_client(text)
    assert (endpoint.text, endpoint.kind) == (text, kind)
    places = {"host": 0, "port": 1, "path": 0}
    assert {name: endpoint.option(name, places.get(name)) for name in options} == options


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", f"'' is no endpoint that can be used here: write {SERVER_FORMS}"),
        ("25", f"'25' is no endpoint that can be used here: write {SERVER_FORMS}"),
        ("tcp", f"'tcp' is no endpoint that can be used here: write {SERVER_FORMS}"),
        ("TCP:25", f"'TCP:25' is no endpoint that can be used here: write {SERVER_FORMS}"),
        ("tcp=25", f"'tcp=25' is no endpoint that can be used here: write {SERVER_FORMS}"),
        ("ssl:465", f"'ssl:465' is no endpoint that can be used here: write {SERVER_FORMS}"),
        ("haproxy:tcp:25", f"'haproxy:tcp:25' is no endpoint that can be used here: write {SERVER_FORMS}"),
        ("127.0.0.1:25", f"'127.0.0.1:25' is no endpoint that can be used here: write {SERVER_FORMS}"),
        ("tcp:smtp", f"'tcp:smtp' has no port from 0 to 65535: write {SERVER_FORMS}"),
        ("tcp:65536", f"'tcp:65536' has no port from 0 to 65535: write {SERVER_FORMS}"),
        ("tcp:-1", f"'tcp:-1' has no port from 0 to 65535: write {SERVER_FORMS}"),
        ("tcp:\uff12\uff15", "an endpoint string is printable ASCII without blanks: write tcp:25:interface=0.0.0.0"),
        ("tcp:interface=0.0.0.0", f"'tcp:interface=0.0.0.0' has no port from 0 to 65535: write {SERVER_FORMS}"),
        (
            "tcp:127.0.0.1:25",
            "'tcp:127.0.0.1:25' has a part too many; colons of an IPv6 address are written \\: - forms",
        ),
        (
            "tcp6:25:interface=::",
            "'tcp6:25:interface=::' has a part too many; colons of an IPv6 address are written \\:",
        ),
        (r"tcp:25:interface=\:\:", ":: is an IPv6 address: write tcp6:"),
        ("tcp6:25:interface=0.0.0.0", "0.0.0.0 is an IPv4 address: write tcp:"),
        ("tcp:25:interface=localhost", "'localhost' is not an address"),
        ("tcp:25:interface=", "'' is not an address"),
        ("tcp:25:iface=0.0.0.0", "tcp has no option 'iface' (it has backlog, interface, port)"),
        ("tcp:25:mode=660", "tcp has no option 'mode' (it has backlog, interface, port)"),
        ("tcp:25:port=26", "port is set twice"),
        ("tcp:25:backlog=1:backlog=2", "backlog is set twice"),
        ("tcp:25:backlog=many", "backlog is a number"),
        ("tcp:25:backlog=²", "printable ASCII without blanks"),
        ("tcp:25\\", "ends in a backslash"),
        ("unix:", "names no socket: write unix:/run/smtpguard/smtp.sock"),
        ("unix:mode=660", "names no socket: write unix:/run/smtpguard/smtp.sock"),
        ("unix:/s:mode=rw", "mode is three octal digits, as in mode=660"),
        ("unix:/s:lockfile=yes", "lockfile is 0 or 1"),
        ("systemd:smtp", "write systemd:domain=INET:name=smtp"),
        ("systemd:name=smtp", "needs domain=INET, INET6 or UNIX, as in systemd:domain=INET:name=smtp"),
        ("systemd:domain=IP:name=smtp", "needs domain=INET, INET6 or UNIX, as in systemd:domain=INET:name=smtp"),
        ("systemd:domain=INET", "needs either name= or index=, as in systemd:domain=INET:name=smtp"),
        ("systemd:domain=INET:name=", "needs either name= or index=, as in systemd:domain=INET:name=smtp"),
        ("systemd:domain=INET:name=a:index=0", "needs either name= or index=, as in systemd:domain=INET:name=smtp"),
        ("systemd:domain=INET:index=x", "index is a number"),
    ],
)
def test_a_wrong_place_to_listen_at_is_answered_with_the_right_form(text: str, fault: str) -> None:
    """And with what was written."""
    with pytest.raises(ValueError) as caught:
        parse_server(text)
    assert fault in str(caught.value)
    assert str(caught.value).startswith(repr(text))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", f"'' is no endpoint that can be used here: write {CLIENT_FORMS}"),
        ("127.0.0.1:25", f"'127.0.0.1:25' is no endpoint that can be used here: write {CLIENT_FORMS}"),
        ("tls:mail:465", f"'tls:mail:465' is no endpoint that can be used here: write {CLIENT_FORMS}"),
        ("tcp6:h:25", f"'tcp6:h:25' is no endpoint that can be used here: write {CLIENT_FORMS}"),
        ("tcp:25", "names no host: write tcp:127.0.0.1:2525"),
        ("tcp:port=25", "names no host: write tcp:127.0.0.1:2525"),
        ("tcp:mail", f"'tcp:mail' has no port from 1 to 65535: write {CLIENT_FORMS}"),
        ("tcp:mail:0", f"'tcp:mail:0' has no port from 1 to 65535: write {CLIENT_FORMS}"),
        ("tcp:mail:smtp", f"'tcp:mail:smtp' has no port from 1 to 65535: write {CLIENT_FORMS}"),
        ("tcp:::1:25", "has a part too many; colons of an IPv6 address are written \\:"),
        ("tcp:mail:25:bindAddress=guard", "'guard' is not an address"),
        ("tcp:mail:25:bind=127.0.0.1", "tcp has no option 'bind' (it has bindAddress, host, port, timeout)"),
        ("tcp:mail:25:host=other", "host is set twice"),
        ("tcp:mail:25:timeout=1m", "timeout is a number of seconds"),
        ("tcp:a\nb:25", f"'tcp:a\\nb:25': an endpoint string is printable ASCII without blanks: write {CLIENT_FORMS}"),
        ("tcp:a b:25", "printable ASCII without blanks"),
        ("tcp:a:25\n", "printable ASCII without blanks"),
        ("unix:/run/s\x1b", "printable ASCII without blanks"),
        ("tcp:m\xfcller:25", "printable ASCII without blanks"),
        ("unix:timeout=1", "names no socket: write unix:/run/sendmail/smtp.sock"),
        ("unix:/s:lockfile=2", "lockfile is 0 or 1"),
    ],
)
def test_a_wrong_backend_is_answered_with_the_right_form(text: str, fault: str) -> None:
    """And with what was written."""
    with pytest.raises(ValueError) as caught:
        parse_client(text)
    assert fault in str(caught.value)


pieces = st.sampled_from(
    [
        *(
            "tcp",
            "tcp6",
            "unix",
            "25",
            "0",
            "99999",
            "h",
            "127.0.0.1",
            r"\:\:1",
            "::",
            "/run/s",
            r"\=",
            "\\",
            "",
            " ",
            "²",
        ),
        *("port=25", "interface=127.0.0.1", r"interface=\:\:", "backlog=5", "backlog=x", "mode=660", "mode=9"),
        *(
            "address=/s",
            "lockfile=1",
            "lockfile=x",
            "host=h",
            "timeout=5",
            "timeout=x",
            "bindAddress=127.0.0.2",
            "path=/s",
        ),
    ]
)
texts = st.lists(pieces, min_size=1, max_size=5).map(":".join)


@given(texts)
@settings(deadline=None, max_examples=500)
def test_twisted_can_open_whatever_is_accepted(text: str) -> None:
    """`check` would be worth little if the start could still fail."""
    try:
        parse_server(text)
    except ValueError as error:
        assert str(error).startswith(repr(text))
    else:
        serverFromString(MemoryReactorClock(), text)
    try:
        parse_client(text)
    except ValueError as error:
        assert str(error).startswith(repr(text))
    else:
        clientFromString(MemoryReactorClock(), text)
