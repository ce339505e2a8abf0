"""What the admin endpoint answers, on the wire, and to whom."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from smtpguard.admin import site as bounds
from smtpguard.admin.answers import FRESH_SHARE, HEADERS, Answers, Asked
from tests.admin.conftest import TCP, UNIX
from tests.admin.sample import status
from tests.admin.serving import Canned, Served, head, parted, rest, served
from tests.rig.wait import wait_until


@pytest.mark.parametrize("place", [UNIX, TCP])
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/livez", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/status.json", "application/json"),
        ("/incidents.json", "application/json"),
        ("/bans.json", "application/json"),
        ("/", "text/html; charset=utf-8"),
        ("/assets/style.css", "text/css; charset=utf-8"),
        ("/assets/page.js", "text/javascript; charset=utf-8"),
    ],
)
def test_everything_there_is_is_served_with_strict_headers_and_no_banner(
    site: Served, place: int, path: str, kind: str
) -> None:
    """A browser may load nothing from elsewhere, and nobody is told what answers."""
    code, headers, body = site.get(path, place)
    assert code == 200
    assert headers["content-type"] == kind
    assert len(body) == int(headers["content-length"]) > 0
    assert {name: headers[name.lower()] for name in HEADERS} == HEADERS
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "server" not in headers


def test_the_status_is_the_documents_own_json(site: Served) -> None:
    """Whatever is in it."""
    document = json.loads(site.get("/status.json")[2])
    del document["made"]
    assert document == status()


def test_the_metrics_come_in_openmetrics_for_who_asks_for_that(site: Served) -> None:
    """Prometheus does."""
    accept = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5"
    _, headers, body = site.get("/metrics", accept=accept)
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")


def test_what_is_dear_to_make_is_made_once_for_all_who_ask_at_the_same_time(site: Served) -> None:
    """The loop that makes it serves mail."""

    def numbers() -> set[int]:
        return {json.loads(site.get("/status.json")[2])["made"] for _ in range(5)}

    wait_until(lambda: len(numbers()) <= 2, "answers that are kept")


def test_what_takes_long_is_kept_for_many_times_as_long() -> None:
    """So however many ask, mail has the loop for most of the time."""
    now = [100.0]
    made = []

    class Slow(Canned):
        """Takes a second."""

        def bans(self) -> list[dict[str, Any]]:
            made.append(now[0])
            now[0] += 1.0
            return super().bans()

    answers = Answers(Slow({}), lambda: now[0])
    while now[0] < 200.0:
        assert answers.to(Asked("GET", "/bans.json")).status == 200
        now[0] += 0.1
    assert len(made) <= 100 / FRESH_SHARE + 1


def test_a_head_request_gets_the_head_alone(site: Served) -> None:
    """As health checks send it."""
    code, headers, body = site.ask(head("HEAD", "/readyz"))
    assert (code, headers["content-length"], body) == (200, "6", b"")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:8025", "[::1]:8025", "localhost."])
def test_this_hosts_own_names_are_answered(site: Served, host: str) -> None:
    """With or without a port, which may be that of a tunnel."""
    assert site.get("/livez", TCP, host=host)[0] == 200


@pytest.mark.parametrize("place", [UNIX, TCP])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8025", "", "localhost@evil", "[::2]", "x y"],
)
def test_a_name_that_somebody_else_made_lead_here_gets_nothing(site: Served, place: int, host: str) -> None:
    """DNS rebinding: also through a tunnel to the unix socket."""
    code, _, body = site.get("/status.json", place, host=host)
    assert code == 403
    assert b"policy" not in body


def test_a_request_with_two_names_or_with_none_gets_nothing(site: Served) -> None:
    """But for HTTP/1.0, which health checks still speak, and no browser."""
    assert site.ask(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")[0] == 403
    assert site.ask(b"GET /livez HTTP/1.1\r\n\r\n")[0] == 403
    with site.connect() as made:
        made.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert rest(made).split()[1] == b"200"


@pytest.mark.parametrize(
    "path", ["/assets/", "/assets/../page.py", "/assets/%2e%2e/page.py", "//", "/x", "*", "http://localhost/livez"]
)
def test_what_is_not_there_is_not_found(site: Served, path: str) -> None:
    """There are no directories."""
    code, _, body = site.get(path)
    assert (code, body) == (404, b"there is no such thing\n")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/status.json", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("GET", "/bans/lift", "POST"),
        ("OPTIONS", "/bans/lift", "POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(site: Served, method: str, path: str, allow: str) -> None:
    """And nothing allows a page elsewhere to send JSON here: it would have to ask by OPTIONS."""
    code, headers, _ = site.ask(head(method, path))
    assert (code, headers["allow"]) == (405, allow)
    assert not any(name.startswith("access-control-") for name in headers)


def test_a_ban_is_lifted_over_the_unix_socket(tmp_path: Path) -> None:
    """Once; and the list says so at once."""
    with served("uvloop", f"unix:{tmp_path}/admin.sock") as site:
        assert json.loads(site.get("/bans.json")[2]) == [{"key": "192.0.2.7", "limit": "scanners"}]
        assert json.loads(site.post(b'{"address": "192.0.2.7"}')[2]) == {
            "lifted": True,
            "number": 1,
            "keys": ["192.0.2.7"],
        }
        assert json.loads(site.get("/bans.json")[2]) == []
        assert json.loads(site.post(b'{"address": "192.0.2.7"}')[2]) == {"lifted": False, "number": 0, "keys": []}


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b'{"address": "192.0.2.7"}', {"content_type": "text/plain"}, 415),
        (b'{"address": "192.0.2.7"}', {"content_type": "application/x-www-form-urlencoded"}, 415),
        (b'{"address": "192.0.2.7"}', {"content_type": "multipart/form-data; boundary=x"}, 415),
        (b'{"address": "192.0.2.7"}', {"origin": "http://localhost"}, 403),
        (b'{"address": "192.0.2.7"}', {"origin": "null"}, 403),
        (b'{"address": "192.0.2.7"}', {"host": "evil.example"}, 403),
        (b"{", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[" * 1000, {}, 400),
        (b'["192.0.2.7"]', {}, 400),
        (b'{"address": 1}', {}, 400),
        (b'{"address": ""}', {}, 400),
        (b'{"address": "%s"}' % (b"1" * 65), {}, 400),
    ],
)
def test_nothing_is_lifted_for_a_web_page_or_by_what_is_no_request_for_it(
    site: Served, body: bytes, headers: dict[str, str], code: int
) -> None:
    """A form or a script of a page elsewhere can send the first ones from a browser on this host."""
    assert site.post(body, UNIX, **headers)[0] == code
    assert len(json.loads(site.get("/bans.json")[2])) == 1


def test_nothing_is_lifted_over_tcp(site: Served) -> None:
    """Whoever is on this host can connect there."""
    code, _, body = site.post(b'{"address": "192.0.2.7"}', TCP)
    assert (code, body) == (403, b"only over a unix socket, where the kernel says who may\n")
    assert len(json.loads(site.get("/bans.json")[2])) == 1


def test_who_is_not_ready_says_why_and_lives(tmp_path: Path) -> None:
    """A supervisor must not kill what waits for a mail server."""
    with served("uvloop", f"unix:{tmp_path}/admin.sock", ready=False) as site:
        assert site.get("/readyz")[::2] == (503, b"not ready: relay check without an answer yet\n")
        assert site.get("/livez")[0] == 200


def test_a_fault_of_our_own_tells_who_asks_nothing(tmp_path: Path) -> None:
    """No traceback, no text of the exception; and the endpoint goes on."""
    with served("uvloop", f"unix:{tmp_path}/admin.sock", status=None) as site:
        for path in ("/status.json", "/metrics", "/"):
            code, headers, body = site.get(path)
            assert (code, body) == (500, b"a fault of the guard itself, which is in its log\n")
            assert {name: headers[name.lower()] for name in HEADERS} == HEADERS
        assert site.get("/livez")[0] == 200


# -- bounds ----------------------------------------------------------------------------------------


def test_a_head_without_end_is_not_read(site: Served) -> None:
    """One long line, or many."""
    long = b"GET /" + b"x" * (bounds.HEAD_OCTETS + 10)
    many = head("GET", "/livez")[:-2] + b"a: b\r\n" * bounds.HEAD_OCTETS
    for request in (long, many):
        with site.connect() as made:
            made.sendall(request)
            answered = rest(made)
        assert not answered or answered.startswith(b"HTTP/1.1 400 ")
    assert site.get("/livez")[0] == 200


def test_a_body_that_is_too_long_or_of_no_length_is_not_read(site: Served) -> None:
    """It is refused by its head."""
    assert site.ask(head("POST", "/bans/lift", content_length=str(bounds.BODY_OCTETS + 1)))[0] == 413
    assert site.ask(head("POST", "/bans/lift", content_length="9" * 30, expect="100-continue"))[0] == 413
    assert site.ask(head("POST", "/bans/lift", transfer_encoding="chunked") + b"5\r\nhello\r\n0\r\n\r\n")[0] == 411


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"EHLO x\r\n",
        b"GET\r\n\r\n",
        b"\0" * 500 + b"\r\n\r\n",
        b"GET / FTP/1.0\r\n\r\n",
    ],
)
def test_what_is_no_http_is_closed(site: Served, octets: bytes) -> None:
    """A mail client that has found the wrong port, say."""
    with site.connect() as made:
        made.sendall(octets)
        made.shutdown(1)
        answered = rest(made)
    assert not answered or answered.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 ", b"HTTP/1.0 403 "))
    assert b"erver" not in answered


def test_a_second_request_on_a_connection_is_not_answered(site: Served) -> None:
    """One each, so that nobody can keep a connection for ever."""
    with site.connect() as made:
        made.sendall(head("GET", "/livez") * 3)
        answered = rest(made)
    assert answered.count(b"HTTP/1.1 ") == 1
    assert parted(answered)[1]["connection"] == "close"


def test_who_keeps_connections_open_keeps_nobody_out(site: Served) -> None:
    """The oldest gives way."""
    idle = [site.connect() for _ in range(bounds.CONNECTIONS)]
    for one in idle:
        one.sendall(b"GET /livez HT")
    try:
        assert site.get("/livez")[0] == 200
        wait_until(lambda: _is_closed(idle[0]), "the oldest to be closed")
        assert not _is_closed(idle[-1])
    finally:
        for one in idle:
            one.close()


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.long
def test_who_sends_an_octet_at_a_time_is_closed_in_the_end(site: Served) -> None:
    """What is sent puts nothing off."""
    with site.connect() as made:
        began = time.monotonic()

        def dropped() -> bool:
            try:
                made.sendall(b"G")
            except OSError:
                return True
            return False

        wait_until(dropped, "the end of it", 2 * bounds.CONNECTION_SECONDS)
        assert time.monotonic() - began >= bounds.CONNECTION_SECONDS - 1


# -- the socket ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reactor", ["uvloop", "stock"])
@pytest.mark.parametrize(("mode", "rights"), [("", 0o600), (":mode=660", 0o660)])
def test_the_socket_has_the_rights_that_the_settings_say_and_goes_with_the_service(
    tmp_path: Path, reactor: str, mode: str, rights: int
) -> None:
    """Its owner's alone, if they say nothing."""
    path = tmp_path / "admin.sock"
    with served(reactor, f"unix:{path}{mode}"):
        assert stat.S_IMODE(path.stat().st_mode) == rights
    assert not path.exists()


