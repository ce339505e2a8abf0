"""What the tests of this folder share: certificates, mail servers, settings and clients in TLS."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from tests.rig.client import Talk
from tests.rig.sendmail import RealSendmail, run_directory
from tests.rig.unpacked import UNPACKED
from tests.rig.wait import wait_until
from tests.sendmail.support import INSIDE, commands_read
from tests.tls.support import Authority, Issued

MX: Final = "mx.test"
BACKEND: Final = "backend.test"
HASTY: Final = "127.0.0.3"
"""A client that must wait for the reply to its greeting."""
TLS_LINE: Final = r"STARTTLS=server, relay={}, version={}, verify={}, cipher={}, bits=\d+/\d+"

POLICY: Final = """
networks: {internal: [127.0.0.1/32], hasty: [127.0.0.3/32], trusted: [127.0.0.4/32]}
auth: {require_tls: true}
early_input: {hasty: reject, default: hold}
budgets: {vrfy: 0, refused: 20}
rulesets:
  check_vrfy:
    - {auth_failed: true, action: close}
    - {from: internal, action: forward}
    - {tls_name: "*.partner.test", action: forward}
    - {action: reply}
  check_expn: [{from: internal, action: forward}, {action: reply}]
  check_etrn: [{tls: true, action: forward}, {action: reply}]
"""


class Certified:
    """An authority, a stranger to it, and files with what they have issued."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority()
        self.stranger = Authority("Stranger")
        self.ca = self.authority.write_ca(folder)
        self.strange_ca = self.stranger.write_ca(folder, "strange")
        self.sites = folder / "sites"
        """A directory of certificates, for `certificates:`."""
        self.authority.issue((MX,)).write(self.sites, "default")
        self.authority.issue(("a.test",)).write(self.sites, "a")
        self.authority.issue(("*.b.test",)).write(self.sites, "b")

    @property
    def starttls(self) -> dict[str, object]:
        """What a listener says."""
        return {"certificates": str(self.sites), "client_ca": str(self.ca)}

    def trusting(
        self, client: Issued | None = None, version: ssl.TLSVersion | None = None, verify: bool = True
    ) -> ssl.SSLContext:
        """Return a context for clients, which may have a certificate of their own."""
        context = ssl.create_default_context(cadata=self.authority.ca_pem.decode())
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if client is not None:
            context.load_cert_chain(*client.write(self.folder / "clients", f"{id(client)}"))
        return context

    def server(
        self, *names: str, by: Authority | None = None, self_signed: bool = False, expired: bool = False
    ) -> ssl.SSLContext:
        """Return a context for a backend of ours."""
        return self.showing((by or self.authority).issue(names, self_signed=self_signed, expired=expired))

    def showing(self, issued: Issued) -> ssl.SSLContext:
        """The same for a certificate that is there."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*issued.write(self.folder / "servers", f"{id(issued)}"))
        return context


class EncryptingSendmail(RealSendmail):
    """A sendmail that offers STARTTLS itself, with a certificate for BACKEND."""

    def __init__(self, issued: Issued, ca: bytes, extra_mc: str = "", **options: Any) -> None:
        self._certificates = run_directory("certificates")
        chain, key = issued.write(self._certificates, "backend")
        authority = self._certificates / "ca.pem"
        authority.write_bytes(ca)
        values = {"CACERT_PATH": self._certificates, "CACERT": authority, "SERVER_CERT": chain, "SERVER_KEY": key}
        text = "\n".join(f"define(`conf{name}', `{path}')dnl" for name, path in values.items())
        super().__init__(extra_mc=f"{text}\n{extra_mc}", **options)

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self._certificates, ignore_errors=True)


def session(server: RealSendmail, name: str, since: int = 0) -> str:
    """Wait for the end of the session that was greeted with this name; return its traffic, line by line."""

    def ended() -> str | None:
        traffic = server.traffic()[since:]
        found = re.search(rf"^(\d+) <<< EHLO {re.escape(name)}\r?$", traffic, re.MULTILINE)
        if found is None:
            return None
        mine = "".join(f"{line}\n" for line in traffic.split("\n") if line.startswith(f"{found[1]} "))
        return mine if re.search(r"\[EOF\]|>>> 221 ", mine) else None

    return wait_until(ended, f"the end of the session of {name}", 20, lambda: server.traffic()[since:][-4000:])


def commands(server: RealSendmail, name: str, since: int = 0) -> list[str]:
    """The same, but what sendmail has read as commands."""
    return [line.rstrip() for line in commands_read(session(server, name, since))]


# -- settings ------------------------------------------------------------------------------


def listener(name: str, **keys: object) -> dict[str, object]:
    """Return a listener at a free port."""
    return {"endpoint": "tcp:0:interface=127.0.0.1", "name": name, **keys}


def listening(*listeners: Mapping[str, object], **settings: object) -> dict[str, Any]:
    """Return what a ConfiguredGuard is told: the listeners and other settings."""
    # By way of JSON nothing is shared: YAML would write an alias for it, and settings may have none.
    unshared = json.loads(json.dumps({"listen": listeners, **settings}))
    return {"settings": unshared, "listen": ("127.0.0.1",) * len(listeners)}


# -- clients -------------------------------------------------------------------------------


@contextlib.contextmanager
def closed_unless_good(client: Talk) -> Iterator[None]:
    """Close a client with which something went wrong before anybody else could do it."""
    try:
        yield
    except BaseException:
        client.close()
        raise


class TlsTalk(Talk):
    """A Talk that can shake hands; if its TLS ends without a close_notify, that is an ssl.SSLEOFError."""

    _socket: socket.socket

    def shake_hands(self, context: ssl.SSLContext, name: str | None = MX) -> Self:
        """Begin TLS on what is there."""
        assert not self._unread, "there is more behind the reply"
        with closed_unless_good(self):
            self._socket = context.wrap_socket(self._socket, server_hostname=name, suppress_ragged_eofs=False)
        return self

    @property
    def tls(self) -> ssl.SSLSocket:
        assert isinstance(self._socket, ssl.SSLSocket)
        return self._socket

    @property
    def host_names(self) -> list[str]:
        """Those in the certificate of the other end."""
        certificate: Any = self.tls.getpeercert()
        return [name for _, name in certificate["subjectAltName"]]

    def some(self) -> bytes:
        """Wait for octets, outside TLS."""
        octets = self._socket.recv(65536)
        if not octets:
            raise ConnectionResetError("the end of the connection, without a close_notify")
        return octets

    def raw_half_close(self) -> None:
        """Send a FIN in the middle of TLS."""
        socket.socket.shutdown(self._socket, socket.SHUT_WR)

    def keywords(self) -> list[str]:
        """Say EHLO; return what is offered."""
        return [line[4:].split()[0] for line in self.say("EHLO me.test").split("\n")[1:]]


def starttls(
    port: int, context: ssl.SSLContext, source: str = INSIDE, name: str | None = MX, greeting: str = "me.test"
) -> TlsTalk:
    """Connect and say EHLO and STARTTLS; TLS is there, and nothing was said in it."""
    client = TlsTalk("127.0.0.1", port, source)
    with closed_unless_good(client):
        client.say(f"EHLO {greeting}")
        assert client.say("STARTTLS").startswith("220 2.0.0 ")
        return client.shake_hands(context, name)


def implicit(
    port: int, context: ssl.SSLContext, source: str = INSIDE, name: str | None = MX, before: bytes = b""
) -> TlsTalk:
    """Connect, send a header if there is one, shake hands and read the banner."""
    client = TlsTalk("127.0.0.1", port, source, greet=False)
    with closed_unless_good(client):
        client.send(before)
        client.shake_hands(context, name)
        client.banner = client.reply().decode("ascii")
    return client


def listening_client(context: ssl.SSLContext, said: bytes = b"") -> tuple[bytes, Callable[[TlsTalk], bytes]]:
    """Return a client's first octets, and what goes on with the rest of the handshake when they were sent.

    It says what it has to say, closes its own direction with a close_notify, and returns all that it is told.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=MX)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()

    def finish(client: TlsTalk) -> bytes:
        heard = b""
        steps: list[Callable[[], object]] = [tls.do_handshake, lambda: tls.write(said) if said else 0, tls.unwrap]
        while steps:
            try:
                steps[0]()
            except ssl.SSLWantReadError:
                # unwrap has sent the close_notify; for the peer's there is time when all was heard.
                if len(steps) > 1:
                    client.send(outgoing.read())
                    incoming.write(client.some())
                    continue
            steps.pop(0)
            client.send(outgoing.read())
        while True:
            try:
                heard += tls.read(65536)
            except ssl.SSLWantReadError:
                incoming.write(client.some())
            except ssl.SSLZeroReturnError:
                return heard

    return hello, finish


