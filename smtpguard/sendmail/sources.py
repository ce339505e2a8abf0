"""Where an import reads from: the files that are named, else those of /etc/mail.

Contract: `gathered` reads what there is and tells what there is not; a file that was named must be there (OSError).
A .mc is put through m4 where sendmail's macros are installed, as sendmail's own Makefile does: that runs what the file
says, so it is done only if the file is named.  Else what is known of it is read from its text.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from . import cf_file
from .cf_file import Cf, Said
from .classes import WORDS_TO_COMMENT
from .told import Remarks

FOLDER: Final = Path("/etc/mail")
MACROS: Final = Path("/usr/share/sendmail/cf/m4/cf.m4")
M4_SECONDS: Final = 60
"""m4 takes a tenth of one; a file may recurse for ever."""

OPTION_OF: Final = {
    "confPRIVACY_FLAGS": "PrivacyOptions",
    "confLOG_LEVEL": "LogLevel",
    "confSMTP_LOGIN_MSG": "SmtpGreetingMessage",
    "confMAX_DAEMON_CHILDREN": "MaxDaemonChildren",
    "confCONNECTION_RATE_THROTTLE": "ConnectionRateThrottle",
    "confBAD_RCPT_THROTTLE": "BadRcptThrottle",
    "confMAX_MESSAGE_SIZE": "MaxMessageSize",
    "confMAX_RCPTS_PER_MESSAGE": "MaxRecipientsPerMessage",
    "confMAX_NOOP_COMMANDS": "MaxNOOPCommands",
    "confAUTH_OPTIONS": "AuthOptions",
    "confUSE_COMPRESSED_IPV6_ADDRESSES": "UseCompressedIPv6Addresses",
}
"""What a .mc calls the options of a .cf."""
_DEFINE: Final = re.compile(r"define\(\s*`?(\w+)'?\s*,\s*`?([^')]*)'?\s*\)")
_M4_COMMENT: Final = re.compile(r"\bdnl\b.*")
_CALL: Final = re.compile(r"\b(FEATURE|RELAY_DOMAIN|LOCAL_DOMAIN|DAEMON_OPTIONS)\(\s*`?([^'),]*)'?([^)]*)\)")
_SECTION: Final = re.compile(r"^(LOCAL_RULESETS|LOCAL_CONFIG)\b")
_OPENING: Final = ("promiscuous_relay", "relay_entire_domain", "relay_based_on_MX", "relay_local_from")
"""Features that relay for more than lists say."""


@define
class Sources:
    """The files of an import."""

    cf: Cf
    access: Path | None = None
    relay_domains: Path | None = None
    local_host_names: Path | None = None
    read: list[str] = field(factory=list)
    """Their names."""
    relay_hosts_only: bool = False
    first_words: frozenset[str] = frozenset()
    """Classes of whose files only the first word of a line counts."""


def gathered(
    remarks: Remarks,
    cf: str | None = None,
    mc: str | None = None,
    access: str | None = None,
    relay_domains: str | None = None,
    local_host_names: str | None = None,
) -> Sources:
    """Read the files; raises OSError for one that was named."""
    named = [cf, mc, access, relay_domains, local_host_names]
    if not any(named):
        if not (FOLDER / "sendmail.cf").is_file():
            raise FileNotFoundError(2, "no sendmail.cf there: name your files, as with --cf FILE", str(FOLDER))
        cf = str(FOLDER / "sendmail.cf")
    parsed = cf_file.read(cf) if cf is not None else Cf(mc or "")
    sources = Sources(parsed, read=[cf] if cf is not None else [])
    if mc is not None:
        _take_mc(sources, mc, remarks, instead=cf is None)
        sources.read.append(mc)
    sources.access = _file(access) or _of_map(parsed if cf else sources.cf, remarks)
    of_r, of_w = _of_class(sources.cf, "R", remarks), _of_class(sources.cf, "w", remarks)
    sources.relay_domains = _file(relay_domains) or of_r.path
    sources.local_host_names = _file(local_host_names) or of_w.path
    sources.first_words = frozenset(name for name, of in (("R", of_r), ("w", of_w)) if of.first_words)
    parsing = sources.cf.rule_sets.get("ParseRecipient", [])
    sources.relay_hosts_only |= any("@ $=R >" in rule.left for rule in parsing)  # FEATURE(`relay_hosts_only')
    for path in (sources.access, sources.relay_domains, sources.local_host_names):
        if path is not None:
            sources.read.append(str(path))
    return sources


def _file(name: str | None) -> Path | None:
    if name is None:
        return None
    with open(name, "rb"):
        return Path(name)


def _of_map(cf: Cf, remarks: Remarks) -> Path | None:
    """Return the text of the access map that the configuration names."""
    said = cf.maps.get("access")
    if said is None:
        return None
    words = said.text.split()
    path = Path(re.sub(r"\.(db|pag|cdb)$", "", words[-1]))  # of the map itself, which is not the text
    if words[0] not in ("hash", "btree", "text", "dbm", "cdb") or not path.is_absolute():
        remarks.tell(cf.file, said.line, f"the access map is {said.text}", "write its text into a file for --access")
        return None
    if not path.is_file():
        remarks.tell(cf.file, said.line, f"{path} is not there", "name the text of the access map with --access")
        return None
    return path


@frozen
class _ClassFile:
    """The file of a class, and how it is read."""

    path: Path | None = None
    first_words: bool = False


def _of_class(cf: Cf, name: str, remarks: Remarks) -> _ClassFile:
    """Return the file of a class that is there; what is in others is told, and missing only makes it smaller."""
    found = _ClassFile()
    for said in cf.class_files.get(name, []):
        optional, words = False, said.text.split()
        while words and words[0].startswith("-"):
            optional = optional or "o" in words.pop(0)
        path, form = Path(words[0]) if words else None, " ".join(words[1:])
        if path is None or not path.is_absolute() or form not in ("", WORDS_TO_COMMENT):
            remarks.tell(cf.file, said.line, f"class {name} is from {said.text}", "write its words into a file")
        elif path.is_file() and found.path is not None:
            remarks.tell(cf.file, said.line, f"class {name}: {path} is left out", f"only {found.path} is read")
        elif path.is_file():
            found = _ClassFile(path, first_words=not form)
        elif not optional:
            remarks.tell(cf.file, said.line, f"{path} is not there", "name the file of class " + name)
    return found


# -- sendmail.mc ---------------------------------------------------------------------


def _take_mc(sources: Sources, name: str, remarks: Remarks, *, instead: bool) -> None:
    with open(name, "rb") as file:
        text = file.read(cf_file.FILE_OCTETS).decode("latin-1")
    _tell_features(sources, name, text, remarks)
    if not instead:
        return  # the .cf is what sendmail reads
    made = _expanded(name, text, remarks)
    if made is not None:
        sources.cf = _with_places(cf_file.parse(made, f"{name} (by m4)"), name, text)
    else:
        sources.cf = _read_as_text(name, text)


def _expanded(name: str, text: str, remarks: Remarks) -> bytes | None:
    """Return what m4 makes of the file; None if it is not to be had."""
    m4 = shutil.which("m4", path="/usr/bin:/usr/local/bin:/bin")
    if m4 is None or not MACROS.is_file():
        remarks.tell(
            name, 0, "m4 or sendmail's macros are not here", "read as text, without what it includes; use --cf"
        )
        return None
    head = [] if re.search(r"include\([^)]*cf\.m4", text) else [str(MACROS)]
    try:
        done = subprocess.run(
            [m4, f"-D_CF_DIR_={MACROS.parents[1]}/", *head, name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=M4_SECONDS,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        remarks.tell(name, 0, f"m4: {error}", "read as text")
        return None
    if done.returncode != 0 or b"\nO " not in done.stdout:
        said = done.stderr.decode("latin-1").strip().partition("\n")[0] or "it made no sendmail.cf"
        remarks.tell(name, 0, f"m4: {said}", "read as text")
        return None
    return done.stdout


def _with_places(cf: Cf, name: str, text: str) -> Cf:
    """Give options the lines of the .mc that they are set in."""
    for number, found in _calls(_DEFINE, text):
        option = OPTION_OF.get(found[1], "").lower()
        if option in cf.options:
            cf.options[option] = [Said(one.text, number, name) for one in cf.options[option]]
    return cf


def _calls(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield what is found of a macro's calls, which may go over lines, each with its line; what dnl hides is none."""
    bare = _M4_COMMENT.sub("", text)
    for found in pattern.finditer(bare):
        yield bare.count("\n", 0, found.start()) + 1, found


