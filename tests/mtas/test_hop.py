"""The judge of the wire behind the guard sees what it is for."""

from __future__ import annotations

import pytest

from tests.rig.recorder import Recording

from .hop import content, understand
from .support import is_stored

HEAD = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
ANSWERS = b"220 hi\r\n250-x\r\n250 y\r\n250 ok\r\n250 ok\r\n354 go\r\n"


def recording(client: bytes, server: bytes) -> Recording:
    """Return the recording of a session."""
    made = Recording(("127.0.0.1", 1))
    made.add(True, client)
    made.add(False, server)
    return made


def test_a_session_is_understood() -> None:
    """Commands, replies, and what the messages say."""
    hop = understand(recording(HEAD + b"..\r\n.\r\nQUIT\r\n", ANSWERS + b"250 taken\r\n221 bye\r\n"))
    assert hop.commands == [b"EHLO x", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA", b"QUIT"]
    assert hop.replies[0] == b"250-x\r\n250 y\r\n"
    assert hop.accepted == [b".\r\n"]
    assert understand(recording(HEAD + b".\r\n", ANSWERS + b"250 taken\r\n")).accepted == [b""]
    assert understand(recording(HEAD + b".\r\n", ANSWERS + b"550 no\r\n")).accepted == []
    assert understand(recording(HEAD + b"part", ANSWERS + b"421 lost\r\n")).accepted == []
    assert understand(recording(b"", b"")).commands == []
    assert understand(recording(b"NOOP\r\n", b"220 hi\r\n")).commands == [b"NOOP"]


def test_chunks_are_understood() -> None:
    """Whatever is in them."""
    octets = b"BDAT 7\r\n.\r\n.\r\n\0BDAT 3 LAST\r\na\nbQUIT\r\n"
    hop = understand(recording(HEAD[:-6] + octets, ANSWERS[:-8] + b"250 ok\r\n250 taken\r\n221 bye\r\n"))
    assert hop.commands[3:] == [b"BDAT 7", b"BDAT 3 LAST", b"QUIT"]
    assert hop.accepted == [b".\r\n.\r\n\0a\nb"]
    assert understand(recording(HEAD[:-6] + octets[:-9], ANSWERS[:-8] + b"250 ok\r\n")).accepted == []


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (b"NOOP\nVRFY root\r\n", b"220 hi\r\n250 ok\r\n"),
        (b"NOOP\0\r\n", b"220 hi\r\n250 ok\r\n"),
        (b"NOOP\r\r\n", b"220 hi\r\n250 ok\r\n"),
        (b"NOOP\r\nNO", b"220 hi\r\n250 ok\r\n"),
        (b"NOOP\r\nNOOP\r\n", b"220 hi\r\n"),
        (b"NOOP\r\n", b""),
        (b"NOOP\r\n", b"220 hi\r\n250 ok\r\n250 ok\r\n"),
        (b"NOOP\r\n", b"220 hi\r\n250-ok\r\n251 ok\r\n"),
        (b"NOOP\r\n", b"220 hi\r\nok\r\n"),
        (b"NOOP\r\n", b"220 hi\r\n354 go\r\n"),
        (HEAD + b"x\n.\nVRFY root\r\n.\r\n", ANSWERS + b"250 taken\r\n"),
        (HEAD + b"x\r.\r\n.\r\n", ANSWERS + b"250 taken\r\n"),
        (HEAD + b"x\0\r\n.\r\n", ANSWERS + b"250 taken\r\n"),
        (HEAD + b"x\r\n", ANSWERS + b"250 taken\r\n"),
        (HEAD + b"x\r\n.\r\nVRFY root\r\n", ANSWERS),
        (b"BDAT 5 LAST\r\nx\r\n", b"220 hi\r\n250 taken\r\n"),
        (b"BDAT 1 LAST\r\nxVRFY\r\n", b"220 hi\r\n"),
        (b"BDAT +5\r\nx\r\n\r\n", b"220 hi\r\n250 taken\r\n"),
    ],
)
def test_what_may_be_understood_in_two_ways_is_a_fault(client: bytes, server: bytes) -> None:
    """Or what is answered too often or too early."""
    with pytest.raises(AssertionError):
        understand(recording(client, server))


def test_a_message_is_known_again() -> None:
    """Whatever fields are added, and without the dots that are of the wire."""
    sent = content(b"Subject: t\r\nFrom: me\r\n\r\n..x\r\n\r\ny\r\n")
    assert is_stored(sent, b"Received: z\n\tq\nSubject: t\nFrom: <me@x>\n\n.x\n\ny\n")
    assert not is_stored(sent, b"Received: z\n\tq\nSubject: t\nFrom: <me@x>\n\n.x\n\n")
    assert not is_stored(sent, b"Received: z\n\nSubject: t\n\n.x\n\ny\n")
    assert is_stored(b"no field\r\n", b"Received: z\n\nno field\n")
    assert is_stored(b"", b"Received: z\n\n")
