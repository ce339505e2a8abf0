"""docs/deploy-others.md: what stands there is what a real Postfix, Exim and HAProxy are run with here.

Taken from the page itself; only ports and addresses are those of the hosts.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.rig.exim import RealExim
from tests.rig.guard import ROOT, Guard
from tests.rig.haproxy import RealHaproxy
from tests.rig.postfix import RealPostfix
from tests.rig.sendmail import RealSendmail

from .placed import routes
from .support import BALANCER, FOREIGN, GUARD, NO_VRFY, OUTSIDER, V4, Net, guarding, leave, on

PAGE: Final = (ROOT / "docs/deploy-others.md").read_text()


def blocks(title: str) -> list[str]:
    """Return the fenced blocks of a section, in order."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    assert section, title
    return re.findall(r"(?ms)^```\w+\n(.*?)^```$", section)


def settings(text: str, port: int) -> Mapping[str, Any]:
    """Return the settings' backend, for a server at this port."""
    read = yaml.safe_load(text)
    assert read["backend"]["endpoint"] == "tcp:127.0.0.1:2525"
    return {**read["backend"], "endpoint": f"tcp:127.0.0.1:{port}"}


class PostfixBy(RealPostfix):
    """A Postfix with lines of the page in master.cf and main.cf."""

    def __init__(self, master: str, main: str = "") -> None:
        super().__init__({"mynetworks": "127.0.0.0/8"})
        self._lines = master
        self._main = main

    def configure(self, root: Path) -> None:
        super().configure(root)
        file = root / "etc/postfix/master.cf"
        first = f"127.0.0.1:{self.port} inet n - n - - smtpd\n"
        assert first in file.read_text()
        file.write_text(file.read_text().replace(first, self._lines.replace("2525", str(self.port))))
        with (root / "etc/postfix/main.cf").open("a") as main:
            main.write(self._main)


@contextmanager
def sees(net: Net, guard: Guard, port: int = 0) -> Iterator[None]:
    """Talk to it as an outsider: VRFY is answered by the guard, and relaying is refused."""
    with net.outsider.talk(GUARD[V4], port or guard.ports[V4], seconds=60) as client:
        assert client.banner.startswith("220")
        client.say("EHLO me.test")
        assert client.say("VRFY george") == NO_VRFY
        assert client.say("MAIL FROM:<a@b.example>").startswith("250 ")
        assert client.say(FOREIGN)[0] in "45"
        yield
        leave(client)


@pytest.mark.parametrize(
    ("title", "master", "main", "guard_settings"),
    [
        ("Postfix on the same host, with XCLIENT", 0, 1, 2),
        ("Postfix on the same host, with a PROXY header", 0, None, 1),
        ("Postfix on the same host, with a PROXY header", 2, 3, 1),
    ],
    ids=["xclient", "proxy", "postscreen"],
)
def test_postfix_as_the_page_has_it_knows_the_client(
    net: Net, tmp_path: Path, title: str, master: int, main: int | None, guard_settings: int
) -> None:
    """smtpd, or postscreen before it, logs the outsider's address."""
    found = blocks(title)
    with on(net.guard, PostfixBy(found[master], "" if main is None else found[main])) as postfix:
        with guarding(net.guard, tmp_path, settings(found[guard_settings], postfix.port)) as guard:
            guard.wait_line("refuses to relay mail from ")
            with sees(net, guard):
                pass
        postfix.wait_log(rf"smtpd.*disconnect from unknown\[{re.escape(OUTSIDER[V4])}\]|smtpd.*client=")
        assert f"from unknown[{OUTSIDER[V4]}]" in postfix.log()


def test_exim_as_the_page_has_it_knows_the_client(net: Net, tmp_path: Path) -> None:
    """The rig's own configuration has those two lines, and the routes are those of the drop-in."""
    lines, mine = blocks("Exim on the same host, transparent")
    with on(net.guard, RealExim()) as exim, routes(net.guard):
        configuration = (exim.root / "etc/exim4/exim4.conf").read_text()
        assert lines.replace("2525", str(exim.port)) in configuration
        with guarding(net.guard, tmp_path, settings(mine, exim.port), listen=("0.0.0.0",)) as guard:
            guard.wait_line("refuses to relay mail from ")
            with sees(net, guard):
                pass
        assert f"[{OUTSIDER[V4]}]" in exim.log()


class HaproxyBy(RealHaproxy):
    """A HAProxy with the page's section, at the port and for the guard of the rig."""

    section = ""

    def _configuration(self, run: Path) -> str:
        whole = super()._configuration(run)
        place, port = self._listen[0]
        target = f"{self._target[0]}:{self._target[1]}"
        mine = self.section.replace("bind :25", f"bind {place}:{port}").replace("192.0.2.2:25", target)
        return whole.partition("listen smtp\n")[0] + mine


def test_haproxy_as_the_page_has_it_tells_the_guard_the_client(net: Net, tmp_path: Path) -> None:
    """HAProxy -> guard -> sendmail, which sees the outsider itself."""
    section, mine = blocks("A balancer in front")
    read = yaml.safe_load(mine)
    listener = {**read["listen"][0], "endpoint": "tcp:0:interface=0.0.0.0", "trusted": [BALANCER[V4]]}
    assert read["listen"][0]["trusted"] == ["192.0.2.1"]
    with on(net.guard, RealSendmail()) as server, routes(net.guard):
        backend = settings(mine, server.port)
        with guarding(net.guard, tmp_path, backend, listen=("0.0.0.0",), listeners=[listener]) as guard:
            haproxy = HaproxyBy((GUARD[V4], guard.ports[V4]), "send-proxy-v2", (BALANCER[V4],))
            haproxy.section = section
            with on(net.balancer, haproxy), net.outsider.talk(BALANCER[V4], haproxy.ports[V4]) as client:
                client.say("EHLO me.test")
                assert client.say("VRFY george") == NO_VRFY
                leave(client)
        server.wait_log(rf"NOQUEUE: connect from \[{re.escape(OUTSIDER[V4])}\]")


def test_a_guard_on_a_host_of_its_own_as_the_page_has_it_is_what_the_tests_of_transparency_run(net: Net) -> None:
    """The same keys, and the routes that the page names are taken by the script."""
    mine, rules, plain = blocks("A guard on a host of its own")
    assert yaml.safe_load(mine)["backend"].keys() == {"endpoint", "identity", "profile"}
    assert set(yaml.safe_load(rules)) == {"relay_domains"}
    assert yaml.safe_load(plain)["backend"].keys() == {"endpoint"}
    words = re.findall(r"`up (192\.0\.2\.25@eth1)`", PAGE)
    done = subprocess.run(
        [str(ROOT / "systemd/smtpguard-transparent"), "show", *words], capture_output=True, text=True, check=True
    )
    assert "from 192.0.2.25/32 iif eth1 ipproto tcp sport 25" in done.stdout