def s_client(
    port: int,
    *options: str,
    said: str = "QUIT\r\n",
    way: Sequence[str] = ("-starttls", "smtp"),
    waits: bool = True,
    commands: bool = False,
) -> str:
    """Run `openssl s_client`; return all that it wrote.

    It waits for the other end to close, or ends with its input.  `commands` leaves it its own, as R.
    """
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *way, *options]
    command += [*(["-ign_eof"] if waits else []), *([] if commands else ["-nocommands"])]
    done = subprocess.run(command, input=said.encode("latin-1"), capture_output=True, timeout=30)
    return (done.stdout + done.stderr).decode("latin-1")


def posttls_finger(folder: Path, port: int, *options: str) -> str:
    """Run Postfix's own TLS client; it says how far it trusts what it sees."""
    package = UNPACKED / "postfix"
    (folder / "main.cf").write_text(
        "compatibility_level=3.6\nmail_owner=nobody\nsetgid_group=mail\ndefault_privs=daemon\ninet_protocols=ipv4\n"
        "myhostname=me.test\n"
    )
    done = subprocess.run(
        [str(package / "usr/sbin/posttls-finger"), "-t", "20", *options, f"[127.0.0.1]:{port}", MX],
        env={**os.environ, "LD_LIBRARY_PATH": str(package / "usr/lib/postfix"), "MAIL_CONFIG": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr
