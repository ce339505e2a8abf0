"""A real sendmail of our own: own host name, users, aliases, queue, log and mailbox.

It needs root, the Debian packages sendmail-bin, sendmail-cf and m4 (and sasl2-bin for
AUTH).  Nothing of the machine's own sendmail is read but the m4 macros and the help
file, and nothing of the machine is changed: all that has to be different (host name,
/etc/passwd, /etc/hosts, /dev/log ...) is different only in namespaces that end with
the process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from .wait import wait_until

HOST_NAME = "x.test"
USERS = ("george", "alice", "bob")
AUTH_USER = "george"
AUTH_PASSWORD = "s3cret-of-george"

# sendmail refuses files below a world-writable directory, so /tmp will not do.
BASE = Path("/var/lib/smtpguard-tests")
_MACROS = Path("/usr/share/sendmail/cf/m4/cf.m4")
# Below the range the kernel takes ports of outgoing connections from: a port found
# free there is not taken by a client between our look and sendmail's bind.
_PORTS = range(20000, 32000)


class RigError(RuntimeError):
    """The rig itself (not what is tested) does not work; the text says why."""


@dataclass(frozen=True)
class Delivery:
    """One run of the local mailer: its envelope and the bytes it got on stdin."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


def why_not(auth: bool = False) -> str:
    """Return why a RealSendmail cannot run on this machine, or "" if it can."""
    if os.geteuid() != 0:
        return "not root"
    tools = ["sendmail", "m4", "setpriv", "unshare", "mount", "hostname"]
    if auth:
        tools.append("saslpasswd2")
    missing = [tool for tool in tools if find_tool(tool) is None]
    if not _MACROS.is_file():
        missing.append(str(_MACROS))
    return "missing: " + ", ".join(missing) if missing else ""


def comparable(message: bytes) -> bytes:
    """Return `message` without what differs between two deliveries of the same mail.

    Left out are the header fields Received, Message-Id and Date, each with its
    continuation lines; every other byte stays.  So a mail whose own Date or
    Message-Id matters must be compared by other means.
    """
    head, gap, body = message.partition(b"\n\n")
    kept: list[bytes] = []
    keep = True
    for line in head.split(b"\n"):
        if line[:1] not in (b" ", b"\t"):
            name = line.partition(b":")[0].strip().lower()
            keep = name not in (b"received", b"message-id", b"date")
        if keep:
            kept.append(line)
    return b"\n".join(kept) + gap + body


