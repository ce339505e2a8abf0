"""Setup beside people who edit, and with nobody left who reads: what is a matter of files alone, in an image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smtpguard.setup import manifest as manifests
from smtpguard.setup.machine import Known, Machine
from smtpguard.setup.plan import Change, Plan
from smtpguard.setup.refusals import Refused
from smtpguard.setup.services import NoServices
from smtpguard.setup.undoing import undo
from smtpguard.setup.wishes import Wishes

NAMES = ("/etc/mail/sendmail.mc", "/etc/mail/sendmail.cf")


def test_what_somebody_changed_while_it_failed_is_left_and_the_rest_is_put_back(tmp_path: Path) -> None:
    """Who edits sendmail.mc within these seconds loses nothing."""
    machine, told = Machine(tmp_path), list[str]()
    tmp_path.joinpath("etc/mail").mkdir(parents=True)
    for name in NAMES:
        machine.at(name).write_bytes(b"old\n")
    like = Known("", 0o644, os.getuid(), os.getgid(), 0)
    changes = tuple(Change(name, "", b"old\n", b"new\n", machine.known(name), like) for name in NAMES)
    plan = Plan(Wishes(), (), changes, (), (), ())
    with manifests.alone(machine):
        made = manifests.begin(machine, plan, True, False)
        for change in changes:
            machine.write(change.path, change.after, change.like)
        machine.at(NAMES[0]).write_bytes(b"mine\n")
        undo(machine, NoServices(machine), made, told.append, lambda _: None, force=True, spare=True)
    assert [machine.read(name) for name in NAMES] == [b"mine\n", b"old\n"]
    assert told == [f"{NAMES[0]} was changed by somebody else, and is left as it is"]
    assert not machine.at(manifests.FOLDER).exists()


def test_a_policy_of_the_package_that_was_changed_since_does_not_stop_the_undoing_and_is_left(tmp_path: Path) -> None:
    """Who follows docs/start.md takes `shadow: true` out of it; its settings, which nobody changed, are put back."""
    policy, settings, theirs = "/etc/smtpguard/policy.yaml", "/etc/smtpguard/smtpguard.yaml", NAMES[0]
    machine, told = Machine(tmp_path), list[str]()
    for name in (policy, settings, theirs):
        machine.at(name).parent.mkdir(parents=True, exist_ok=True)
        machine.at(name).write_bytes(b"old\n")
    like = Known("", 0o644, os.getuid(), os.getgid(), 0)
    ours, others = (
        tuple(Change(name, "", b"old\n", b"new\n", machine.known(name), like) for name in names)
        for names in ((policy, settings), (theirs,))
    )
    plan = Plan(Wishes(), ours, others, (), (), ())
    with manifests.alone(machine):
        made = manifests.begin(machine, plan, True, False)
        for change in (*ours, *others):
            machine.write(change.path, change.after, change.like)
        machine.at(policy).write_bytes(b"mine\n")
        assert not undo(machine, NoServices(machine), made, told.append, lambda _: None, force=False)
    assert [machine.read(name) for name in (policy, settings, theirs)] == [b"mine\n", b"old\n", b"old\n"]
    assert told == [f"{policy} was changed since, and is left as it is"]
    assert not machine.at(manifests.FOLDER).exists()


def test_no_link_of_an_image_leads_to_files_of_this_host(tmp_path: Path) -> None:
    """In the image it is a folder of the image; seen from here it is one of this host."""
    image, here = tmp_path / "image", tmp_path / "here"
    image.joinpath("etc").mkdir(parents=True)
    here.mkdir()
    here.joinpath("sendmail.mc").write_bytes(b"this host\n")
    image.joinpath("etc/mail").symlink_to(here)
    image.joinpath("mail").symlink_to("etc")
    with pytest.raises(Refused, match="leads out of"):
        Machine(image).read("/etc/mail/sendmail.mc")
    assert Machine(f"{image}/").read("/mail/none") is None


@pytest.mark.parametrize("number", ["SIGHUP", "SIGTERM"])
def test_a_session_that_is_cut_off_is_as_a_key_that_interrupts_and_nobody_need_read(number: str) -> None:
    """Else port 25 would be left without a listener, in the middle of it."""
    program = (
        "import os, signal\nfrom smtpguard.cli import setup\nsetup._end_as_by_a_key()\n"
        f"try:\n    os.kill(os.getpid(), signal.{number})\n    signal.pause()\n"
        "except KeyboardInterrupt:\n    setup._tell('put back')\n    os._exit(17)\n"
    )
    with open("/dev/full", "wb") as full:
        assert subprocess.run([sys.executable, "-c", program], stdout=full, check=False, timeout=60).returncode == 17
