"""Hosts of our own: network namespaces, and the wires between them.

A `Host` has addresses that look public, routes and settings of the kernel, and is no other process's.
Servers of the rig run in one if they are entered `with host.inside()`: they, and the sockets that are
made there, stay in it.  Root is needed, and iproute2.  When the `with` blocks are left, namespaces,
devices and routes are gone; what a run left that was killed goes at the next.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from .client import Talk
from .sendmail import RigError

_NAMED: Final = Path("/run/netns")
_PREFIX: Final = "smtpguard"
_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

_numbers: Final = itertools.count(1)


class _Namespace:
    """A network namespace, for the time of a `with` block, with `lo` up and nothing else."""

    def __init__(self, name: str) -> None:
        # Two runs do not collide, and neither do two hosts of one name.
        self.name = name
        self.namespace = f"{_PREFIX}-{os.getpid()}-{next(_numbers)}-{name}"

    def __enter__(self) -> Self:
        """Make it; raise RigError if that cannot be."""
        _remove_left_over()
        _run("ip", "netns", "add", self.namespace)
        try:
            with self.inside():
                # Addresses can be used at once, without a look whether somebody else has them (RFC 4862 5.4).
                Path("/proc/sys/net/ipv6/conf/all/accept_dad").write_text("0")
                Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
            self.ip("link", "set", "lo", "up")
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self.remove()

    def remove(self) -> None:
        """Take its name away; the kernel removes it with the last process and socket in it."""
        # Not by that alone: a socket that a test forgot would keep the devices.
        for device in self.devices():
            subprocess.run(["ip", "-n", self.namespace, "link", "del", device], capture_output=True)
        _run("ip", "netns", "del", self.namespace)

    def ip(self, *words: str) -> str:
        """Run ip(8) in it; return what it says."""
        return _run("ip", "-n", self.namespace, *words)

    def devices(self) -> list[str]:
        """Return its network devices but `lo`."""
        names = (line.split(":")[1].strip().partition("@")[0] for line in self.ip("-o", "link").splitlines())
        return [name for name in names if name != "lo"]

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands in front of a command line that is to run in it."""
        return ("ip", "netns", "exec", self.namespace)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread, and no other, be in it: for sockets, processes that start and /proc/sys/net."""
        here = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        try:
            there = os.open(_NAMED / self.namespace, os.O_RDONLY)
            try:
                _enter(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _enter(here)
        finally:
            os.close(here)


class Wire(_Namespace):
    """A switch without addresses, into which hosts are plugged."""

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.ip("link", "add", "switch", "type", "bridge", "mcast_snooping", "0")
            self.ip("link", "set", "switch", "up")
        except BaseException:
            self.remove()
            raise
        return self


class Host(_Namespace):
    """A host, with the addresses that it was plugged in with."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.v4 = self.v6 = ""
        """The addresses of its first device."""

    def plug(self, wire: Wire, v4: str, v6: str = "", default: bool = True) -> str:
        """Give it a device at a wire, and addresses on that; return the device's name.

        With `default` everybody is reached through this device, without a router; without it, nobody is
        before there is a route.
        """
        device, port = f"eth{len(self.devices())}", f"port{len(wire.devices())}"
        wire.ip("link", "add", port, "type", "veth", "peer", "name", device, "netns", self.namespace)
        wire.ip("link", "set", port, "master", "switch", "up")
        self.ip("link", "set", device, "up")
        self.ip("address", "add", f"{v4}/32", "dev", device)
        if v6:
            self.ip("address", "add", f"{v6}/128", "dev", device, "nodad")
        self.v4, self.v6 = self.v4 or v4, self.v6 or v6
        if default:
            self.route("0.0.0.0/0", "dev", device, "src", v4)
            if v6:
                self.route("::/0", "dev", device)
        return device

    def route(self, destination: str, *way: str) -> None:
        """Add a route, as in `route("0.0.0.0/0", "via", "192.0.2.1", "dev", "eth0", "onlink")`."""
        self.ip("-6" if ":" in destination else "-4", "route", "add", destination, *way)

    def set(self, **values: str) -> None:
        """Set its kernel's parameters below net, as in `set(ipv4__ip_forward="1")`."""
        with self.inside():
            for key, value in values.items():
                Path("/proc/sys/net", *key.split("__")).write_text(value)

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command in it, to its end and with this exit status; return what it wrote."""
        return _run(*self.prefix, *command, status=status)

    def talk(self, host: str, port: int, greet: bool = True, seconds: float = 20) -> Talk:
        """Connect from it."""
        with self.inside():
            return Talk(host, port, None, greet, seconds)


@contextmanager
def hosts(*names: str) -> Iterator[list[Host]]:
    """Make hosts of these names, plugged in nowhere; all are removed, also if one cannot be made."""
    with ExitStack() as made:
        yield [made.enter_context(Host(name)) for name in names]


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise RigError(f"setns: {os.strerror(number)}")


def _run(*command: str, status: int = 0) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    said = done.stdout + done.stderr
    if done.returncode != status:
        raise RigError(f"{' '.join(command)}: exit status {done.returncode}: {said}")
    return said


def _remove_left_over() -> None:
    """Remove the namespaces of runs whose process is no more."""
    left: Sequence[Path] = list(_NAMED.glob(f"{_PREFIX}-*")) if _NAMED.is_dir() else ()
    for path in left:
        pid = path.name.removeprefix(f"{_PREFIX}-").partition("-")[0]
        if not Path("/proc", pid).exists():
            with suppress(RigError):  # another run removes it at this moment
                _run("ip", "netns", "del", path.name)
