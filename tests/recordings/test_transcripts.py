"""Transcripts: four forms, known by their content, give the same session."""

from __future__ import annotations

from pathlib import Path

import pytest

from smtpguard.policy.networks import Peer
from smtpguard.recordings import transcripts
from smtpguard.recordings.opening import Recording
from smtpguard.recordings.recorded import RUN_OCTETS, Recorded

from .made import written
from .test_captures import SAID, said

MARKED = """\
# what a person wrote
S: 220 mx ESMTP
C: EHLO me.test
S: 250 mx
C: VRFY george
S: 250 2.1.5 George <george@x.test>
C: QUIT
S: 221 bye
"""
SWAKS = """\
=== Trying mx.test:25...
=== Connected to mx.test.
<-  220 mx ESMTP
 -> EHLO me.test
<-  250 mx
 -> VRFY george
<-  250 2.1.5 George <george@x.test>
 -> QUIT
<-  221 bye
=== Connection closed with remote host.
"""
SWAKS_TLS = SWAKS.replace(" -> VRFY", " ~> VRFY").replace("<-  250 2", "<~  250 2").replace("<-  221", "<** 221")
TRAFFIC = """\
00123 >>> 220 mx ESMTP
00123 <<< EHLO me.test
00123 >>> 250 mx
00123 === EXEC something
00123 <<< VRFY george
00123 >>> 250 2.1.5 George <george@x.test>
00123 <<< QUIT
00123 >>> 221 bye
"""
BY_A_CLIENT = TRAFFIC.replace("<<<", "---").replace(">>>", "<<<").replace("---", ">>>")
VERBOSE = """\
george@x.test... Connecting to mx.test. via esmtp...
220 mx ESMTP
>>> EHLO me.test
250 mx
>>> VRFY george
250 2.1.5 George <george@x.test>
>>> QUIT
221 bye
george@x.test... Sent
"""
FORMS = {
    "marked": MARKED,
    "swaks": SWAKS,
    "swaks in TLS": SWAKS_TLS,
    "sendmail -X": TRAFFIC,
    "sendmail -X of a client": BY_A_CLIENT,
    "sendmail -v": VERBOSE,
}
ONE = Peer.parse("203.0.113.9")


def sessions(path: Path) -> list[Recorded]:
    """Read a transcript; return its sessions."""
    with Recording(path, client=ONE) as recording:
        return [one for _, one in recording.sessions()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_every_form_gives_the_same_session(tmp_path: Path, form: str, end: str) -> None:
    """Whatever ends the lines of the file."""
    (one,) = sessions(written(tmp_path, FORMS[form].replace("\n", end).encode("ascii"), "transcript"))
    assert said(one) == SAID
    assert one.client == ONE


def test_a_file_may_have_several_sessions(tmp_path: Path) -> None:
    """An empty line between them, a further connection, or lines of several processes, mixed."""
    for text in (MARKED + "\n" + MARKED, SWAKS + SWAKS, VERBOSE + VERBOSE):
        assert [said(one) for one in sessions(written(tmp_path, text.encode("ascii"), "transcript"))] == [SAID, SAID]
    other = TRAFFIC.replace("00123", "00124").splitlines()
    mixed = "\n".join(line for pair in zip(TRAFFIC.splitlines(), other, strict=True) for line in pair) + "\n"
    found = sessions(written(tmp_path, (mixed + "00123 <<< [EOF]\n" + mixed).encode("ascii"), "transcript"))
    assert said(found[0]) == SAID
    assert len(found) == 3


def test_a_message_has_its_empty_lines(tmp_path: Path) -> None:
    """Which are not those between sessions."""
    text = "C: DATA\nS: 354 go\nC: Subject: x\nC:\nC: \nC: text\nC: .\nS: 250 ok\n"
    (one,) = sessions(written(tmp_path, text.encode("ascii"), "transcript"))
    assert said(one)[2] == (True, b"Subject: x\r\n\r\n\r\ntext\r\n.\r\n")


def test_octets_of_a_transcript_raise_nothing(tmp_path: Path) -> None:
    """Lines without an end, without text, with any octet."""
    text = b"C: \x00\xff\r\r\nS: \nC:x\nS:\n12345 <<< x\nC: " + b"x" * 3_000_000
    assert sessions(written(tmp_path, text, "transcript"))


def test_what_is_open_at_once_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their number and by their octets; the one that began first ends early, and says so."""
    lines = [f"{number:05} {mark}\n" for number in range(10) for mark in (">>> 220 mx", "<<< NOOP")]
    path = written(tmp_path, "".join(lines).encode("ascii"), "transcript")
    for name, bound in (("PROCESSES", 3), ("OPEN_OCTETS", 3 * (14 + 2 * RUN_OCTETS) - 1)):
        with monkeypatch.context() as patched:
            patched.setattr(transcripts, name, bound)
            found = sessions(path)
        assert [one.number for one in found] == list(range(1, 11))
        assert [bool(one.told) for one in found] == [True] * 7 + [False] * 3
