"""Domains that sendmail takes mail for, or relays to.

Contract: reads the files of classes w and R and the access map; what is no domain is told.  Raises OSError.
"""

from __future__ import annotations

from ..config import relay_files
from ..policy.relaying import parse_domain
from .cf_file import Cf, Said
from .classes import BIG_CLASS, words_of
from .prefixes import block_of
from .sources import Sources
from .told import Remarks


def relayed(sources: Sources, remarks: Remarks) -> dict[str, str]:
    """Return what outsiders may send mail to, each with its place: class w, class R, the access map.

    None at all if the server's own are not known.
    """
    found: dict[str, str] = {}
    own = [*sources.cf.classes.get("w", [])]
    if sources.local_host_names is not None:
        own += words_of(sources.local_host_names, first="w" in sources.first_words)
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
        # The rule of FEATURE(`lookupdotdomain').
        dotted = any(".$2" in rule.right for rule in sources.cf.rule_sets.get("D", []))
        domains, faults = relay_files.read_access(sources.access, below=not sources.relay_hosts_only, dotted=dotted)
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
        _tell_who_authenticates(sources.cf, remarks)
    return found


def _tell_who_authenticates(cf: Cf, remarks: Remarks) -> None:
    """Tell if AUTH can succeed by a mechanism that is not one to relay for."""
    trusted = {said.text.upper() for said in cf.classes.get("TrustAuthMech", [])}
    offered = cf.option("AuthMechanisms")
    if offered is None or not set(offered.text.upper().split()) <= trusted:
        remarks.tell(
            cf.file,
            offered.line if offered is not None else 0,
            "the guard relays for whoever has authenticated, and sendmail only by the mechanisms of TRUST_AUTH_MECH",
            "set AuthMechanisms to these, or a rule for AUTH",
        )


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
        words += words_of(sources.relay_domains, first="R" in sources.first_words)
    return words[:BIG_CLASS]