def _read_as_text(name: str, text: str) -> Cf:
    """Read the macros that are known, and what stands behind LOCAL_CONFIG and LOCAL_RULESETS."""
    kept, above = ["" for _ in text.split("\n")], False
    cf = Cf(name)
    for number, line in enumerate(text.split("\n"), 1):
        if _SECTION.match(line):
            above = True
        elif re.match(r"(MAILER|LOCAL_RULE_|MAILER_DEFINITIONS|divert|define|FEATURE)\b", line):
            above = False
        elif above and not line.startswith("dnl"):
            kept[number - 1] = line.removeprefix("<|").removesuffix("dnl")
    cf = cf_file.parse("\n".join(kept).encode("latin-1", "replace"), name)
    for number, found in _calls(_DEFINE, text):
        if found[1] in OPTION_OF:
            cf.options[OPTION_OF[found[1]].lower()] = [Said(" ".join(found[2].split()), number, name)]
    for number, found in _calls(_CALL, text):
        words = [Said(word, number, name) for word in found[2].split()]
        if found[1] == "RELAY_DOMAIN":
            cf.classes.setdefault("R", []).extend(words)
        elif found[1] == "LOCAL_DOMAIN":
            cf.classes.setdefault("w", []).extend(words)
        elif found[1] == "DAEMON_OPTIONS":
            cf.options.setdefault("daemonportoptions", []).append(Said(found[2] + found[3].rstrip("'"), number, name))
        elif words and words[0].text == "access_db":
            given = re.search(r"/[^\s'`]+(?='?\s*$)", found[3])
            cf.maps["access"] = Said(f"hash {given[0] if given else '/etc/mail/access'}", number, name)
    at = cf.options.setdefault("daemonportoptions", [])
    if not at:
        at.append(Said("Name=MTA", 0, name))
    if not any(found[2] == "no_default_msa" for _, found in _calls(_CALL, text)):
        at.append(Said("Name=MSA, Port=587, M=E", 0, name))  # what m4 adds
    return cf


def _tell_features(sources: Sources, name: str, text: str, remarks: Remarks) -> None:
    for number, found in _calls(_CALL, text):
        if found[1] != "FEATURE":
            continue
        if found[2] == "relay_hosts_only":
            sources.relay_hosts_only = True
        elif found[2] == "promiscuous_relay":
            remarks.tell(name, number, "FEATURE(`promiscuous_relay') makes an OPEN RELAY", "not carried over")
        elif found[2] in _OPENING:
            remarks.tell(name, number, f"FEATURE(`{found[2]}') relays by what DNS says", "not carried over")
        elif found[2] in _FEATURES:
            remarks.tell(name, number, f"FEATURE(`{found[2]}')", _FEATURES[found[2]])


_FEATURES: Final = {
    "ratecontrol": "see `limits` with `count: connections`",
    "conncontrol": "see `limits` with `count: parallel`",
    "greet_pause": "see `early_input`",
    "dnsbl": "it needs the client's address: keep it in sendmail behind a transparent guard",
    "enhdnsbl": "it needs the client's address: keep it in sendmail behind a transparent guard",
    "delay_checks": "clients that are refused are so at RCPT",
}
