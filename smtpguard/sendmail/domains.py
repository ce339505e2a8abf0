"""Domains that sendmail takes mail for, or relays to.

Contract: reads the files of classes w and R and the access map; what is no domain is told.  Raises OSError.
"""

from __future__ import annotations

from errno import EFBIG
from pathlib import Path
from typing import Final

from ..config import relay_files
from ..config.plain_files import octets_of
from ..policy.relaying import parse_domain
from .cf_file import Said
from .prefixes import block_of
from .sources import Sources
from .told import Remarks

BIG_CLASS: Final = 100_000
"""Members of a class, at most."""


def relayed(sources: Sources, remarks: Remarks) -> dict[str, str]:
    """Return what outsiders may send mail to, each with its place: class w, class R, the access map.

    None at all if the server's own are not known.
    """
    found: dict[str, str] = {}
    own = [*sources.cf.classes.get("w", [])]
    own += words_of(sources.local_host_names) if sources.local_host_names is not None else []
    for said in own:
        if said.text.lower() not in ("localhost", "localhost.localdomain"):
            _take(found, said, remarks, below=False)
    known = bool(found)
    for said in class_r(sources):
        try:
            address = block_of(said.text)
        except ValueError:
            continue  # told with the networks
        if address is None or said.text.startswith("["):
            _take(found, said, remarks, below=not sources.relay_hosts_only)
    if sources.access is not None:
        domains, faults = relay_files.read_access(sources.access)
        for fault in faults:
            remarks.tell(fault.file, fault.line, fault.text)
        for domain in domains:
            found.setdefault(domain, f"{sources.access}")
    if not known:
        if found:
            remarks.tell(
                sources.cf.file,
                0,
                "the server's own domains are in none of these files",
                "relay_domains is left out; name --local-host-names",
            )
        found.clear()
    elif found:
        remarks.tell(
            sources.cf.file,
            0,
            "sendmail adds its host's names and addresses when it starts, and maps may have more domains",
            "see that relay_domains has all that it takes mail for",
        )
    return found


def _take(found: dict[str, str], said: Said, remarks: Remarks, *, below: bool) -> None:
    try:
        domain = parse_domain(said.text)
    except ValueError as error:
        remarks.tell(said.file, said.line, str(error), "left out")
        return
    found.setdefault(domain, f"{said.file}:{said.line}")
    if below and domain[0] not in ".[":
        found.setdefault(f".{domain}", f"{said.file}:{said.line}")


def class_r(sources: Sources) -> list[Said]:
    """Return the words of class R: domains, and addresses of clients."""
    words = [*sources.cf.classes.get("R", [])]
    if sources.relay_domains is not None:
        words += words_of(sources.relay_domains)
    return words[:BIG_CLASS]


def words_of(path: Path, *, first: bool = False) -> list[Said]:
    """Return the words of a class's file; `#` begins a comment.  Raises OSError.

    So it is read with the format `%[^\\#]` of classes w and R.  Without one (`first`) sendmail takes the first word of
    each line that does not begin with `#`.
    """
    octets = octets_of(path, relay_files.FILE_OCTETS)
    if len(octets) > relay_files.FILE_OCTETS:
        raise OSError(EFBIG, f"larger than {relay_files.FILE_OCTETS} octets", str(path))
    lines = enumerate(octets.decode("latin-1").split("\n"), 1)
    if first:
        return [Said(line.split()[0], number, str(path)) for number, line in lines if line.strip() and line[:1] != "#"]
    return [Said(word, number, str(path)) for number, line in lines for word in line.partition("#")[0].split()]
