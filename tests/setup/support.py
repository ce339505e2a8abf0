"""What the tests of this folder share: hosts on a wire, a Debian on one of them, and what there is to compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.rig.debian import Debian
from tests.rig.hosts import Host, Wire, hosts
from tests.rig.wait import wait_until

MX: Final = "198.51.100.25"
OUTSIDER: Final = "203.0.113.77"
PROGRAM: Final = "/opt/smtpguard/bin/smtpguard"
REPLY_252: Final = "252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)"
GENERATED: Final = r"! -path /etc/mail/Makefile ! -path /etc/mail/databases"


@contextmanager
def site(systemd: bool) -> Iterator[tuple[Debian, Host]]:
    """Make a Debian whose sendmail runs, and a host elsewhere."""
    with Wire("wire") as wire, hosts("mx", "outsider") as (mx, outsider):
        mx.plug(wire, MX)
        outsider.plug(wire, OUTSIDER)
        with Debian(mx, systemd) as debian:
            if not systemd:
                debian.run("service", "sendmail", "start")
            wait_until(lambda: 25 in ports(debian), "sendmail to listen", 30, debian.story)
            yield debian, outsider


def setup(debian: Debian, *options: str, status: int = 0) -> str:
    """Run `smtpguard setup sendmail` as an administrator does."""
    return debian.run(PROGRAM, "setup", "sendmail", *options, status=status)


def ports(debian: Debian) -> set[int]:
    """Return the ports at which something listens."""
    return {int(line.split()[3].rpartition(":")[2]) for line in debian.run("ss", "-Hltn").splitlines()}


def owners(debian: Debian) -> dict[int, str]:
    """Return which program listens at which port."""
    found = {}
    for line in debian.run("ss", "-Hltnp").splitlines():
        columns = line.split()
        found[int(columns[3].rpartition(":")[2])] = columns[5].split('"')[1]
    return found


def tree(debian: Debian) -> str:
    """Return what tells every file apart that setup might touch: content, mode, owner; and what starts at boot.

    And times, of what setup has in its hands.  Left out are /etc/mail/Makefile and databases, which Debian's own init
    script writes anew, with a date, when sendmail.mc is younger.
    """
    places = "/etc/mail /etc/smtpguard /etc/systemd/system /etc/init.d /etc/rc?.d /usr/local/libexec"
    places += " /var/lib/smtpguard-setup"
    of_files = f"find {places} {GENERATED}"
    return debian.sh(
        f"{{ {of_files} -exec stat --format '%n %F %a %U %G %s' {{}} + | sort; "
        "stat --format '%n %y' /etc/mail/sendmail.?? /etc/mail/access; "
        f"{of_files} -type f -exec sha256sum {{}} + | sort; "
        f"find {places} -type l -printf '%p %l\\n' | sort; }} 2>/dev/null; true"
    )
