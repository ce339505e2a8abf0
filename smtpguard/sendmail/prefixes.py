"""Addresses as sendmail's access map and class R have them: whole, or cut off behind a number.

Contract: `block_of` returns what a key fits, exactly: sendmail cuts an address at its dots or colons, from the right,
so `192.168` is 192.168.0.0/16, and `IPv6:2001:db8` is 2001:db8::/32.  None is no address at all; ValueError is one
that never fits, with what to write instead.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from ..policy.networks import Block, parse_block

_V4: Final = re.compile(r"\d{1,3}(\.\d{1,3}){0,3}\.?")
_LOOKS_V4: Final = re.compile(r"[\d.]+(/\d+)?")


def block_of(text: str, *, compressed: bool = False) -> Block | None:
    """Read a key without its tag; `compressed` says that UseCompressedIPv6Addresses is on."""
    text = text.removeprefix("[").removesuffix("]")
    if text.lower().startswith("ipv6:"):
        if compressed and "::" in text[5:]:
            return _compressed_v6(text[5:])
        return _v6(text[5:])
    if text.lower() == "ipv6":  # what is left of every address when all of its groups are cut off
        return parse_block("::/0")
    if "/" in text and _LOOKS_V4.fullmatch(text):
        raise ValueError(f"{text} has a length, which sendmail's maps do not know: write its first numbers, as 192.168")
    if not _LOOKS_V4.fullmatch(text):
        return None
    if not _V4.fullmatch(text) or text.endswith("."):
        raise ValueError(f"{text} fits no address: write its first numbers without a dot behind them, as 192.168")
    numbers = text.split(".")
    if not all(number == "0" or (number[0] != "0" and int(number) <= 255) for number in numbers):
        raise ValueError(f"{text} fits no address: write numbers from 0 to 255, without leading zeros")
    padded = ".".join([*numbers, *["0"] * (4 - len(numbers))])
    return parse_block(padded + (f"/{8 * len(numbers)}" if len(numbers) < 4 else ""))


def is_sure(text: str, *, compressed: bool = False) -> bool:
    """True if a key that `block_of` reads fits every client of its block; False if only some, so that it opens less.

    In brackets it is the name of a client that DNS has no name for.  And what has a 0 among its groups is written
    otherwise where sendmail compresses addresses.
    """
    groups = text.lower().removeprefix("ipv6:").split(":")
    return not text.startswith("[") and not (compressed and len(groups) > 1 and "0" in groups and "" not in groups)


def _compressed_v6(text: str) -> Block:
    try:
        address = IPv6Address(text)
    except (AddressValueError, ValueError):
        raise ValueError(f"IPv6:{text} fits no address: write its first groups, as IPv6:2001:db8") from None
    if str(address) != text.lower():
        raise ValueError(f"IPv6:{text} fits no address as sendmail writes them: write IPv6:{address}")
    return parse_block(str(address))


def _v6(text: str) -> Block:
    if "::" in text:
        try:
            address = IPv6Address(text)
        except (AddressValueError, ValueError):
            raise ValueError(f"IPv6:{text} fits no address: write its first groups, as IPv6:2001:db8") from None
        full = ":".join(f"{int(group, 16):x}" for group in address.exploded.split(":"))
        raise ValueError(f"IPv6:{text} fits no address as sendmail writes them: write IPv6:{full}")
    groups = text.split(":")
    if len(groups) > 8 or not all(re.fullmatch(r"0|[1-9a-fA-F][0-9a-fA-F]{0,3}", group) for group in groups):
        raise ValueError(f"IPv6:{text} fits no address: write its first groups without leading zeros, as IPv6:2001:db8")
    padded = ":".join([*groups, *["0"] * (8 - len(groups))])
    return parse_block(padded + (f"/{16 * len(groups)}" if len(groups) < 8 else ""))
