"""What the tests of this folder share: policies, guards by settings file, and what sendmail has seen."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.rig.client import Talk
from tests.rig.guard import ROOT, Guard, client_endpoint
from tests.rig.sendmail import Delivery, RealSendmail
from tests.rig.wait import wait_until

INSIDE = "127.0.0.1"
OUTSIDE = "127.0.0.2"
INTERNAL = ("127.0.0.1/32", "::1/128")

GEORGE = "250 2.1.5 <george@x.test>"
# sendmail expands the last name of the alias first.
ALL = "250-2.1.5 <bob@x.test>\n250-2.1.5 <alice@x.test>\n250 2.1.5 <george@x.test>"
NO_VRFY = "252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)"
NO_EXPN = "502 5.7.0 Sorry, we do not allow this operation"
UNRECOGNIZED = "500 5.5.1 Command unrecognized"
SYNTAX = "500 5.5.2 Syntax error, command unrecognized"

RESTRICTED = frozenset({"VRFY", "EXPN", "ETRN", "VERB", "DEBUG", "SHOWQ", "WIZ"})
"""Verbs that sendmail must not see from outside under the perimeter rules."""

_NOTHING_ASKED = " did not issue MAIL/EXPN/VRFY/ETRN during connection to "
_ENTRY = re.compile(r"([0-9]{5,}) (<<<|>>>|===) ")
_BLANKS = " \t\n\v\f\r"


def policy(internal: Sequence[str] = INTERNAL, shipped: str = "internal-vrfy") -> str:
    """Return the rules of a shipped policy for other internal networks, so without its tests."""
    rules = yaml.safe_load((ROOT / "policies" / f"{shipped}.yaml").read_text("ascii"))
    rules["networks"] = {"internal": list(internal)}
    del rules["tests"]
    return yaml.safe_dump(rules)


class ConfiguredGuard(Guard):
    """A guard that gets everything from a settings file in `folder`.

    `listen` are the addresses waited for.  `settings` are added to what every guard here has, or
    replace it.  `wrapper` is a command line that runs the guard's, its last part.
    """

    def __init__(
        self,
        folder: Path,
        backend: tuple[str, int],
        policy_text: str,
        settings: Mapping[str, object] | None = None,
        listen: Sequence[str] = ("127.0.0.1",),
        wrapper: Sequence[str] = (),
    ) -> None:
        """Write both files."""
        super().__init__(backend, listen=listen)
        self._command = [*wrapper, sys.executable, "-m", "smtpguard", "run"]
        self._command += ["--config", str(write_settings(folder, backend, policy_text, settings, listen))]

    def command(self) -> list[str]:
        """Return the command line."""
        return self._command


def write_settings(
    folder: Path,
    backend: tuple[str, int],
    policy_text: str,
    settings: Mapping[str, object] | None = None,
    listen: Sequence[str] = ("127.0.0.1",),
) -> Path:
    """Write a policy and the settings that name it; return the path of the settings."""
    (folder / "policy.yaml").write_text(policy_text, "utf-8")
    whole: dict[str, object] = {
        "listen": [server_endpoint(address) for address in listen],
        "backend": client_endpoint(*backend),
        "policy": "policy.yaml",
        "relay_check": "off",
        # Names come from the hosts file alone, and at once.
        "dns": {"servers": ["127.0.0.1"], "timeout": 0.2},
        **(settings or {}),
    }
    # Who closes is not waited for long; some of the tests' own clients never read to the end.
    whole["timeouts"] = {"linger": 0.2, **_section(whole, "timeouts")}
    path = folder / "smtpguard.yaml"
    path.write_text(yaml.safe_dump(whole), "utf-8")
    return path


def _section(settings: Mapping[str, object], name: str) -> Mapping[str, object]:
    section = settings.get(name, {})
    assert isinstance(section, Mapping)
    return section


def server_endpoint(address: str, port: int = 0) -> str:
    """Return the endpoint string for a listener."""
    escaped = address.replace(":", "\\:")
    return f"{'tcp6' if ':' in address else 'tcp'}:{port}:interface={escaped}"


# -- talking -------------------------------------------------------------------------


def hello(port: int, source: str = INSIDE, host: str = "127.0.0.1") -> Talk:
    """Connect from `source` and say EHLO."""
    client = Talk(host, port, source)
    client.say("EHLO me.test")
    return client


def ask(client: Talk, *commands: str) -> list[str]:
    """Say one command after the other; return the replies."""
    return [client.say(command) for command in commands]


def wire(port: int, data: bytes, source: str = INSIDE) -> bytes:
    """Send bytes in one go after EHLO, end the own side; return all answers."""
    with hello(port, source) as client:
        client.send(data)
        client.half_close()
        return client.rest()


def mail(
    port: int,
    content: bytes,
    source: str = OUTSIDE,
    sender: str = "<a@b.example>",
    recipient: str = "<george@x.test>",
) -> None:
    """Send one mail, `content` being all between DATA and the final dot."""
    with Talk("127.0.0.1", port, source) as client:
        for command in ("EHLO me.test", f"MAIL FROM:{sender}", f"RCPT TO:{recipient}", "DATA"):
            assert client.say(command)[0] in "23", command
        client.send(content)
        assert client.say(".").startswith("250 2.0.0 ")
        assert client.say("QUIT").startswith("221 ")
        assert client.closed()


# -- what sendmail has seen --------------------------------------------------------------


@contextmanager
def nothing_asked(server: RealSendmail, sessions: int = 1) -> Iterator[None]:
    """Hold that in this block sendmail serves sessions without MAIL, EXPN, VRFY and ETRN.

    It says so itself, at the end of each; and nothing of these words is in what it read.
    """

    def told() -> int:
        return server.log().count(_NOTHING_ASKED)

    before = told()
    read_before = len(server.traffic())
    yield
    wait_until(lambda: told() >= before + sessions, "sendmail to say that nothing was asked", 20, server.log)
    read = commands_read(server.traffic()[read_before:])
    assert not [line for line in read if re.search("vrfy|expn", line, re.IGNORECASE)]


def commands_read(traffic: str) -> list[str]:
    """Return the lines that sendmail has read as commands, so not those of messages."""
    # Split at the marks: sendmail writes no line end where a NUL cut a line off.
    _, *pieces = _ENTRY.split(traffic)
    in_message: dict[str, bool] = {}
    found: list[str] = []
    for process, mark, text in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
        if mark == ">>>":
            in_message[process] = text.startswith("354")
        elif mark == "<<<" and not in_message.get(process) and text.rstrip(_BLANKS) != "[EOF]":
            found.append(text)
    return found


def verb_as_read(line: str) -> str:
    """Return the verb that sendmail finds in a line: blanks of any kind before and behind it."""
    words = re.split(f"[{_BLANKS}]+", line.strip(_BLANKS), maxsplit=1)
    return words[0].upper()


def delivered(server: RealSendmail, sender: str, count: int = 1) -> list[Delivery]:
    """Wait until `count` mails of this envelope sender have come; return them."""

    def found() -> list[Delivery] | None:
        mine = [one for one in server.deliveries(0) if one.sender == sender]
        return mine if len(mine) >= count else None

    return wait_until(found, f"{count} mails of {sender}", 30, server.log)


# -- processes -----------------------------------------------------------------------------


def resident(pid: int) -> int:
    """Return the resident memory of a process in octets."""
    match = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024
