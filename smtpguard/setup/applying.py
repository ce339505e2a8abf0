"""Carrying a plan out: files first, then the mail server, then the guard, then a look whether it works.

Contract: everything or nothing.  A step that fails, or a key that interrupts, has all of it taken back.  What is killed
in the middle leaves a manifest, from which the next --apply or --undo puts everything back.  Up to the restart of
sendmail it serves as before; from there until the guard listens port 25 has no listener, and how long is told.
"""

from __future__ import annotations

from collections.abc import Callable

from ..config.faults import Faulty
from ..lifecycle.configuration import gather
from ..policy.decision import decide
from ..policy.networks import Peer
from ..smtp.answers import Closing
from ..smtp.verdict import Action, Facts
from . import manifest as manifests
from .guard_files import SETTINGS
from .machine import Machine
from .manifest import Manifest, Phase
from .plan import Change, Plan
from .planning import plan as make_plan
from .refusals import Failed, Refused
from .services import Services
from .undoing import Step, undo
from .verifying import verify
from .waiting import Gap, is_here, listens, wait_for_ports
from .wishes import Wishes

Tell = Callable[[str], None]


def _no_step(what: str) -> None:
    """Nobody wants to know of each step."""


class Setup:
    """What `smtpguard setup sendmail` can do on a machine."""

    def __init__(self, machine: Machine, services: Services, tell: Tell, step: Step = _no_step) -> None:
        """`tell` gets lines for the administrator, `step` the name of every step before it is done."""
        self._machine = machine
        self._services = services
        self._tell = tell
        self._step = step

    def plan(self, wishes: Wishes) -> Plan | None:
        """Return what `apply` would do; None if it is done already.  Changes nothing."""
        there = manifests.load(self._machine)
        if there is None:
            return self._planned(wishes)
        if there.phase is Phase.APPLIED:
            self._same(there, wishes)
            return None
        raise Refused("An earlier setup was interrupted: --apply takes it back and begins anew, --undo takes it back.")

    def apply(self, wishes: Wishes) -> None:
        """Do it; raises Refused, or Failed after all was put back."""
        with manifests.alone(self._machine):
            there = manifests.load(self._machine)
            if there is not None and there.phase is Phase.APPLIED:
                self._again(there, wishes)
                return
            if there is not None:
                self._tell("an earlier setup was interrupted: it is taken back first")
                self._undo(there, force=False)
            plan = self._planned(wishes)
            for note in plan.notes:
                self._tell(f"Note: {note}")
            self._step("keep what is there")
            made = manifests.begin(self._machine, plan, self._services.is_enabled(), self._services.is_active())
            try:
                self._carry_out(plan, made)
            except (Refused, Failed, Faulty, OSError, KeyboardInterrupt) as error:
                said = str(error) or type(error).__name__
                self._tell(f"failed, so everything is put back: {said.splitlines()[0].rstrip(': ')}")
                undo(self._machine, self._services, made, self._tell, self._step, force=True, spare=True)
                raise Failed(f"{said}\nEverything is as it was before.") from error

    def undo(self, force: bool) -> None:
        """Take it back; raises Refused for what was changed since."""
        with manifests.alone(self._machine):
            there = manifests.load(self._machine)
            if there is None:
                self._tell("nothing to undo: there is no setup of this host")
                return
            whole = self._undo(there, force)
            self._tell("everything is as it was before" if whole else "all else is as it was before")

    # -- the steps --------------------------------------------------------------------------------------------

    def _planned(self, wishes: Wishes) -> Plan:
        plan = make_plan(self._machine, wishes)
        if not self._machine.is_image:
            ports = {port for _, port in self._machine.listening()}
            if 25 not in ports:
                raise Refused("Nobody listens at port 25: start sendmail first, so that it can be seen to work.")
            if wishes.port in ports:
                raise Refused(f"Somebody listens at port {wishes.port} already: name another one with --port.")
            for address in wishes.listen:
                if not is_here(address):
                    raise Refused(f"--listen {address}: this host has no such address; `ip address` shows its own.")
        return plan

    def _carry_out(self, plan: Plan, made: Manifest) -> None:
        for folder in made.folders:
            self._step(f"make {folder}")
            self._machine.at(folder).mkdir(mode=0o755, exist_ok=True)
        self._write(plan.ours)
        self._step("check settings and policy")
        self._check()
        self._write(plan.theirs)
        self._step("let the guard start at boot")
        self._services.enable()
        self._step("say that services are next")
        made.to(Phase.SWITCHING, self._machine)
        if self._machine.is_image:
            self._tell("this is an image, or a host that does not run: no service was touched")
        else:
            self._switch(plan)
        self._step("say that it is done")
        made.to(Phase.APPLIED, self._machine)
        self._tell("done; `smtpguard setup sendmail --undo` takes it back")

    def _write(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            self._step(f"write {change.path}")
            if self._machine.known(change.path) != change.known:
                raise Failed(f"{change.path} was changed by somebody else while this ran.")
            self._machine.write(change.path, change.after, change.like)
            self._tell(f"wrote {change.path}")

    def _check(self) -> None:
        found = gather(str(self._machine.at(SETTINGS)), {})
        if found.faults:
            raise Faulty(found.faults, found.unread)

    def _forwards(self, source: str) -> bool:
        """True if sendmail is to answer a VRFY of this address."""
        found = gather(str(self._machine.at(SETTINGS)), {})
        if found.policy is None:
            return False
        line, facts = b"VRFY postmaster", Facts(greeted=True, esmtp=True)
        listener = found.loaded.settings.listen[0].label if found.loaded is not None else ""
        decision = decide(found.policy.policy, Peer.parse(source), line, Closing("localhost"), facts, listener)
        return decision.verdict.action is Action.FORWARD

    def _switch(self, plan: Plan) -> None:
        with Gap(self._machine, 25) as gap:
            self._step("restart sendmail")
            self._services.restart_mail()
            wait_for_ports(self._machine, [(address, plan.wishes.port) for address in plan.behind], "sendmail")
            self._step("start the guard")
            self._services.start()
            wait_for_ports(self._machine, [(address, 25) for address in plan.listen], "the guard")
        self._tell(f"sendmail restarted, guard started; port 25 had no listener for {gap.seconds:.1f} s")
        self._step("see whether it works")
        verify(list(plan.listen), plan.wishes.identity == "transparent", self._forwards, self._tell)

    def _undo(self, made: Manifest, force: bool) -> bool:
        return undo(self._machine, self._services, made, self._tell, self._step, force)

    # -- once more --------------------------------------------------------------------------------------------

    def _same(self, there: Manifest, wishes: Wishes) -> None:
        wanted = {"port": wishes.port, "identity": wishes.identity, "mail_dir": wishes.mail_dir}
        if there.wishes != wanted:
            was = ", ".join(f"{key} {value}" for key, value in there.wishes.items())
            raise Refused(f"It is set up already, with {was}: --undo first.")
        if wishes.listen and list(wishes.listen) != there.listen:
            raise Refused(
                f"It is set up already, and listens at {', '.join(there.listen)}: change `listen` in {SETTINGS} and "
                "restart the guard (a reload does not open another address)."
            )

    def _again(self, there: Manifest, wishes: Wishes) -> None:
        self._same(there, wishes)
        if wishes.policy != Wishes().policy:
            self._tell("--policy changes nothing here: change what `policy` in the settings names and reload the guard")
        if wishes.shadow:
            self._tell("--shadow changes nothing here: put `shadow: true` into the policy and reload the guard")
        for one in there.files:
            now = self._machine.known(one.path)
            if now is None or now.sha256 != one.after:
                self._tell(f"{one.path} was changed since, and is left as it is")
        if self._machine.is_image:
            self._tell("nothing to do: it is set up already")
            return
        behind = [(address, wishes.port) for address in there.behind]
        did = False
        if not all(listens(self._machine, place) for place in behind):
            self._tell("sendmail does not listen behind the guard: it is started")
            self._services.restart_mail()
            wait_for_ports(self._machine, behind, "sendmail")
            did = True
        if not self._services.is_active():
            self._tell("the guard does not run: it is started")
            self._services.start()
            did = True
        self._tell("it is set up again" if did else "nothing to do: it is set up already, and runs")
