"""Captures: every form of file and frame gives the same sessions; what is missing is told, and nothing raises."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from random import Random  # noqa: TID251  a seeded one

import pytest

from smtpguard.policy.networks import Peer
from smtpguard.recordings import capture_file, connection, connections, segments
from smtpguard.recordings.opening import Recording
from smtpguard.recordings.recorded import Recorded, Unreadable

from . import made
from .made import ACK, CLIENT, FIN, FORMS, RST, SERVER, SYN, ethernet, packet, pcap, pcapng, talk, written

SAID = [
    (False, b"220 mx ESMTP\r\n"),
    (True, b"EHLO me.test\r\n"),
    (False, b"250 mx\r\n"),
    (True, b"VRFY george\r\n"),
    (False, b"250 2.1.5 George <george@x.test>\r\n"),
    (True, b"QUIT\r\n"),
    (False, b"221 bye\r\n"),
]


def sessions(path: Path, **wanted: object) -> tuple[list[Recorded], dict[str, int]]:
    """Read a file; return its sessions and what was told of it as a whole."""
    with Recording(path, **wanted) as recording:  # type: ignore[arg-type]
        return [one for _, one in recording.sessions()], dict(recording.told)


def said(one: Recorded) -> list[tuple[bool, bytes]]:
    """Return what was said, as `talk` takes it."""
    return [(run.from_client, bytes(run.octets)) for run in one.runs]


def frames(path: Path, packets: Sequence[bytes], link: int = made.ETHERNET) -> Path:
    """Write frames that are ready."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)
    records = (struct.pack("<IIII", 1, at, len(one), len(one)) + one for at, one in enumerate(packets))
    return written(path, head + b"".join(records))


@pytest.mark.parametrize("link", FORMS)
@pytest.mark.parametrize("file", [pcap, pcapng])
@pytest.mark.parametrize("ends", [(CLIENT, SERVER), ("2001:db8::9", "2001:db8::25")], ids=["IPv4", "IPv6"])
def test_every_form_of_capture_gives_the_same_session(
    tmp_path: Path, file: object, link: int, ends: tuple[str, str]
) -> None:
    """Both kinds of file, all kinds of frames, both families."""
    assert callable(file)
    (one,), told = sessions(written(tmp_path, file(talk(SAID, *ends), link)))
    assert said(one) == SAID
    assert (one.client, one.client_port, one.server, one.server_port) == (Peer.parse(ends[0]), 40000, ends[1], 25)
    assert one.told == []
    assert one.began is not None
    assert abs(one.began - 1_800_000_000) < 1
    assert told == {}


def test_vlan_tags_are_passed_over(tmp_path: Path) -> None:
    """One, and one within another."""
    for tags in ([5], [5, 6]):
        path = frames(tmp_path, [ethernet(one, tags) for one in talk(SAID)])
        assert [said(one) for one in sessions(path)[0]] == [SAID]


