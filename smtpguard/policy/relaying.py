"""Which recipients the mail server takes mail for, told from the argument of RCPT alone.

Contract: `RelayDomains.accepts` is True only for an argument in which every mail server that there is
finds the same mailbox in one of the domains.  So it is no reader of addresses: what has a second
meaning anywhere, as source routes, `%`, `!`, quotes and comments have, is not accepted, whatever it
means here.  The work grows no faster than the argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from unicodedata import normalize

PATH_OCTETS: Final = 256
"""RFC 5321 4.5.3.1.3: the longest path, brackets included; servers refuse a longer one or cut it off."""
DOMAIN_OCTETS: Final = 253
"""RFC 1035 3.1: 255 octets on the wire, and as text two less."""

# Blanks are spaces alone: a TAB is one to some servers and not to others.  Parameters are those of RFC 5321 4.1.2,
# less what could end an address, begin another, or hide one.
_ARGUMENT: Final = re.compile(
    rb"TO: *<(?P<path>[^<>\0- \x7f]*)>(?: +[A-Z0-9][A-Z0-9-]*(?:=[!#-'*-;?@A-Z\[\]^_`a-z{|}~]+)?)* *", re.IGNORECASE
)
# RFC 5321 4.1.2 atext and dots, less what moves the mailbox elsewhere: `%`, `!`, and `^`, which stood for `!` in the
# rules of the first sendmails.  RFC 6531 3.3 adds all beyond ASCII.
# IMCEASMTP-a+40b+2Ec is an address elsewhere, which Exchange 5.5 took out again.
_LOCAL_PART: Final = re.compile(r"(?!(?i:IMCEASMTP-))[A-Za-z0-9.#$&'*+/=?_`{|}~\u00a1-\U0010ffff-]+")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_V4: Final = re.compile(r"\[([0-9.]+)\]")
_V6: Final = re.compile(r"\[ipv6:([0-9a-f:.]+)\]")


class RelayDomains:
    """Lists of domains, of all subdomains of domains, of address literals, and of exceptions among them.

    In a list the entry nearest to a domain decides; a domain that one of the lists accepts is accepted.
    """

    def __init__(self, domains: Iterable[str], *further: Iterable[str]) -> None:
        """Take entries in the forms that `parse_domain` takes; raises its ValueError for any other."""
        plain: dict[str, bool] = {}
        self._lists = [plain]  # those without exceptions are one
        for given in (domains, *further):
            entries = {parse_domain(one) for one in given}
            excepted = {one[1:] for one in entries if one.startswith("!")}
            found = plain if not excepted else {}
            found.update(dict.fromkeys((one for one in entries if one[0] != "!"), True))
            for one in sorted(excepted):
                found.setdefault(one, False)
                found.setdefault(f".{one.removeprefix('.')}", False)
            if excepted:
                self._lists.append(found)

    def accepts(self, argument: bytes | None) -> bool:
        """True if the argument of a RCPT command names one mailbox beyond doubt, and its domain is one of these."""
        match = _ARGUMENT.fullmatch(argument) if argument is not None else None
        if match is None or len(match["path"]) + len("<>") > PATH_OCTETS:
            return False
        try:
            local_part, at, domain = match["path"].decode("utf-8").partition("@")
        except UnicodeDecodeError:
            return False
        if not at:
            # RFC 5321 4.1.1.3: it needs no domain, and no other may be without one.
            return match["path"].lower() == b"postmaster"
        return _is_plain(local_part) and domain.isascii() and self._has(domain.lower())

    def _has(self, domain: str) -> bool:
        if domain.startswith("["):
            literal = _literal(domain)
            return literal is not None and any(one.get(literal, False) for one in self._lists)
        return _is_domain(domain) and any(_accepts(one, domain) for one in self._lists)


def _accepts(entries: dict[str, bool], domain: str) -> bool:
    """Return what the nearest entry says: the domain itself, then what is around it from the inside out."""
    found = entries.get(domain)
    place = 0
    while found is None and (place := domain.find(".", place + 1)) > 0:
        found = entries.get(domain[place:])
    return found is True


def idle_exceptions(entries: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the exceptions of a list, with their places in it, that are below nothing that it accepts.

    The entries are in the form that `parse_domain` gives them.
    """
    accepted = frozenset(entries)
    for number, one in enumerate(entries):
        if one.startswith("!"):
            name = one.lstrip("!.")
            if not any(name[place:] in accepted for place, character in enumerate(name) if character == "."):
                yield number, one


