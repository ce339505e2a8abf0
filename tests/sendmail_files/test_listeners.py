"""What sendmail does at one of its ports only (DaemonPortOptions with M=): on a real one, and as it is written."""

from __future__ import annotations

from pathlib import Path

from smtpguard.config import settings
from smtpguard.sendmail import cf_file, daemons, settings_part
from smtpguard.sendmail.shapes import Judgement
from smtpguard.sendmail.told import Remarks
from tests.rig.hosts import Host
from tests.rig.sendmail import RealSendmail, choose_ports
from tests.sendmail.support import ConfiguredGuard, server_endpoint

from .support import ask_from, cf_of, export, import_files
from .test_closing import data_of, imported

MODIFIERS = ("", "E", "a", "Ea", "A", "aA", "C, M=aE", "Ofrbch")
NAMES = tuple(f"M{n}" for n, _ in enumerate(MODIFIERS))
SESSIONS = (
    ("EHLO me.test", "ETRN x.test", "VRFY george", "EXPN all", "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>"),
    ("ETRN x.test", "MAIL FROM:<a@b.example>"),
    ("EHLO me.test", "AUTH", "ETRN x.test", "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "RSET", "NOOP"),
)
CHECK = 'LOCAL_RULESETS\nScheck_etrn\nR$*\t$: $&{client_addr}\nR192.0.2.70\t$#error $@ 5.7.1 $: "550 not you"\n'


def test_the_guard_s_listeners_answer_as_the_ports_that_they_are_of(
    host: Host, plain: RealSendmail, tmp_path: Path
) -> None:
    """AUTH that is required, or off; ETRN that is off, before a rule set for it; and nothing else is another."""
    ports = [port for _, port in choose_ports([("0.0.0.0", 0)] * len(NAMES))]
    at = [
        f"DAEMON_OPTIONS(`Name={name}, Port={port}, Modify={one}')dnl\n"
        for name, port, one in zip(NAMES, ports, MODIFIERS, strict=True)
    ]
    everywhere = ("0.0.0.0",) * len(NAMES)
    with host.inside(), RealSendmail(auth=True, extra_mc="".join(at) + CHECK) as server:
        policy, told = import_files(cf=server.configuration)
        assert sum("is a rule of listener" in one for one in told) == 9
        listeners = {"listen": [{"endpoint": server_endpoint("0.0.0.0"), "name": name} for name in NAMES]}
        with ConfiguredGuard(tmp_path, ("127.0.0.1", plain.port), policy, listeners, everywhere) as guard:
            for address in ("127.0.0.1", "192.0.2.70"):
                for one, own, port in zip(MODIFIERS, ports, guard.ports, strict=True):
                    for session in SESSIONS:
                        expected = ask_from(host, address, own, session)
                        assert ask_from(host, address, port, session) == expected, (one, session)


def test_what_m_says_of_a_port_is_read_as_sendmail_reads_it() -> None:
    """Keys by their first letter, in either case; modifiers add up; who has no name has a number."""
    found = daemons.daemons(
        cf_file.parse(
            b"O DaemonPortOptions=name=MSA , port=587,modifiers=E, M=a\nO Daemon=Port=26\nOOM=A, Name=two words\n", "x"
        )
    )
    assert [(one.name, one.modifiers) for one in found] == [("MSA", "Ea"), ("Daemon1", ""), ("Daemon2", "A")]


def test_two_ports_of_one_name_have_what_either_has_and_that_is_told(tmp_path: Path) -> None:
    """A policy knows them by their names only; so it refuses more."""
    data, told = imported(
        tmp_path, "O DaemonPortOptions=Name=MTA\nO DaemonPortOptions=Name=MTA, Family=inet6, M=E\nO Privacy=noexpn\n"
    )
    assert data["rulesets"]["check_etrn"][0] == {"listener": ["MTA"], "action": "reply"}
    assert "sendmail.cf:1:1: warning: DaemonPortOptions Name=MTA: another one of that name has E" in told


def test_a_rule_of_a_listener_stands_behind_what_sendmail_asks_first(tmp_path: Path) -> None:
    """A client that the access map refuses, and the greeting that PrivacyOptions want."""
    cf = "O PrivacyOptions=needmailhelo,noetrn\nO DaemonPortOptions=Name=MSA, M=Ea\n"
    data, _ = imported(tmp_path, cf, access="192.0.2\tREJECT\n")
    kinds = [sorted({"from", "greeted", "listener"} & set(rule)) for rule in data["rulesets"]["check_mail"]]
    assert kinds == [["from"], ["greeted"], ["listener"], []]
    assert data["rulesets"]["check_mail"][2]["authenticated"] is False


def test_a_port_in_tls_from_the_first_octet_becomes_no_listener_in_clear(tmp_path: Path) -> None:
    """Nor is there one everywhere because there is none; what is written loads."""
    cf = cf_file.parse(b"O DaemonPortOptions=Name=TLS, Port=465, M=s\nO DaemonPortOptions=Family=local, A=/x\n", "x")
    remarks = Remarks()
    path = tmp_path / "smtpguard.yaml"
    path.write_text(settings_part.written(cf, remarks, "standard"), "utf-8")
    listening = settings.load(path, {}).settings.listen
    assert [one.endpoint for one in listening] == ["tcp:25:interface=127.0.0.1"]
    assert [one.line for one in remarks.found] == [2]
    assert [*daemons.rules(cf, remarks, named=True)] == []
    assert "`tls: implicit`" in remarks.found[-1].text


def test_without_m4_the_ports_are_those_that_m4_would_have_made(tmp_path: Path) -> None:
    """The submission port comes by itself, and has no ETRN."""
    mc = tmp_path / "sendmail.mc"
    mc.write_text("include(`/nowhere/cf.m4')dnl\n", "ascii")
    policy, _ = import_files(mc=mc)
    assert data_of(policy)["rulesets"]["check_etrn"][0] == {"listener": ["MSA"], "action": "reply"}
    mc.write_text("include(`/nowhere/cf.m4')dnl\nFEATURE(`no_default_msa')dnl\n", "ascii")
    policy, _ = import_files(mc=mc)
    assert not data_of(policy)["rulesets"]


def test_a_guard_with_port_25_alone_has_the_rules_of_that_port_for_all_it_takes(tmp_path: Path) -> None:
    """As Debian's sendmail has an MSP at 587, whose listener the guard would look for in vain."""
    cf = "O DaemonPortOptions=Name=MTA-v4, Addr=127.0.0.1\nO DaemonPortOptions=Name=MSP-v4, Port=submission, M=Ea\n"
    data, told = imported(tmp_path, cf, named=False)
    assert not data["rulesets"]
    assert told.count("of a port that the guard does not take over") == 2
    cf = "O DaemonPortOptions=Name=here, Port=25\nO DaemonPortOptions=Name=there, Family=inet6, M=Ea\nO Priv=noexpn\n"
    data, told = imported(tmp_path, cf, named=False)
    assert data["rulesets"]["check_etrn"] == [{"action": "reply"}]
    assert data["rulesets"]["check_mail"][0]["authenticated"] is False
    assert "listener" not in data["rulesets"]["check_mail"][0]
    assert "sendmail.cf:1:1: warning: DaemonPortOptions Name=here, Port=25: another one of port 25 has E" in told


def test_what_a_rule_set_says_of_a_port_is_the_guard_s_where_it_stands_for_that_port(tmp_path: Path) -> None:
    """A refusal at one of the ports that it takes over holds for all; what is allowed has to be so at all of them."""
    everywhere, refused = Judgement(1, None), Judgement(2, "502 5.7.0 No", listeners=("MTA-v4", "MSP-v4"))
    allowed = Judgement(3, None, listeners=("MTA-v4",))
    assert daemons.at_the_guard(everywhere, {"MTA-v4"}) == everywhere
    assert daemons.at_the_guard(refused, {"MTA-v4", "MTA-v6"}) == Judgement(2, "502 5.7.0 No")
    assert daemons.at_the_guard(refused, {"MTA-v6"}) is None
    assert daemons.at_the_guard(allowed, {"MTA-v4"}) == Judgement(3, None)
    assert daemons.at_the_guard(allowed, {"MTA-v4", "MTA-v6"}) is None
    policy = "rulesets: {check_etrn: [{listener: MSA, action: reply}]}\n"
    cf = cf_of(tmp_path, export(tmp_path, policy).text)
    assert data_of(import_files(cf=cf)[0])["rulesets"]["check_etrn"][0]["listener"] == ["MSA"]
    text, told = import_files(cf=cf, named=False)
    assert not data_of(text)["rulesets"]
    assert any("check_etrn: left out, as it is about other ports than the guard's" in one for one in told)
