"""sendmail.mc: which lines are understood, and what of them changes."""

from __future__ import annotations

import pytest

from smtpguard.setup.refusals import Refused
from smtpguard.setup.sendmail_mc import doors, moved, ports_in

DEBIAN = """\
divert(-1)dnl
# words about DAEMON things
divert(0)dnl
FEATURE(`no_default_msa')dnl
dnl DAEMON_OPTIONS(`Family=inet6, Name=MTA-v6, Port=smtp, Addr=::1')dnl
DAEMON_OPTIONS(`Family=inet,  Name=MTA-v4, Port=smtp, Addr=127.0.0.1')dnl
DAEMON_OPTIONS(`Family=inet,  Name=MSP-v4, Port=submission, M=Ea, Addr=127.0.0.1')dnl
MAILER(`smtp')dnl
"""


def door(line: str) -> tuple[int, str]:
    """Return family and address of the one door in a line."""
    (found,) = doors(line + "\n", "sendmail.mc")
    return found.family, found.address


def test_of_debians_own_file_one_line_changes_and_one_is_added() -> None:
    """Its port and nothing else, for the address is right already."""
    lines = moved(DEBIAN, doors(DEBIAN, "sendmail.mc"), 2525).split("\n")
    old = DEBIAN.split("\n")
    assert lines[:5] == old[:5]
    assert lines[5].startswith("dnl # smtpguard listens in the place of this, which was: Family=inet,  Name=MTA-v4")
    assert lines[6] == "DAEMON_OPTIONS(`Family=inet,  Name=MTA-v4, Port=2525, Addr=127.0.0.1')dnl"
    assert lines[7:] == old[6:]


@pytest.mark.parametrize(
    ("line", "found", "behind"),
    [
        (
            "DAEMON_OPTIONS(`Family=inet, Name=MTA')dnl",
            (4, "0.0.0.0"),
            "Family=inet, Name=MTA, Port=2525, Addr=127.0.0.1",
        ),
        ("DAEMON_OPTIONS(`Port=25,Name=X')", (4, "0.0.0.0"), "Port=2525,Name=X, Addr=127.0.0.1"),
        ("  DAEMON_OPTIONS(`F=inet6, P=smtp, A=::')dnl # all", (6, "::"), "F=inet6, P=2525, A=::1"),
        ("DAEMON_OPTIONS(`')dnl", (4, "0.0.0.0"), "Port=2525, Addr=127.0.0.1"),
        ("DAEMON_OPTIONS(`Addr=192.0.2.7, M=a')dnl\r", (4, "192.0.2.7"), "Addr=127.0.0.1, M=a, Port=2525"),
    ],
)
def test_lines_that_are_understood(line: str, found: tuple[int, str], behind: str) -> None:
    """By the first letter of each key, as sendmail reads them; what is around the options stays."""
    assert door(line) == found
    *_, new, _ = moved(line + "\n", doors(line + "\n", "x"), 2525).split("\n")
    old = line[line.index("`") + 1 : line.index("'")]
    assert new == line.replace(f"`{old}'", f"`{behind}'")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("DAEMON_OPTIONS(`Port=smtp,\nAddr=127.0.0.1')dnl\n", "x:1: a DAEMON_OPTIONS that setup does not understand"),
        ("\nDAEMON_OPTIONS(Port=smtp)dnl\n", "x:2: a DAEMON_OPTIONS that setup does not understand"),
        ("# DAEMON_OPTIONS(`Port=smtp')\n", "x:1: a DAEMON_OPTIONS that setup does not understand"),
        ("DAEMON_OPTIONS(`Port=smtp')dnl\nDAEMON_OPTIONS(`Port=25')dnl\n", "in lines 1 and 2"),
        ("DAEMON_OPTIONS(`Addr=mx.test')dnl\n", "x:1: Addr=mx.test is no address"),
        ("DAEMON_OPTIONS(`Family=inet6, Addr=127.0.0.1')dnl\n", "is not of Family=inet6"),
        ("DAEMON_OPTIONS(`Family=unix')dnl\n", "x:1: Family=unix is neither inet nor inet6"),
    ],
)
def test_lines_that_are_refused_with_their_place(text: str, why: str) -> None:
    """Half understood would be worse."""
    with pytest.raises(Refused, match=why.replace("(", r"\(")):
        doors(text, "x")


def test_the_ports_of_a_sendmail_cf_are_all_found() -> None:
    """Also those without a word about a port, which are at 25."""
    lines = b"O DaemonPortOptions=Name=MTA, Port=2525", b"#O DaemonPortOptions=Port=1", b"O DaemonPortOptions=Name=X"
    assert ports_in(b"\n".join(lines)) == ["2525", "smtp"]
