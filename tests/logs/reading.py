"""What fail2ban and rsyslogd make of lines."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from tests.rig.guard import ROOT
from tests.rig.wait import wait_until

SHARE = ROOT / "smtpguard/share"
FILTERS = SHARE / "fail2ban/filter.d"


def found(log: Path, name: str, options: str = "") -> list[tuple[str, str]]:
    """Return (address, line) of each line of a file that a filter finds: one of ours, or one of Debian's."""
    ours = FILTERS / f"{name}.conf"
    wanted = f"{ours}{options}" if ours.exists() else f"{name}{options}"
    command = ["fail2ban-regex", "-e", "ascii", "-o", "<ip>\t<msg>", str(log), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    pairs = [line.split("\t", 1) for line in done.stdout.splitlines() if line]
    return [(address, line) for address, line in pairs]


def addresses(log: Path, name: str, options: str = "") -> set[str]:
    """Return the addresses that a filter finds."""
    return {address for address, _ in found(log, name, options)}


@frozen
class Syslogd:
    """A syslog daemon that runs."""

    socket: Path
    log: Path
    """Where it writes mail's lines."""
    process: subprocess.Popen[str]


@contextmanager
def rsyslogd(folder: Path, template: str) -> Iterator[Syslogd]:
    """Run a real syslog daemon."""
    socket, log, pid = folder / "syslog", folder / "mail.log", folder / "rsyslogd.pid"
    settings = folder / "rsyslog.conf"
    settings.write_text(
        'module(load="imuxsock" SysSock.Use="off")\n'
        f'input(type="imuxsock" Socket="{socket}" CreatePath="off" RateLimit.Interval="0")\n'
        f'mail.* action(type="omfile" file="{log}" template="{template}")\n'
    )
    command = ["rsyslogd", "-n", "-f", str(settings), "-i", str(pid)]
    daemon = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: socket.exists() or daemon.poll() is not None, "rsyslogd to listen")
        assert daemon.poll() is None, daemon.stderr.read() if daemon.stderr else ""
        yield Syslogd(socket, log, daemon)
    finally:
        daemon.terminate()
        daemon.communicate(timeout=20)