class RealSendmail:
    """A running sendmail, for the time of a `with` block.

    `listen` holds (address, port) pairs; port 0 means a free one.  `privacy_options`
    is the value of PrivacyOptions; with "" sendmail's own default stays.  `auth`
    offers AUTH PLAIN LOGIN to AUTH_USER with AUTH_PASSWORD.  `extra_mc` is put into
    the .mc file after everything but the mailers.

    When the block is entered every listener accepts connections; when it is left,
    all processes are gone and all files removed.
    """

    def __init__(
        self,
        privacy_options: str = "",
        log_level: int = 14,
        listen: Sequence[tuple[str, int]] = (("127.0.0.1", 0),),
        auth: bool = False,
        extra_mc: str = "",
    ) -> None:
        """Only take the settings; the files and the process are made on entry."""
        self._privacy_options = privacy_options
        self._log_level = log_level
        self._wanted = tuple(listen)
        self._auth = auth
        self._extra_mc = extra_mc
        self._listen: list[tuple[str, int]] = []
        self._dir: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._syslog: PrivateSyslog | None = None

    # -- life ---------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start sendmail; raise RigError with its own words if it does not start."""
        reason = why_not(self._auth)
        if reason:
            raise RigError(f"cannot run sendmail: {reason}")
        self._dir = run_directory("sendmail")
        try:
            self._listen = choose_ports(self._wanted)
            self._write_files(self._dir)
            self._syslog = PrivateSyslog(self._dir / "log")
            self._start(self._dir)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it and remove its files."""
        self.stop()

    def stop(self) -> None:
        """End every process of this sendmail and remove its files; harmless twice.

        Takes at most some 10 s: the daemon is asked first, then its whole process
        namespace is killed, so that no child survives.
        """
        process, self._process = self._process, None
        if process is not None:
            end_processes(process)
        syslog, self._syslog = self._syslog, None
        if syslog is not None:
            syslog.close()
        directory, self._dir = self._dir, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
            with contextlib.suppress(OSError):  # another run uses it, or has removed it before us
                BASE.rmdir()

    # -- what a test asks ----------------------------------------------------

    @property
    def address(self) -> str:
        """The address of the first listener."""
        return self._listen[0][0]

    @property
    def port(self) -> int:
        """The port of the first listener."""
        return self._listen[0][1]

    @property
    def configuration(self) -> Path:
        """The sendmail.cf that it runs with."""
        return self._directory() / "sendmail.cf"

    @property
    def listeners(self) -> list[tuple[str, int]]:
        """The (address, port) of every listener, in the order asked for."""
        return list(self._listen)

    def deliveries(self, count: int, seconds: float = 30) -> list[Delivery]:
        """Wait for at least `count` deliveries in all; return all there are by then.

        They are ordered by what does not depend on the time (see comparable), so
        that two sendmails that got the same mails give the same list.
        """
        inbox = self._directory() / "inbox"

        def arrived() -> list[Path]:
            return list(inbox.glob("*.message"))

        wait_until(lambda: len(arrived()) >= count, f"{count} messages", seconds, self._story)
        result = [read_delivery(path) for path in arrived()]
        result.sort(key=lambda one: (comparable(one.content), one.sender, one.recipients))
        return result

    def messages(self, count: int, seconds: float = 30) -> list[bytes]:
        """Return the contents of deliveries(count, seconds), in that order."""
        return [one.content for one in self.deliveries(count, seconds)]

    def log(self) -> str:
        """Return its syslog lines so far, each with its <PRI>, one per line.

        A line may come a moment after the reply it belongs to: wait_log waits.
        """
        return "\n".join(self._syslog_lines())

    def wait_log(self, pattern: str, seconds: float = 20) -> str:
        """Wait for a syslog line in which the regex `pattern` is found; return it."""

        def seen() -> str | None:
            return next((one for one in self._syslog_lines() if re.search(pattern, one)), None)

        return wait_until(seen, f"syslog line {pattern!r}", seconds, self._story)

    def traffic(self) -> str:
        """Return the -X log so far: `PID <<< line read`, `PID >>> line written`.

        A line read keeps the line end the client sent (CRLF or LF), but is cut off at
        a NUL, without a line end; a line written ends with LF.  Bytes are read as
        Latin-1.  A line is there before it is answered.
        """
        path = self._directory() / "traffic"
        return path.read_bytes().decode("latin-1") if path.exists() else ""

    # -- how it is made ------------------------------------------------------

    def _directory(self) -> Path:
        """Return the run directory; only between entry and stop."""
        if self._dir is None:
            raise RigError("sendmail is not running")
        return self._dir

    def _syslog_lines(self) -> list[str]:
        """Return the syslog lines so far."""
        return self._syslog.lines() if self._syslog is not None else []

    def _story(self) -> str:
        """Return all that helps to understand a failure."""
        directory = self._directory()
        errors = directory / "stderr"
        parts = [
            "--- stderr",
            errors.read_text("latin-1") if errors.exists() else "(none)",
            "--- syslog",
            self.log(),
            "--- traffic",
            self.traffic(),
        ]
        return "\n".join(parts)

    def _write_files(self, run: Path) -> None:
        """Write all files sendmail and its namespaces need below `run`."""
        for name in ("etc", "dev", "queue", "inbox", "sasl"):
            (run / name).mkdir(mode=0o755)
        (run / "queue").chmod(0o700)
        (run / "statistics").touch()  # without it every mail leaves a complaint in the log
        # 127.0.0.1 stays `localhost`, as on a stock Debian: the log then shows for it
        # what an administrator sees.  The host's own name is on an address no test uses.
        (run / "etc/hosts").write_text(
            f"127.0.0.1 localhost\n127.0.1.1 {HOST_NAME} {HOST_NAME.split('.')[0]}\n"
            "::1 localhost ip6-localhost ip6-loopback\n"
        )
        (run / "etc/nsswitch.conf").write_text(
            "passwd: files\ngroup: files\nshadow: files\nhosts: files\n"
            "networks: files\nprotocols: files\nservices: files\n"
        )
        # Nothing should ask it; if something does, the question stays on loopback.
        (run / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        (run / "etc/passwd").write_text(_passwd())
        (run / "switch").write_text("passwd files\nhosts files\naliases files\n")
        (run / "aliases").write_text(f"postmaster: {USERS[0]}\nMAILER-DAEMON: postmaster\nall: {', '.join(USERS)}\n")
        mailer = run / "deliver"
        mailer.write_text(mailer_script(run / "inbox"))
        mailer.chmod(0o755)
        if self._auth:
            _write_sasl(run / "sasl")
        source = run / "sendmail.mc"
        source.write_text(self._mc(run))
        made = subprocess.run(["m4", source.name], cwd=run, capture_output=True)
        if made.returncode != 0 or not made.stdout:
            raise RigError(f"m4 failed: {made.stderr.decode('latin-1')}")
        (run / "sendmail.cf").write_bytes(made.stdout)
        (run / "start").write_text(_start_script(run, self._auth))

    def _mc(self, run: Path) -> str:
        """Return the .mc: Debian's, less what is of the machine, plus our places."""
        lines = [
            "divert(0)dnl",
            f"include(`{_MACROS}')dnl",
            "VERSIONID(`smtpguard test rig')dnl",
            "OSTYPE(`debian')dnl",
            # What Debian's ostype would read or write outside our directory.
            "undefine(`confCR_FILE')dnl",
            "undefine(`confHOST_STATUS_DIRECTORY')dnl",
            f"define(`STATUS_FILE', `{run}/statistics')dnl",
            f"define(`confDEAD_LETTER_DROP', `{run}/dead.letter')dnl",
            f"define(`confPID_FILE', `{run}/pid')dnl",
            f"define(`QUEUE_DIR', `{run}/queue')dnl",
            f"define(`ALIAS_FILE', `{run}/aliases')dnl",
            # No name server, no ident, no look at the machine's own addresses.
            f"define(`confSERVICE_SWITCH_FILE', `{run}/switch')dnl",
            "define(`confTO_IDENT', `0s')dnl",
            "define(`confDONT_PROBE_INTERFACES', `True')dnl",
            "FEATURE(`nocanonify')dnl",
            "FEATURE(`accept_unresolvable_domains')dnl",
            # A busy test machine must neither refuse nor queue.
            "define(`confREFUSE_LA', `10000')dnl",
            "define(`confQUEUE_LA', `10000')dnl",
            "define(`confMIN_FREE_BLOCKS', `0')dnl",
            f"define(`confLOG_LEVEL', `{self._log_level}')dnl",
            f"LOCAL_DOMAIN(`{HOST_NAME}')dnl",
            # The stock local mailer, but: m (one file for all recipients of a mail),
            # S (stays root, so it may write the inbox), not 9 (would decode
            # quoted-printable bodies), not r (no extra arguments).
            f"define(`LOCAL_MAILER_PATH', `{run}/deliver')dnl",
            "define(`LOCAL_MAILER_ARGS', `deliver $g $u')dnl",
            "MODIFY_MAILER_FLAGS(`LOCAL', `lsDFMAw5:/|@qPmnS')dnl",
            "FEATURE(`no_default_msa')dnl",
        ]
        for number, (address, port) in enumerate(self._listen, 1):
            family = "inet6" if ":" in address else "inet"
            # A: no AUTH.  Else what EHLO says would depend on the SASL modules that
            # happen to be installed.
            modifiers = "" if self._auth else ", Modifiers=A"
            lines.append(
                f"DAEMON_OPTIONS(`Family={family}, Name=MTA{number}, Addr={address}, Port={port}{modifiers}')dnl"
            )
        if self._privacy_options:
            lines.append(f"define(`confPRIVACY_FLAGS', `{self._privacy_options}')dnl")
        if self._auth:
            lines += [
                "TRUST_AUTH_MECH(`PLAIN LOGIN')dnl",
                "define(`confAUTH_MECHANISMS', `PLAIN LOGIN')dnl",
                f"define(`confAUTH_REALM', `{HOST_NAME}')dnl",
            ]
        if self._extra_mc:
            lines.append(self._extra_mc.rstrip("\n"))
        return "\n".join([*lines, "MAILER(`local')dnl", "MAILER(`smtp')dnl", ""])

    def _start(self, run: Path) -> None:
        """Start the process and wait until it listens everywhere."""
        with (run / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                [
                    # When the thread that starts it ends (pytest was killed, say), so does
                    # unshare; a RealSendmail must not outlive the thread that entered it.
                    *("setpriv", "--pdeathsig=KILL"),
                    # --pid with --kill-child: when the first process in there or unshare
                    # ends, the kernel ends all the others too.
                    *("unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child=KILL"),
                    *("/bin/sh", str(run / "start")),
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
                # A Ctrl-C in the terminal is for pytest; we end sendmail ourselves.
                start_new_session=True,
            )
        self._process = process
        wanted = {port for _, port in self._listen}

        def ready() -> bool:
            status = process.poll()
            if status is not None:
                raise RigError(f"sendmail ended with {status} at start\n{self._story()}")
            # The pid file is written once all sockets are bound, so the ports are
            # ours, not those of a process that was faster than us.
            return (run / "pid").exists() and wanted <= listening_ports()

        # Not by connecting: that would leave lines in the log a test wants to read.
        wait_until(ready, "sendmail to listen", 20, self._story)


class PrivateSyslog:
    """A datagram socket that plays /dev/log and keeps what comes."""

    def __init__(self, path: Path) -> None:
        """Bind to `path` and read until close."""
        self._path = path
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o666)
        # A thread, not a read on demand: the socket's queue holds few datagrams and
        # a full one would stop sendmail.
        self._thread = threading.Thread(target=self._read, name="rig-syslog", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        """Keep every datagram until an empty one comes (sent by close)."""
        while datagram := self._socket.recv(65536):
            line = datagram.rstrip(b"\n\0").decode("latin-1")
            with self._lock:
                self._lines.append(line)

    def lines(self) -> list[str]:
        """Return the lines so far."""
        with self._lock:
            return list(self._lines)

    def close(self) -> None:
        """End the thread and the socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ender:
            ender.sendto(b"", str(self._path))
        self._thread.join(5)
        self._socket.close()


def find_tool(name: str) -> str | None:
    """Return the path of a program, also if it is only on root's path."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin")


def run_directory(name: str) -> Path:
    """Make and return a directory NAME-... that only we use and sendmail trusts (mode 0755)."""
    while True:
        BASE.mkdir(mode=0o755, exist_ok=True)
        try:
            run = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=BASE))
        except FileNotFoundError:
            continue  # a run that ended at this moment has removed the empty base
        # Whatever the umask of who runs the tests.
        BASE.chmod(0o755)
        run.chmod(0o755)
        return run


