"""TLS on both legs under what systemd/smtpguard.service takes away, with a key that root alone may give."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.rig.guard import ROOT, GuardFailed
from tests.rig.sendmail import RealSendmail, run_directory
from tests.sendmail.support import OUTSIDE, ConfiguredGuard, ask, delivered
from tests.tls.support import Issued

from .hardened import settings
from .leg import required
from .support import MX, POLICY, Certified, listener, listening, starttls

UNIT: Final = ROOT / "systemd" / "smtpguard.service"
USER: Final = 61234
"""As DynamicUser makes one: a number from 61184 to 65519, which is nobody else's."""
GROUP: Final = 61999
"""Whose members may read the key, as Debian's ssl-cert."""


def closed_to_others(path: Path) -> Path | None:
    """Return the first folder above a path that others may not pass, or None."""
    return next((one for one in reversed(path.parents) if not one.stat().st_mode & stat.S_IXOTH), None)


def wrapper(folder: Path, groups: tuple[int, ...] = ()) -> list[str]:
    """Return what runs a command line as the unit would, but for the settings that hardened.py leaves out.

    An interpreter below /root (mode 0700) is of no use to another user, so it is shown in a /root that is not; the
    process sees no others than its own (ProtectProc=invisible, ProcSubset=pid).
    """
    lines = ["set -eu", "mount -t proc -o hidepid=invisible,subset=pid proc /proc"]
    places = {path: above for path in (Path(sys.base_prefix), ROOT) if (above := closed_to_others(path)) is not None}
    held = {path: folder / f"held-{number}" for number, path in enumerate(places)}
    lines += [f"mkdir {_q(hold)}; mount --bind {_q(path)} {_q(hold)}" for path, hold in held.items()]
    lines += [f"mount -t tmpfs -o mode=0755 tmpfs {_q(above)}" for above in sorted(set(places.values()))]
    lines += [f"mkdir -p {_q(path)}; mount --move {_q(hold)} {_q(path)}" for path, hold in held.items()]
    lines.append('exec "$@"')
    unit = settings(UNIT)
    capability = unit["AmbientCapabilities"][0].removeprefix("CAP_").lower()
    kept = f"-all,+{capability}"
    as_user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--no-new-privs"]
    as_user += [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
    as_user += [f"--bounding-set={kept}", f"--inh-caps={kept}", f"--ambient-caps={kept}"]
    hardened = [sys.executable, str(Path(__file__).with_name("hardened.py")), str(UNIT)]
    return ["unshare", "--mount", "--propagation=private", "/bin/sh", "-c", "\n".join(lines), "sh", *as_user, *hardened]


def _q(path: Path) -> str:
    return shlex.quote(str(path))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may pass, unlike those of pytest."""
    made = run_directory("unit")
    yield made
    shutil.rmtree(made)


def in_group(folder: Path, issued: Issued) -> Path:
    """Lay a certificate out for a group: `SupplementaryGroups=` lets the service read it, at a reload too."""
    place = folder / "tls"
    for path in issued.write(place, "mx"):
        os.chown(path, 0, GROUP)
        path.chmod(0o640)
    os.chown(place, 0, GROUP)
    place.chmod(0o750)
    return place


def as_credential(folder: Path, issued: Issued) -> Path:
    """Lay it out as `LoadCredential=mx.crt:... mx.key:...` does: a copy that is the user's own, to read only."""
    place = folder / "credentials"
    for path in issued.write(place, "mx"):
        os.chown(path, USER, USER)
        path.chmod(0o400)
    os.chown(place, USER, USER)
    place.chmod(0o500)
    return place


def guarding(
    folder: Path, certified: Certified, server: RealSendmail, place: Path, groups: tuple[int, ...]
) -> ConfiguredGuard:
    """Return a guard that has TLS on both legs."""
    shutil.copy(certified.ca, folder / "ca.pem")
    (folder / "ca.pem").chmod(0o644)
    address = server.address, server.port
    options = listening(
        listener("mx", starttls={"certificates": str(place)}),
        backend={"endpoint": f"tcp:{address[0]}:{address[1]}", **required(certified), "ca": "ca.pem"},
        relay_check="warn",
    )
    return ConfiguredGuard(folder, address, POLICY, wrapper=wrapper(folder, groups), **options)


TRIES: Final = """
import json, mmap, socket, ctypes, os
def tried(act):
    try:
        act()
    except Exception as error:
        return type(error).__name__ + ": " + str(error)
    return "done"
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
page = mmap.mmap(-1, 4096)
at = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(json.dumps({
    "write and execute": tried(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),
    "execute later": tried(lambda: call("mprotect", at, 4096, 5)),
    "packets": tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    "netlink": tried(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    "mount": tried(lambda: call("mount", b"none", b"/", b"tmpfs", 0, None)),
    "root": tried(lambda: os.setuid(0)),
    "a process": tried(lambda: os.stat(f"/proc/{os.getppid()}/status")),
    "internet": tried(lambda: socket.socket(socket.AF_INET6).close()),
    "status": open("/proc/self/status").read(),
}))
"""


def test_the_hardening_is_there(folder: Path) -> None:
    """What the unit forbids is tried, or the tests below would show nothing."""
    done = subprocess.run(
        [*wrapper(folder), sys.executable, "-c", TRIES], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    status = dict(line.split(":\t", 1) for line in found.pop("status").splitlines())
    assert (status["NoNewPrivs"], status["Seccomp"], status["Uid"].split()[0]) == ("1", "2", str(USER))
    assert status["CapBnd"] == status["CapEff"] == f"{1 << 10:016x}"  # CAP_NET_BIND_SERVICE
    assert found.pop("internet") == "done"
    assert found.pop("a process") != "done"
    assert re.match("OSError: .*not supported", found.pop("packets"))
    assert re.match("OSError: .*not supported", found.pop("netlink"))
    assert {name: said.partition(":")[0] for name, said in found.items()} == {
        "write and execute": "PermissionError",
        "execute later": "PermissionError",
        "mount": "PermissionError",
        "root": "PermissionError",
    }


@pytest.mark.parametrize(("lay_out", "groups"), [(in_group, (GROUP,)), (as_credential, ())])
def test_there_is_tls_on_both_legs_under_the_unit(
    folder: Path, certified: Certified, encrypting_mx: RealSendmail, lay_out: object, groups: tuple[int, ...]
) -> None:
    """Handshakes, names, mail, a client that fails, and a reload; nothing of it needs what is forbidden."""
    assert callable(lay_out)
    place = lay_out(folder, certified.authority.issue((MX, "old.test")))
    sender = f"hardened-{len(groups)}@b.example"
    with guarding(folder, certified, encrypting_mx, place, groups) as guard:
        status = Path(f"/proc/{guard.pid}/status").read_text()
        assert re.search(rf"^Uid:\t{USER}\t", status, re.MULTILINE)
        assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
        guard.wait_line("relay check: ")
        for _ in range(3):
            with starttls(guard.port, certified.trusting(), OUTSIDE) as client:
                assert client.host_names == [MX, "old.test"]
                ask(client, f"MAIL FROM:<{sender}>", "RCPT TO:<george@x.test>", "DATA")
                client.send(b"Subject: s\r\n\r\n" + (b"x" * 76 + b"\r\n") * 3000)
                assert client.say(".").startswith("250 2.0.0 ")
                assert client.say("QUIT").startswith("221 ")
        with contextlib.suppress(OSError), starttls(guard.port, certified.trusting(), OUTSIDE, "other.test"):
            pass
        lay_out(folder, certified.authority.issue((MX, "new.test")))
        guard.signal(signal.SIGHUP)
        guard.wait_line("settings and certificates")
        with starttls(guard.port, certified.trusting(), OUTSIDE) as client:
            assert client.host_names == [MX, "new.test"]
        assert not [line for line in guard.lines() if re.search("Traceback|not permitted", line)]
    assert len(delivered(encrypting_mx, sender, 3)) == 3


def test_a_key_that_the_service_may_not_read_is_told(
    folder: Path, certified: Certified, encrypting_mx: RealSendmail
) -> None:
    """Without the group: 78, with the file and what is missing."""
    place = in_group(folder, certified.authority.issue((MX,)))
    with (
        pytest.raises(
            GuardFailed, match=rf"ended with 78 at start(?s:.*){re.escape(str(place))}:1:1: permission denied"
        ),
        guarding(folder, certified, encrypting_mx, place, ()),
    ):
        raise AssertionError("it was started")