def test_big_endian_files_and_nanoseconds_are_read(tmp_path: Path) -> None:
    """As other machines write them."""
    head = struct.pack(">IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, made.RAW)
    records = b"".join(struct.pack(">IIII", 7, 500_000_000, len(one), len(one)) + one for one in talk(SAID))
    (one,), _ = sessions(written(tmp_path, head + records))
    assert said(one) == SAID
    assert one.began == 7.5


def test_segments_in_disorder_and_repeated_change_nothing(tmp_path: Path) -> None:
    """Each packet twice, as `-i any` may see it; those of the client's long message shuffled."""
    long = [(False, b"220 mx\r\n"), (True, bytes(range(256)) * 200), (False, b"250 ok\r\n")]
    packets = talk(long)
    head, message, tail = packets[:5], packets[5:40], packets[40:]
    Random(4).shuffle(message)
    (one,), _ = sessions(written(tmp_path, pcap([twice for one in [*head, *message, *tail] for twice in (one, one)])))
    assert said(one) == long
    assert one.told == []


def test_sequence_numbers_may_wrap(tmp_path: Path) -> None:
    """In both directions, in the middle of a session."""
    path = written(tmp_path, pcap(talk(SAID, first=0xFFFFFFFF - 10, first_of_server=0xFFFFFFFF - 5)))
    assert said(sessions(path)[0][0]) == SAID


def test_octets_sent_again_as_others_are_told_and_the_first_count(tmp_path: Path) -> None:
    """What an attacker does who wants two readers of the same wire to read two things."""
    packets = talk(SAID[:2], end=False)
    packets.append(packet(CLIENT, SERVER, (40000, 25), 1001, 0, ACK, b"VRFY me.test\r\n"))
    (one,), _ = sessions(written(tmp_path, pcap(packets)))
    assert said(one) == SAID[:2]
    assert connection.CONFLICT in one.told


def test_a_session_ends_at_what_the_capture_lacks(tmp_path: Path) -> None:
    """Also what the server said behind it is left out, since it answers what is not there."""
    packets = talk(SAID)
    lost = next(at for at, one in enumerate(packets) if b"VRFY" in one)
    (one,), _ = sessions(written(tmp_path, pcap(packets[:lost] + packets[lost + 1 :])))
    assert said(one) == SAID[:3]
    assert one.told == [connection.GAP]


def test_frames_that_were_cut_off_are_told(tmp_path: Path) -> None:
    """By a snap length that leaves room for headers and a short line."""
    path = written(tmp_path, pcap(talk(SAID), snap=68))
    (one,), _ = sessions(path)
    assert connection.SNAPPED in one.told
    assert b"<george" not in b"".join(octets for _, octets in said(one))


def test_a_connection_that_began_before_the_capture_is_skipped_and_told(tmp_path: Path) -> None:
    """Once, however many segments it has."""
    _, told = sessions(written(tmp_path, pcap(talk(SAID)[3:])))
    assert told == {connections.MIDDLE: 1}


def test_the_answer_to_a_syn_will_do_for_the_syn(tmp_path: Path) -> None:
    """A capture that began between the two."""
    assert said(sessions(written(tmp_path, pcap(talk(SAID)[1:])))[0][0]) == SAID


def test_the_same_ports_may_be_used_again(tmp_path: Path) -> None:
    """Behind a connection that ended, and behind one of whose end the capture has nothing."""
    first, second = talk(SAID[:3], end=False), talk(SAID, first=70000, first_of_server=90000)
    for packets in ([*talk(SAID), *second], [*first, *second]):
        found, _ = sessions(written(tmp_path, pcap(packets)))
        assert [one.number for one in found] == [1, 2]
        assert said(found[1]) == SAID


def test_a_forged_syn_does_not_end_a_session(tmp_path: Path) -> None:
    """The server answers none, so none counts."""
    packets = talk(SAID)
    packets.insert(6, packet(CLIENT, SERVER, (40000, 25), 424242, 0, SYN))
    found, _ = sessions(written(tmp_path, pcap(packets)))
    assert [said(one) for one in found] == [SAID]


def test_a_reset_ends_a_session(tmp_path: Path) -> None:
    """With what was said until then."""
    packets = [*talk(SAID[:2], end=False), packet(SERVER, CLIENT, (25, 40000), 5015, 0, RST)]
    (one,), _ = sessions(written(tmp_path, pcap(packets)))
    assert said(one) == SAID[:2]
    assert one.told == []


def test_sessions_at_once_are_told_apart_and_numbered_by_their_beginning(tmp_path: Path) -> None:
    """Ten clients, packet by packet in turn."""
    talks = [talk(SAID, client=f"203.0.113.{number}") for number in range(1, 11)]
    found, _ = sessions(written(tmp_path, pcap([one for turn in zip(*talks, strict=True) for one in turn])))
    assert [said(one) for one in found] == [SAID] * 10
    assert {one.number: one.client.text for one in found if one.client} == {n: f"203.0.113.{n}" for n in range(1, 11)}


def test_only_the_ports_asked_for_are_read(tmp_path: Path) -> None:
    """Others are not even told."""
    path = written(tmp_path, pcap(talk(SAID, server_port=2525)))
    assert sessions(path) == ([], {})
    assert [said(one) for one in sessions(path, ports={2525})[0]] == [SAID]


def test_fragments_and_other_links_are_told(tmp_path: Path) -> None:
    """They are not read."""
    fragment = bytearray(ethernet(talk(SAID)[5]))
    fragment[14 + 6] = 0x20
    assert sessions(frames(tmp_path, [bytes(fragment)])) == ([], {segments.FRAGMENT: 1})
    assert sessions(frames(tmp_path, [bytes(fragment)], link=147)) == ([], {segments.UNKNOWN_LINK: 1})


def test_a_proxy_header_says_who_the_client_is(tmp_path: Path) -> None:
    """And is no part of what it said; a session without one is told."""
    header = b"PROXY TCP4 198.51.100.7 192.0.2.25 12345 25\r\n"
    proxied = [(True, header + SAID[1][1]), *SAID[2:]]
    path = written(tmp_path, pcap([*talk(proxied), *talk(SAID, port=40001)]))
    (one, other), _ = sessions(path, proxied=True)
    assert one.client == Peer.parse("198.51.100.7")
    assert one.client_port == 12345
    assert said(one) == SAID[1:]
    assert other.client == Peer.parse(CLIENT)
    assert len(other.told) == 1


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08", "gunzip"),
        (b"hello\nworld\n", "neither a capture"),
        (b"\xd4\xc3\xb2\xa1\x02", "within its header"),
        (b"\n\r\r\n\x1c\0\0\0\1\2\3\4", "byte order"),
    ],
)
def test_a_file_that_is_none_is_refused_with_what_is_read(tmp_path: Path, octets: bytes, why: str) -> None:
    """One line that helps."""
    with pytest.raises(Unreadable, match=why):
        sessions(written(tmp_path, octets))