def choose_ports(wanted: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return `wanted` with every port 0 replaced by a port that is free now.

    A port asked for by number that is not free is a RigError: sendmail itself would
    try again for a minute before it says so.
    """
    chosen: list[tuple[str, int]] = []
    for address, port in wanted:
        if port != 0 and not _free(address, port):
            raise RigError(f"port {port} of {address} is in use")
        while port == 0:
            candidate = secrets.choice(_PORTS)
            if all(candidate != taken for _, taken in chosen) and _free(address, candidate):
                port = candidate
        chosen.append((address, port))
    return chosen


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now, and that no client of another test gets as its own."""
    ((_, port),) = choose_ports([("127.0.0.1", 0)])
    return port


def _free(address: str, port: int) -> bool:
    """Tell if the port can be bound now; RigError if the address cannot be used at all."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise RigError(f"cannot listen on {address}: {error}") from error
    return True


def listening_ports() -> set[int]:
    """Return the TCP ports in state LISTEN in this thread's network namespace, v4 and v6."""
    ports: set[int] = set()
    for name in ("tcp", "tcp6"):
        table = Path("/proc/thread-self/net") / name
        if not table.exists():
            continue
        for row in table.read_text().splitlines()[1:]:
            columns = row.split()
            if columns[3] == "0A":
                ports.add(int(columns[1].rpartition(":")[2], 16))
    return ports


def _passwd() -> str:
    """Return the machine's passwd lines without our users, then our users.

    The machine's lines are needed for the accounts sendmail was built to use.
    """
    own = [f"{line}\n" for line in Path("/etc/passwd").read_text().splitlines() if line.partition(":")[0] not in USERS]
    # No full name: VRFY then answers with the bare <address>.
    own += [f"{user}:x:{61001 + number}:65534::/nonexistent:/usr/sbin/nologin\n" for number, user in enumerate(USERS)]
    return "".join(own)


def mailer_script(inbox: Path) -> str:
    """Return the local mailer, a script: stdin becomes one file, as it is.

    A .message file is complete when it appears (rename), and its .envelope, with the
    arguments one per line, is there before it.
    """
    return f"""#!/bin/sh
set -eu
umask 022
new=$(/usr/bin/mktemp {shlex.quote(str(inbox))}/XXXXXXXXXX)
printf '%s\\n' "$@" >"$new.envelope"
/bin/cat >"$new"
/bin/mv "$new" "$new.message"
"""


def read_delivery(path: Path) -> Delivery:
    """Read what the local mailer has written."""
    # By bytes and LF only: an address may hold any other byte str.splitlines splits at.
    lines = path.with_suffix(".envelope").read_bytes().decode("latin-1").split("\n")[:-1]
    return Delivery(lines[0], tuple(lines[1:]), path.read_bytes())


def _write_sasl(directory: Path) -> None:
    """Write the SASL settings and a password file with the one user."""
    database = directory / "sasldb2"
    made = subprocess.run(
        ["saslpasswd2", "-p", "-c", "-f", str(database), "-u", HOST_NAME, AUTH_USER],
        input=AUTH_PASSWORD.encode(),
        capture_output=True,
    )
    if made.returncode != 0:
        raise RigError(f"saslpasswd2 failed: {made.stderr.decode('latin-1')}")
    database.chmod(0o600)
    (directory / "Sendmail.conf").write_text(
        f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: PLAIN LOGIN\n"
    )


def _start_script(run: Path, auth: bool) -> str:
    """Return the script that is the first process in the new namespaces.

    It prepares them, starts sendmail, and ends when sendmail ends; on SIGTERM it ends
    sendmail.
    """
    binary = find_tool("sendmail")
    here = shlex.quote(str(run))
    binds = [
        f"mount --bind {here}/etc/{name} /etc/{name}" for name in ("hosts", "nsswitch.conf", "resolv.conf", "passwd")
    ]
    if auth:
        # The last place where libsasl looks for Sendmail.conf, and the one that exists.
        binds.append(f"mount --bind {here}/sasl /usr/lib/sasl2")
    return "\n".join(
        [
            "set -eu",
            "umask 022",
            # The first process of a namespace ignores SIGTERM if it has no handler.
            "trap 'exit 1' TERM",
            # A name with a dot: otherwise sendmail waits a minute for a better one.
            f"hostname {HOST_NAME}",
            *binds,
            # A /dev of our own, so that /dev/log can be our socket.
            f"mount -t tmpfs -o mode=0755 tmpfs {here}/dev",
            f"cp -a /dev/null /dev/zero /dev/random /dev/urandom {here}/dev/",
            f"ln -s {here}/log {here}/dev/log",
            f"mount --move {here}/dev /dev",
            f"{binary} -C{here}/sendmail.cf -bi >/dev/null",
            # Not exec: sendmail is setgid, and such an exec would make the kernel forget
            # that this process has to end with unshare (--kill-child).
            f"{binary} -C{here}/sendmail.cf -X{here}/traffic -bD &",
            "daemon=$!",
            "trap 'kill -TERM $daemon' TERM",
            # Twice: the first wait ends early when the trap runs.
            "wait $daemon || :",
            "wait $daemon",
            "",
        ]
    )


def end_processes(process: subprocess.Popen[bytes], first: signal.Signals = signal.SIGTERM) -> None:
    """End unshare and all below it: by the signal `first` if that does it in time, else by SIGKILL."""
    _signal_child(process, first)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        # The child is the first process of its namespace: all others die with it.
        _signal_child(process, signal.SIGKILL)
        process.kill()
        process.wait(5)


def _signal_child(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal what unshare runs (it passes nothing on itself); nothing if that has ended."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        for child in children.split():
            os.kill(int(child), number)
    except (FileNotFoundError, ProcessLookupError):
        pass
