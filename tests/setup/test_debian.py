"""`smtpguard setup sendmail` on a freshly installed Debian sendmail, as an administrator does it, and back.

Once on a host that systemd runs, and once on one that has init scripts alone.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest

from tests.rig.debian import Debian
from tests.rig.hosts import Host
from tests.rig.wait import wait_until

from .support import MX, OUTSIDER, PROGRAM, REPLY_252, owners, setup, site, tree

GUARD = {25: "python", 587: "sendmail-mta", 2525: "sendmail-mta"}
ALONE = {25: "sendmail-mta", 587: "sendmail-mta"}


def programs(debian: Debian) -> dict[int, str]:
    """Return who listens; the guard is named by its interpreter or by itself."""
    return {
        port: "python" if name.startswith(("python", "smtpguard")) else name for port, name in owners(debian).items()
    }


@pytest.fixture(scope="module")
def systemd() -> Iterator[tuple[Debian, Host]]:
    """A Debian with systemd, whose sendmail its administrator has opened to the world."""
    with site(systemd=True) as (debian, outsider):
        debian.sh(
            r"""sed -i "/Name=MTA-v4/s/, Addr=127.0.0.1//" /etc/mail/sendmail.mc
make -C /etc/mail sendmail.cf
systemctl restart sendmail"""
        )
        yield debian, outsider


@pytest.fixture(scope="module")
def init() -> Iterator[tuple[Debian, Host]]:
    """A Debian without systemd; its sendmail is as it was installed."""
    with site(systemd=False) as made:
        yield made


def test_from_a_dry_run_to_mail_with_the_right_address_and_back(systemd: tuple[Debian, Host]) -> None:
    """The way of an administrator, under a real systemd."""
    debian, outsider = systemd
    before, listening = tree(debian), programs(debian)
    assert listening == ALONE

    said = setup(debian, "--dry-run")
    assert "-DAEMON_OPTIONS(`Family=inet,  Name=MTA-v4, Port=smtp')dnl\n" in said
    assert "+DAEMON_OPTIONS(`Family=inet,  Name=MTA-v4, Port=2525, Addr=127.0.0.1')dnl\n" in said
    assert '+  - "tcp:25:interface=0.0.0.0"' in said
    assert tree(debian) == before

    said = setup(debian, "--apply")
    gap = re.search(r"port 25 had no listener for ([0-9.]+) s", said)
    assert gap is not None, said
    assert float(gap[1]) < 30
    assert f"from 203.0.113.9: VRFY postmaster: {REPLY_252}" in said
    assert "from 203.0.113.9: relaying: 550 5.7.1 " in said
    assert programs(debian) == GUARD
    assert debian.run("systemctl", "is-enabled", "smtpguard").strip() == "enabled"

    with debian.host.talk("127.0.0.1", 25) as inside:
        inside.say("EHLO localhost")
        assert inside.say("VRFY george").startswith("250 2.1.5 ")
    with outsider.talk(MX, 25, seconds=60) as client:
        client.say("EHLO elsewhere.example")
        assert client.say("VRFY george") == REPLY_252
        for line in ("MAIL FROM:<george@mx.site.example>", "RCPT TO:<george@mx.site.example>", "DATA"):
            assert client.say(line)[0] in "23", line
        client.send(b"Subject: through the guard\r\n\r\nhello\r\n")
        assert client.say(".").startswith("250 2.0.0 ")
    found = rf"sm-mta.*from=<george@mx.site.example>.*relay=outsider.example \[{re.escape(OUTSIDER)}\]"
    wait_until(lambda: re.search(found, debian.log()), "sendmail to log the client's own address", 30, debian.story)
    mailbox = debian.path("/var/mail/george")
    wait_until(lambda: mailbox.exists() and b"Subject: through the guard" in mailbox.read_bytes(), "the mail", 30)

    applied = tree(debian)
    assert "nothing to do: it is set up already, and runs" in setup(debian, "--apply")
    assert "nothing to do" in setup(debian, "--dry-run")
    assert tree(debian) == applied

    assert "everything is as it was before" in setup(debian, "--undo")
    assert tree(debian) == before
    assert programs(debian) == ALONE
    assert "nothing to undo" in setup(debian, "--undo")
    assert debian.run("ip", "rule", "show", "preference", "123") == ""


def test_a_policy_that_forwards_vrfy_is_no_failure(systemd: tuple[Debian, Host]) -> None:
    """In shadow, or imported: sendmail tells an outsider who postmaster is, as the policy wants it."""
    debian, _ = systemd
    debian.sh("cp -a /etc/mail/aliases /root/aliases; echo 'postmaster: george' >>/etc/mail/aliases; newaliases")
    known = "from 203.0.113.9: VRFY postmaster: 250 2.1.5 "
    try:
        assert known in setup(debian, "--apply", "--policy", "import")
        said = setup(debian, "--apply", "--policy", "no-vrfy", "--shadow")
        assert "--policy changes nothing here" in said
        assert "--shadow changes nothing here" in said
        setup(debian, "--undo")
        debian.sh("mkdir -p /etc/smtpguard; echo 'privacy_options: [novrfy]' >/etc/smtpguard/policy.yaml")
        said = setup(debian, "--apply", "--shadow", status=os.EX_CONFIG)
        assert "is kept as it is, and has nothing in shadow: put `shadow: true` into it" in said
        debian.sh("rm -r /etc/smtpguard")
        assert known in setup(debian, "--apply", "--shadow")
        setup(debian, "--undo")
    finally:
        debian.sh("cp -a /root/aliases /etc/mail/aliases; newaliases; rm -rf /etc/smtpguard")


def test_a_step_that_fails_has_everything_put_back(systemd: tuple[Debian, Host]) -> None:
    """A guard that does not start, here; its own words are told, and sendmail is at port 25 again."""
    debian, _ = systemd
    before = tree(debian)
    said = setup(debian, "--apply", "--listen", "10.9.8.7", status=os.EX_CONFIG)
    assert said == "--listen 10.9.8.7: this host has no such address; `ip address` shows its own.\n"
    assert tree(debian) == before
    broken = "#!/bin/sh\\necho no, thank you >&2; exit 78\\n"
    debian.sh(f"mv {PROGRAM} {PROGRAM}.away; printf '{broken}' >{PROGRAM}; chmod 755 {PROGRAM}")
    try:
        command = "/opt/smtpguard/bin/python", f"{PROGRAM}.away", "setup", "sendmail", "--apply"
        said = debian.run(*command, status=os.EX_UNAVAILABLE)
        assert said.count("no, thank you") == 1
        assert "Everything is as it was before." in said
    finally:
        debian.sh(f"mv {PROGRAM}.away {PROGRAM}")
    assert tree(debian) == before
    assert programs(debian) == ALONE


def test_what_was_changed_since_is_not_overwritten(systemd: tuple[Debian, Host]) -> None:
    """--undo shows what it would do away with, and does nothing; a policy that was changed is kept in any case."""
    debian, _ = systemd
    before = tree(debian)
    setup(debian, "--apply", "--identity", "bind")
    assert "Connect:127.0.0.1\t\t\t\tRELAY\n" in debian.path("/etc/mail/access").read_text()
    debian.sh("echo 'dnl # mine' >>/etc/mail/sendmail.mc; echo '# mine' >>/etc/smtpguard/policy.yaml")
    changed = tree(debian)
    said = setup(debian, "--undo", status=os.EX_CONFIG)
    assert "-dnl # mine\n" in said
    assert "--force" in said
    assert tree(debian) == changed
    assert programs(debian) == GUARD
    assert "/etc/smtpguard/policy.yaml was changed since, and is left" in setup(debian, "--undo", "--force")
    debian.sh("rm -r /etc/smtpguard")
    assert tree(debian) == before
    assert programs(debian) == ALONE


def test_it_does_the_same_without_systemd_and_after_it_was_killed_at_each_service(init: tuple[Debian, Host]) -> None:
    """An init script of its own, that starts at boot; killed in the middle, --apply and --undo begin anew."""
    debian, _ = init
    before = tree(debian)
    killed = "/opt/smtpguard/bin/python", "-m", "tests.setup.killed", "at"
    debian.run(*killed, "restart sendmail", status=-signal.SIGKILL)
    assert "everything is as it was before" in setup(debian, "--undo")
    assert tree(debian) == before
    assert programs(debian) == ALONE

    debian.run(*killed, "start the guard", status=-signal.SIGKILL)
    said = setup(debian, "--apply")
    assert "it is taken back first" in said
    assert "from 203.0.113.9: relaying: 550 5.7.1 " in said
    assert programs(debian) == GUARD
    process = "/proc/$(cat /run/smtpguard.pid)"
    guard = debian.sh(f"tr '\\0' ' ' <{process}/cmdline; grep -E '^(Uid|CapEff)' {process}/status")
    assert "run --config /etc/smtpguard/smtpguard.yaml" in guard
    assert "Uid:\t0" not in guard
    assert "CapEff:\t0000000000001400" in guard  # net_admin, net_bind_service
    assert debian.path("/etc/rc2.d").joinpath("S01smtpguard").is_symlink()
    assert "is running" in debian.run("service", "smtpguard", "status")
    assert "ready" in debian.run(PROGRAM, "status")
    debian.run("service", "smtpguard", "restart")
    wait_until(lambda: programs(debian) == GUARD, "the guard to listen again", 30, debian.story)
    setup(debian, "--undo")
    assert tree(debian) == before
    assert programs(debian) == ALONE


def test_killed_at_any_file_it_can_be_undone_and_applied_again(init: tuple[Debian, Host]) -> None:
    """At every step of applying and of undoing, on an image, where no service takes its time."""
    debian, _ = init
    debian.run("mount", "--bind", "/", "/mnt")
    try:
        said = debian.run("/opt/smtpguard/bin/python", "-m", "tests.setup.killed", "everywhere", "/mnt", seconds=300)
    finally:
        debian.run("umount", "/mnt")
    assert int(said.split()[0]) > 20, said


MC = "/etc/mail/sendmail.mc"
REFUSALS = {
    "a sendmail.cf that was changed by hand": (
        "echo 'O PrivacyOptions=novrfy' >>/mnt/etc/mail/sendmail.cf",
        "/etc/mail/sendmail.cf is not what /etc/mail/sendmail.mc gives",
    ),
    "a sendmail.mc that is younger than sendmail.cf, and says more": (
        "echo \"define(\\`confLOG_LEVEL', \\`14')dnl\" >>/mnt/etc/mail/sendmail.mc",
        "/etc/mail/sendmail.cf is not what /etc/mail/sendmail.mc gives",
    ),
    "a DAEMON_OPTIONS over two lines": (
        "sed -i 's/Name=MTA-v4, /Name=MTA-v4,\\n/' /mnt/etc/mail/sendmail.mc",
        f"{MC}:57: a DAEMON_OPTIONS that setup does not understand",
    ),
    "a DAEMON_OPTIONS in a file that is included": (
        'echo "DAEMON_OPTIONS(\\`Family=inet6, Name=X, Port=smtp\')dnl" >>/mnt/etc/mail/m4/provider.m4; '
        "chroot /mnt make -s -C /etc/mail sendmail.cf",
        "A file that sendmail.mc includes has a DAEMON_OPTIONS, too",
    ),
    "no sendmail.mc": (f"rm /mnt{MC}", f"There is no {MC}"),
    "a sendmail.mc that is a link": (f"mv /mnt{MC} /mnt/etc/mail/x; ln -s x /mnt{MC}", f"{MC} is a symbolic link"),
    "settings for another server": (
        "cd /mnt/etc; mkdir smtpguard; echo '{listen: tcp:25, backend: tcp:192.0.2.1:25}' >smtpguard/smtpguard.yaml",
        "its backend is not tcp:127.0.0.1:2525",
    ),
    "a policy of one's own, and another that is named": (
        "mkdir /mnt/etc/smtpguard; echo 'rulesets: {}' >/mnt/etc/smtpguard/policy.yaml",
        "/etc/smtpguard/policy.yaml is there and is your own, so --policy perimeter would change nothing",
        "--policy",
        "perimeter",
    ),
    "no macros": ("rm -r /mnt/usr/share/sendmail/cf", "apt-get install m4 sendmail-cf"),
}


def test_what_it_does_not_understand_it_refuses_with_what_to_do(init: tuple[Debian, Host]) -> None:
    """Status 78, and not a file is touched; on images, one for each."""
    debian, _ = init
    before = tree(debian)
    for what, (change, said, *options) in REFUSALS.items():
        debian.sh("mkdir -p /image && mount -t tmpfs none /image && mkdir /image/upper /image/work")
        debian.sh("mount -t overlay -o lowerdir=/,upperdir=/image/upper,workdir=/image/work overlay /mnt")
        try:
            debian.sh("mount -t proc proc /mnt/proc && mount --bind /dev /mnt/dev")
            debian.sh(change)
            found = debian.sh("find /image/upper -type f -newer /mnt/etc/mail/submit.cf | sort")
            told = setup(debian, "--apply", "--root", "/mnt", *options, status=os.EX_CONFIG)
            assert said in told, what
            assert "Nothing is changed.  By hand:" in told, what
            assert not debian.path("/mnt/var/lib/smtpguard-setup").exists(), what
            assert debian.sh("find /image/upper -type f -newer /mnt/etc/mail/submit.cf | sort") == found, what
        finally:
            debian.sh("umount -R /mnt; umount /image")
    assert tree(debian) == before


def test_the_policy_may_be_what_sendmails_own_files_amount_to(init: tuple[Debian, Host]) -> None:
    """`--policy import`, on an image; what could not be carried over stands among the notes, and the check passes."""
    debian, _ = init
    debian.run("mount", "--bind", "/", "/mnt")
    try:
        said = setup(debian, "--dry-run", "--root", "/mnt", "--policy", "import", "--identity", "bind")
        assert "write /etc/smtpguard/policy.yaml" in said
        assert '+  this-host: [127.0.0.0/8, "::1/128"]' in said
        setup(debian, "--apply", "--root", "/mnt", "--policy", "import", "--identity", "bind")
        assert "listener:" not in debian.path("/etc/smtpguard/policy.yaml").read_text()
        debian.run(PROGRAM, "check", "--policy", "/etc/smtpguard/policy.yaml")
        setup(debian, "--undo", "--root", "/mnt")
    finally:
        debian.run("umount", "/mnt")


def test_who_is_not_root_is_told_so(init: tuple[Debian, Host]) -> None:
    """Status 77, in one line."""
    debian, _ = init
    said = debian.run(
        "setpriv", "--reuid=nobody", "--clear-groups", PROGRAM, "setup", "sendmail", "--apply", status=os.EX_NOPERM
    )
    assert said == "smtpguard: setup must be run by root: it reads and writes what is root's\n"
    assert "--dry-run shows it" in setup(debian, status=os.EX_USAGE)