def test_a_file_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """At every octet, of both kinds."""
    for file in (pcap(talk(SAID)), pcapng(talk(SAID))):
        for length in range(len(file) // 2, len(file), 7):
            found, told = sessions(written(tmp_path, file[:length]))
            assert len(found) == 1
            assert all("breaks off" in what for what in told)


def test_lengths_that_make_no_sense_take_no_memory(tmp_path: Path) -> None:
    """A frame of 4 GB, and a block."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    _, told = sessions(written(tmp_path, head + struct.pack("<IIII", 1, 1, 0xFFFFFFFF, 0xFFFFFFFF)))
    assert len(told) == 1
    assert "broken" in next(iter(told))
    broken = pcapng([]) + struct.pack("<II", 6, 0xFFFFFFFC)
    _, told = sessions(written(tmp_path, broken))
    assert len(told) == 1
    assert "broken" in next(iter(told))


def test_what_is_kept_of_connections_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was silent for the longest makes room."""
    monkeypatch.setattr(connections, "CONNECTIONS", 3)
    packets = [one for number in range(5) for one in talk(SAID[:2], client=f"203.0.113.{number}", end=False)]
    found, _ = sessions(written(tmp_path, pcap(packets)))
    assert len(found) == 5
    assert [connections.MADE_ROOM in one.told for one in found] == [True, True, False, False, False]


@pytest.mark.parametrize("seed", range(6))
def test_hostile_captures_raise_nothing(tmp_path: Path, seed: int) -> None:
    """Octets changed, left out and put in, in every kind of file and frame."""
    random = Random(seed)
    link = random.choice(list(FORMS))
    ends = random.choice([(CLIENT, SERVER), ("2001:db8::9", "2001:db8::25")])
    good = random.choice([pcap, pcapng])([*talk(SAID, *ends), *talk(SAID, *ends, port=40001)], link)
    for _ in range(150):
        octets = bytearray(good)
        for _ in range(random.randint(1, 12)):
            at = random.randrange(24, len(octets))
            match random.randrange(3):
                case 0:
                    octets[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)])
                case 1:
                    del octets[at : at + random.randint(1, 8)]
                case 2:
                    octets[at:at] = random.randbytes(random.randint(1, 8))
        try:
            found, _ = sessions(written(tmp_path, bytes(octets)))
        except Unreadable:
            continue
        assert len(found) <= 8


def test_random_packets_raise_nothing() -> None:
    """Of every link type, of every length."""
    random = Random(1)
    for link in [*segments.LINKS, 5]:
        for length in range(120):
            octets = bytearray(random.randbytes(length))
            for at, value in ((0, 0x45), (12, 8), (13, 0), (14, 0x45), (23, 6)):
                if at < length and random.random() < 0.7:
                    octets[at] = value
            segments.segment_in(capture_file.Frame(0.0, link, bytes(octets)))


def test_a_fin_closes_both_ways(tmp_path: Path) -> None:
    """A connection whose end is not in the capture says so."""
    (one,), _ = sessions(written(tmp_path, pcap(talk(SAID, end=False))))
    assert one.told == [connection.UNENDED]
    half = [*talk(SAID, end=False), packet(CLIENT, SERVER, (40000, 25), 1000, 0, FIN | ACK)]
    assert len(sessions(written(tmp_path, pcap(half)))[0]) == 1
