"""From what there is on a host to a plan; or why not, and what to do by hand.

Contract: nothing is changed.  Raises Refused for a sendmail that is not set up as Debian sets it up, or whose
sendmail.cf is not what its sendmail.mc gives: a change of setup's would bring in others that nobody asked for.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from ..config import policy_file
from ..config import settings as settings_file
from ..sendmail import importing, sources, writing
from ..sendmail.told import Remarks
from . import guard_files, sendmail_mc
from .guard_files import DROP_IN, INIT_SCRIPT, PACKAGED_UNITS, POLICY, ROUTES, SETTINGS, UNIT
from .machine import Known, Machine
from .plan import Change, Plan
from .refusals import Failed, Refused
from .sendmail_mc import Door
from .wishes import IMPORT, THIS_HOST, Wishes

BY_HAND: Final = (
    "Nothing is changed.  By hand: let sendmail listen at 127.0.0.1, port {port}, instead of port 25, write "
    f"{SETTINGS}, and start smtpguard; docs/deploy-sendmail.md has each command."
)
M4: Final = "/usr/bin/m4"
MACROS: Final = "/usr/share/sendmail/cf/m4/cf.m4"
_ALL_OF_127: Final = re.compile(r"(?m)^Connect:127([ \t]+RELAY[ \t]*)$")
_READABLE, _RUNNABLE = 0o644, 0o755


def plan(machine: Machine, wishes: Wishes) -> Plan:
    """Return what is to be done; raises Refused."""
    try:
        return _Planner(machine, wishes).plan()
    except Refused as refusal:
        raise Refused(f"{refusal}\n{BY_HAND.format(port=wishes.port)}") from None


class _Planner:
    def __init__(self, machine: Machine, wishes: Wishes) -> None:
        self._machine = machine
        self._wishes = wishes
        self._notes: list[str] = []

    def plan(self) -> Plan:
        mc, cf = (f"{self._wishes.mail_dir}/sendmail.{ending}" for ending in ("mc", "cf"))
        text, doors = self._sendmail(mc, cf)
        listen = self._listen(doors)
        after = sendmail_mc.moved(text.decode("latin-1"), doors, self._wishes.port).encode("latin-1")
        theirs = [
            self._change(mc, after, "sendmail leaves port 25 for one of the loopback interface"),
            self._change(cf, self._configuration(after, doors), "what sendmail reads, made of sendmail.mc by m4"),
            *(self._access() if self._wishes.identity == "bind" else ()),
        ]
        ours = [*self._settings(doors, listen), *self._starting()]
        self._tell(doors, listen)
        return Plan(
            wishes=self._wishes,
            ours=tuple(one for one in ours if one.before != one.after),
            theirs=tuple(one for one in theirs if one.before != one.after),
            listen=tuple(listen),
            were=tuple(door.address for door in doors),
            behind=tuple(door.behind for door in doors),
            notes=tuple(self._notes),
        )

    # -- sendmail's ---------------------------------------------------------------------------------------------

    def _sendmail(self, mc: str, cf: str) -> tuple[bytes, list[Door]]:
        """Return sendmail.mc and its doors, if it is what sendmail runs by."""
        text = self._machine.read(mc)
        if text is None:
            raise Refused(f"There is no {mc}: no sendmail as Debian sets it up (apt-get install sendmail).")
        if not (self._machine.has(M4) and self._machine.at(MACROS).is_file()):
            raise Refused(f"sendmail.cf cannot be made without {M4} and {MACROS}: apt-get install m4 sendmail-cf.")
        doors = sendmail_mc.doors(text.decode("latin-1"), mc)
        if not doors:
            raise Refused(f"No DAEMON_OPTIONS in {mc} is for port 25.")
        made, there = self._made(text), self._machine.read(cf)
        if there is None or _meaning(made) != _meaning(there):
            raise Refused(
                f"{cf} is not what {mc} gives, so it was changed by hand, or never made: carry the change over to "
                f"{mc}, or take it back (`make -C {self._wishes.mail_dir}` makes it anew), and restart sendmail."
            )
        return text, doors

    def _configuration(self, mc: bytes, doors: list[Door]) -> bytes:
        made = self._made(mc)
        ports = sendmail_mc.ports_in(made)
        left = [port for port in ports if port in sendmail_mc.SMTP_PORTS]
        if left or ports.count(str(self._wishes.port)) != len(doors):
            raise Refused("A file that sendmail.mc includes has a DAEMON_OPTIONS, too, for port 25 or the new port.")
        return made

    def _made(self, mc: bytes) -> bytes:
        """Return what `make -C /etc/mail sendmail.cf` writes: what m4 makes of it, and itself as a comment."""
        try:
            done = self._machine.run(M4, "-", feed=mc, folder=self._wishes.mail_dir)
        except Failed as failure:
            raise Refused(f"m4 finds faults in sendmail.mc.  {failure}") from None
        # As sed writes it, which ends a last line without an end with none, too.
        copy = b"".join(b"# " + line for line in mc.splitlines(keepends=True))
        return done.stdout + b"### /etc/mail/sendmail.mc ###\n" + copy

    def _access(self) -> list[Change]:
        """Let the access map relay for 127.0.0.1 instead of all of 127, where outsiders come from."""
        path = f"{self._wishes.mail_dir}/access"
        content = self._machine.read(path)
        text = (content or b"").decode("latin-1")
        changed = _ALL_OF_127.sub(r"Connect:127.0.0.1\1", text)
        if content is None or changed == text:
            return []
        database = self._map(changed.encode("latin-1"))
        why = "127.0.0.1 may relay, and no longer all of 127, from which outsiders come"
        return [self._change(path, changed.encode("latin-1"), why), self._change(f"{path}.db", database, why)]

    def _map(self, content: bytes) -> bytes:
        """Return the database that makemap makes of it; in a folder that is root's own, as /tmp is not."""
        folder = Path(mkdtemp(prefix="smtpguard-setup-", dir=self._machine.at("/run")))
        try:
            self._machine.run("/usr/sbin/makemap", "hash", f"/run/{folder.name}/access.db", feed=content)
            return (folder / "access.db").read_bytes()
        except Failed as failure:
            raise Refused(str(failure)) from None
        finally:
            shutil.rmtree(folder)

    # -- the guard's ----------------------------------------------------------------------------------------------

    def _listen(self, doors: list[Door]) -> list[str]:
        """Return where the guard listens: where sendmail did."""
        if self._wishes.listen:
            return list(self._wishes.listen)
        addresses = [door.address for door in doors]
        if "::" in addresses and self._wishes.identity == "transparent" and len(doors) == 1:
            raise Refused(
                f"sendmail serves IPv4 by its door for IPv6 (sendmail.mc:{doors[0].line}).  Give it one for each: "
                "DAEMON_OPTIONS(`Family=inet, Name=MTA-v4, Port=smtp')dnl"
            )
        if "::" in addresses and len(addresses) > 1:
            if "0.0.0.0" not in addresses:
                raise Refused("sendmail listens everywhere for IPv6, and not for IPv4: say where with --listen.")
            return ["::"]  # takes both
        return addresses

    def _settings(self, doors: list[Door], listen: list[str]) -> list[Change]:
        syslog = not self._machine.has_systemd
        there, rules = self._machine.read(SETTINGS), self._machine.read(POLICY)
        if there is not None and not guard_files.as_shipped(SETTINGS, there):
            self._fits(doors)
            self._keeps(SETTINGS)
            self._watches(settings_file.load(self._machine.at(SETTINGS), {}).settings.policy)
            self._notes.append(f"{SETTINGS} is there and is kept, with all it says.")
            return []
        written = guard_files.settings(self._wishes, doors, listen, syslog)
        changes = [self._change(SETTINGS, written.encode(), "the guard's settings", mode=_READABLE)]
        text = guard_files.policy(self._wishes, self._imported() if self._wishes.policy == IMPORT else "")
        if text is None:
            loaded = policy_file.load(policy_file.find(self._wishes.policy))
            self._has_this_host(tuple(loaded.policy.networks.names), self._wishes.policy)
            self._watches(self._wishes.policy)
        elif rules is None or guard_files.as_shipped(POLICY, rules):
            changes.append(self._change(POLICY, text.encode(), "who may say what", mode=_READABLE))
        else:
            self._keeps(POLICY)
            self._has_this_host((THIS_HOST,) if THIS_HOST.encode() in rules else (), POLICY)
            self._watches(str(self._machine.at(POLICY)))
            self._notes.append(f"{POLICY} is there and is kept, with all it says.")
        return changes

    def _imported(self) -> str:
        """Return the policy that sendmail's own files amount to; what could not be carried over becomes notes."""
        remarks = Remarks()
        cf = str(self._machine.at(f"{self._wishes.mail_dir}/sendmail.cf"))
        found = importing.imported(sources.gathered(remarks, cf, None, None, None, None), remarks, named=False)
        self._notes += map(str, remarks.found)
        return writing.written(found)

    def _has_this_host(self, networks: tuple[str, ...], file: str) -> None:
        if self._wishes.identity == "bind" and THIS_HOST not in networks:
            raise Refused(
                f"{file} has no network `{THIS_HOST}`, whose clients sendmail relays for under --identity bind.  Put "
                f'it there: networks: {{{THIS_HOST}: [127.0.0.0/8, "::1/128"]}}'
            )

    def _keeps(self, file: str) -> None:
        """Raise Refused if a policy was named, and a file that is kept says which one it is."""
        if self._wishes.policy != Wishes().policy:
            raise Refused(
                f"{file} is there and is your own, so --policy {self._wishes.policy} would change nothing: leave "
                "--policy out, or move the file away."
            )

    def _watches(self, policy: str) -> None:
        """Raise Refused if a policy that is kept would act, and was to watch."""
        if self._wishes.shadow and not policy_file.load(policy_file.find(policy)).shadow:
            raise Refused(f"{policy} is kept as it is, and has nothing in shadow: put `shadow: true` into it.")

    def _fits(self, doors: list[Door]) -> None:
        """Raise Refused if settings that are kept are about another mail server, or another port."""
        found = settings_file.load(self._machine.at(SETTINGS), {}).settings
        wanted = {f"tcp:{door.behind}:{self._wishes.port}" for door in doors}
        named = {one.replace("\\", "") for one in found.backend.endpoints} | {
            (found.backend.endpoint_ipv6 or "").replace("\\", "")
        }
        if not wanted <= named:
            raise Refused(f"{SETTINGS} is there, and its backend is not {' or '.join(sorted(wanted))}: say so there.")
        if not any(listener.endpoint.split(":")[1] == "25" for listener in found.listen):
            raise Refused(f"{SETTINGS} is there, and no listener in it is at port 25: say so there.")
        if found.backend.identity != ("transparent" if self._wishes.identity == "transparent" else "none"):
            raise Refused(
                f"{SETTINGS} is there, and says `identity: {found.backend.identity}`: name the same with --identity."
            )

    def _starting(self) -> list[Change]:
        """Return what starts the guard, where no package has put it there."""
        transparent = self._wishes.identity == "transparent"
        packaged = self._machine.has(guard_files.PACKAGED_ROUTES)
        changes = []
        if not self._machine.has_systemd:
            if self._machine.read(INIT_SCRIPT) is None:
                text = guard_files.init_script(packaged)
                changes.append(self._new(INIT_SCRIPT, text, "starts the guard", _RUNNABLE))
        elif self._machine.read(UNIT) is None and not any(self._machine.at(one).exists() for one in PACKAGED_UNITS):
            changes.append(self._new(UNIT, guard_files.unit(), "starts the guard", _READABLE))
        if transparent:
            why = "routes for answers to a client's address, which come back to the guard"
            if not packaged and self._machine.read(ROUTES) is None:
                changes.append(self._new(ROUTES, guard_files.routes(), why, _RUNNABLE))
            if self._machine.has_systemd and self._machine.read(DROP_IN) is None:
                why = "the capability to connect from a client's address, and the routes"
                changes.append(self._new(DROP_IN, guard_files.drop_in(packaged), why, _READABLE))
        return changes

    def _tell(self, doors: list[Door], listen: list[str]) -> None:
        if all(door.address in ("127.0.0.1", "::1") for door in doors) and not self._wishes.listen:
            self._notes.append(
                "sendmail listened at the loopback address only, as Debian has it, and so will the guard.  For mail "
                "from elsewhere: --listen 0.0.0.0"
            )
        self._notes.append(
            "The port for submission, 587, stays sendmail's own: who sends there has an account, and is no outsider."
        )
        if self._wishes.identity == "bind":
            self._notes.append(
                "All outsiders share one address in sendmail's log and limits; whom its access map relays for by "
                "address can no longer relay through port 25.  --identity transparent has neither effect."
            )

    def _new(self, path: str, text: str, why: str, mode: int) -> Change:
        return Change(path, why, None, text.encode(), None, Known("", mode, 0, 0, 0))

    def _change(self, path: str, after: bytes, why: str, mode: int = _READABLE) -> Change:
        known = self._machine.known(path)
        like = Known("", mode, 0, 0, 0) if known is None else Known("", known.mode, known.uid, known.gid, 0)
        return Change(path, why, self._machine.read(path), after, known, like)


def _meaning(cf: bytes) -> list[bytes]:
    """Return the lines of a sendmail.cf that count."""
    return [line for line in cf.split(b"\n") if line.strip() and not line.startswith(b"#")]