def test_a_socket_that_nobody_answers_at_is_replaced(tmp_path: Path) -> None:
    """As after a kill -9."""
    path = tmp_path / "admin.sock"
    with served("uvloop", f"unix:{path}") as first:
        first.process.kill()
        first.process.wait()
        assert path.exists()
        with served("uvloop", f"unix:{path}") as second:
            assert second.get("/livez")[0] == 200


def test_a_socket_that_somebody_answers_at_is_left_alone_until_it_is_free(tmp_path: Path) -> None:
    """A guard that takes the place of another waits for it, and serves meanwhile; the other removes only its own."""
    path = tmp_path / "admin.sock"
    with served("uvloop", f"unix:{path}") as first:
        with served("uvloop", f"unix:{path}", "tcp:0:interface=127.0.0.1") as second:
            assert second.places[0] is None
            assert second.get("/livez", 1)[0] == 200
            before = path.stat().st_ino
            assert first.get("/livez")[0] == 200
            first.process.terminate()
            first.process.wait()
            wait_until(lambda: path.exists() and path.stat().st_ino != before, "the second to have the socket", 20)
        assert not path.exists()


@pytest.mark.parametrize("what", ["file", "missing folder", "folder"])
def test_a_place_that_cannot_be_had_keeps_nothing_from_running(tmp_path: Path, what: str) -> None:
    """It is told, and what is there stays as it is."""
    path = tmp_path / "admin.sock"
    if what == "file":
        path.write_text("mine")
    elif what == "folder":
        path.mkdir()
    else:
        path = tmp_path / "none" / "admin.sock"
    with served("uvloop", f"unix:{path}", "tcp:0:interface=127.0.0.1") as site:
        assert site.places[0] is None
        assert site.get("/livez", 1)[0] == 200
        site.process.terminate()
        assert site.process.stderr is not None
        said = site.process.stderr.read()
    assert said.count(f"admin: cannot listen at unix:{path}: ") == 1
    assert what != "file" or path.read_text() == "mine"
    assert what != "folder" or os.listdir(path) == []