def _is_plain(local_part: str) -> bool:
    """True if nobody finds anything but a name in it, also who makes ASCII of what looks like it."""
    if not _LOCAL_PART.fullmatch(local_part):
        return False
    # U+FF20 and U+FE6B become an `@`, U+FF05 a `%`; U+2028 ends a line for some.
    return local_part.isascii() or (
        local_part.isprintable() and _LOCAL_PART.fullmatch(normalize("NFKC", local_part)) is not None
    )


def _is_domain(domain: str) -> bool:
    """True for labels of letters, digits and hyphens, in lower case; not for what could be an address."""
    labels = domain.split(".")
    if len(domain) > DOMAIN_OCTETS or not all(map(_LABEL.fullmatch, labels)):
        return False
    return not labels[-1].isdigit()


def _literal(text: str) -> str | None:
    """Return an address literal in lower case (RFC 5321 4.1.3) in the one form that entries have."""
    v4, v6 = _V4.fullmatch(text), _V6.fullmatch(text)
    try:
        if v4 is not None:
            return f"[{IPv4Address(v4[1])}]"
        return f"[IPv6:{IPv6Address(v6[1])}]" if v6 is not None else None
    except ValueError:
        return None


def parse_domain(text: str) -> str:
    """Read an entry: `example.org`, `.example.org` for all subdomains of it, or an address literal.

    `!example.org` is neither the domain nor anything below it, and `!.example.org` nothing below it.  Returns the entry
    in the one form that it has here; raises ValueError whose text says what to write instead.
    """
    if not text.isascii():
        raise ValueError(f"{text!r} is not ASCII: write {_a_labels(text)}")
    lowered = text.lower()
    if lowered.startswith("!"):
        excepted = parse_domain(lowered[1:])
        if excepted[0] in "![":
            raise ValueError(f"{text!r} is no exception: write !a.example.org, beside .example.org")
        return f"!{excepted}"
    if lowered.startswith("["):
        literal = _literal(lowered)
        if literal is None:
            raise ValueError(f"{text!r} is no address literal: write [192.0.2.25] or [IPv6:2001:db8::25]")
        return literal
    if _is_domain(lowered.removeprefix(".")):
        return lowered
    raise ValueError(f"{text!r} is no domain: {_what_is_wrong(lowered)}")


def _a_labels(text: str) -> str:
    """Return what a domain is written as in SMTP, as far as it can be told (RFC 5890 2.3.2.1)."""
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError:
        return "its A-labels, as xn--bcher-kva.example"


def _what_is_wrong(text: str) -> str:
    local_part, at, behind = text.rpartition("@")
    if at:
        return f"write {behind or 'example.org'}, without {'what is in front of it' if local_part else 'the @'}"
    if not text.strip("*."):
        return "to relay for all domains is to be an open relay"
    if text.startswith("*"):
        return f"write .{text.lstrip('*.')} for all its subdomains"
    if text.endswith("."):
        return f"write {text.rstrip('.')}, without the dot at its end"
    try:
        address = ip_address(text.removeprefix("ipv6:"))
    except ValueError:
        pass
    else:
        return f"write [{'IPv6:' if address.version == 6 else ''}{address}] for mail to that address"
    if "/" in text or ":" in text:
        return "networks are for clients, and recipients have domains, as example.org"
    return "it has labels of letters, digits and hyphens, as example.org"
