"""Captures that a test makes: frames by dpkt, which is not what reads them, and the files around them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import dpkt

CLIENT: Final = "203.0.113.9"
SERVER: Final = "192.0.2.25"
FIN, SYN, RST, PUSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

ETHERNET, SLL, SLL2, NULL, LOOP, RAW = 1, 113, 276, 0, 108, 101


def packet(
    source: str, to: str, ports: tuple[int, int], sequence: int, acknowledged: int, flags: int, octets: bytes = b""
) -> bytes:
    """Return an IP packet."""
    tcp = dpkt.tcp.TCP(
        sport=ports[0],
        dport=ports[1],
        seq=sequence & 0xFFFFFFFF,
        ack=acknowledged & 0xFFFFFFFF,
        flags=flags,
        data=octets,
    )
    addresses = {"src": ip_address(source).packed, "dst": ip_address(to).packed}
    if ":" in source:
        return bytes(dpkt.ip6.IP6(nxt=6, plen=len(tcp), data=tcp, **addresses))
    return bytes(dpkt.ip.IP(p=6, data=tcp, **addresses, len=20 + len(tcp)))


def ethernet(inner: bytes, tags: Sequence[int] = ()) -> bytes:
    """Return a frame, with VLAN tags of these numbers."""
    kinds = [*(0x8100 for _ in tags), 0x86DD if inner[0] >> 4 == 6 else 0x0800]
    tagged = b"".join(struct.pack(">HH", tag, kind) for tag, kind in zip(tags, kinds[1:], strict=True))
    return bytes(12) + struct.pack(">H", kinds[0]) + tagged + inner


def cooked(inner: bytes) -> bytes:
    """Return a frame of `tcpdump -i any`."""
    return bytes(14) + (b"\x86\xdd" if inner[0] >> 4 == 6 else b"\x08\x00") + inner


def cooked2(inner: bytes) -> bytes:
    """Return one of its second form."""
    return (b"\x86\xdd" if inner[0] >> 4 == 6 else b"\x08\x00") + bytes(18) + inner


def loopback(inner: bytes) -> bytes:
    """Return a frame of BSD's lo0."""
    return struct.pack("<I", 2 if inner[0] >> 4 == 4 else 30) + inner


def bare(inner: bytes) -> bytes:
    """Return the packet itself."""
    return inner


FORMS: Final[dict[int, Callable[[bytes], bytes]]] = {
    ETHERNET: ethernet,
    SLL: cooked,
    SLL2: cooked2,
    NULL: loopback,
    LOOP: loopback,
    RAW: bare,
}


def talk(
    said: Iterable[tuple[bool, bytes]],
    client: str = CLIENT,
    server: str = SERVER,
    port: int = 40000,
    server_port: int = 25,
    first: int = 1000,
    first_of_server: int = 5000,
    end: bool = True,
    segment: int = 1400,
) -> list[bytes]:
    """Return the packets of a connection on which this is said; True stands for the client."""
    ports = {True: (port, server_port), False: (server_port, port)}
    ends = {True: (client, server), False: (server, client)}
    next_ = {True: first, False: first_of_server}

    def one(from_client: bool, flags: int, octets: bytes = b"") -> bytes:
        made = packet(*ends[from_client], ports[from_client], next_[from_client], next_[not from_client], flags, octets)
        next_[from_client] += len(octets) + (1 if flags & (SYN | FIN) else 0)
        return made

    packets = [one(True, SYN), one(False, SYN | ACK), one(True, ACK)]
    for from_client, octets in said:
        packets += [one(from_client, ACK | PUSH, octets[at : at + segment]) for at in range(0, len(octets), segment)]
        packets.append(one(not from_client, ACK))
    if end:
        packets += [one(True, FIN | ACK), one(False, FIN | ACK), one(True, ACK)]
    return packets


def pcap(packets: Iterable[bytes], link: int = ETHERNET, snap: int = 262144, began: float = 1_800_000_000.0) -> bytes:
    """Return a pcap file, a millisecond between packets."""
    file = io.BytesIO()
    writer = dpkt.pcap.Writer(file, snaplen=snap, linktype=link)
    for place, inner in enumerate(packets):
        frame = FORMS[link](inner)
        header = struct.pack(
            "=IIII", int(began) + place // 1000, place % 1000 * 1000, min(len(frame), snap), len(frame)
        )
        writer._Writer__f.write(header + frame[:snap])
    return file.getvalue()


def pcapng(packets: Iterable[bytes], link: int = ETHERNET) -> bytes:
    """Return a pcapng file, with blocks of other kinds between those of packets."""
    file = io.BytesIO()
    writer = dpkt.pcapng.Writer(file, idb=dpkt.pcapng.InterfaceDescriptionBlockLE(linktype=link))
    for place, inner in enumerate(packets):
        writer.writepkt(FORMS[link](inner), ts=1_800_000_000.0 + place / 1000)
        file.write(struct.pack("<III", 5, 12, 12))
    return file.getvalue()


def written(folder: Path, octets: bytes, name: str = "smtp.pcap") -> Path:
    """Write a file; return its path."""
    path = folder / name
    path.write_bytes(octets)
    return path
