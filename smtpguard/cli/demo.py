"""`smtpguard demo`: no root, no mail server, nothing left behind."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import click
from twisted.internet.defer import inlineCallbacks

from .. import demo as demo_package
from ..config import policy_file
from ..config.settings import Settings
from ..demo.mta import DOMAIN, DemoMtaFactory
from ..demo.talk import talk
from ..lifecycle.configuration import Configuration
from ..tls import settings as tls_settings
from .run import serve

DIALOGUES = (
    ("An outsider, 127.0.0.2: the guard answers, the mail server hears nothing", "127.0.0.2"),
    ("An insider, 127.0.0.1: the mail server answers, unchanged", "127.0.0.1"),
)
LINES = ["HELO there.domain", "VRFY george", "EXPN all", "  vrfy george", "DEBUG"]


@click.command()
@click.option(
    "--port", default=2600, show_default=True, help="Port on 127.0.0.1; any that is free if it is taken, or 0."
)
@click.option("--once", is_flag=True, help="Show the dialogues and end.")
def demo(port: int, once: bool) -> int:
    """Show the guard at work in front of a mail server of its own, then stay up to be played with."""
    policy = policy_file.load(Path(demo_package.__file__).with_name("policy.yaml"))
    mta: list[Any] = []

    def configuration(reactor: Any) -> Configuration:
        mta.append(reactor.listenTCP(0, DemoMtaFactory(), interface="127.0.0.1"))
        settings = Settings.model_validate(
            {
                "listen": [{"endpoint": f"tcp:{_free(port)}:interface=127.0.0.1"}],
                "backend": {
                    "endpoint": f"tcp:127.0.0.1:{mta[0].getHost().port}",
                    "bind": {"internal": "127.0.0.1", "default": "127.0.0.25"},
                },
                "dns": {"names": False},
            }
        )
        return Configuration(settings, policy, tls_settings.load(settings))

    @inlineCallbacks
    def show(reactor: Any, service: Any) -> Any:
        at = service.addresses[0].port
        for title, source in DIALOGUES:
            click.secho(f"\n{title}", bold=True)
            yield talk(reactor, at, source, LINES, _show)
        if once:
            service.stop()
            return
        click.secho(f"\nNow you. The guard for {DOMAIN} listens on 127.0.0.1:{at}; end with Ctrl-C.", bold=True)
        click.echo(f"  inside:  telnet 127.0.0.1 {at}")
        click.echo(f"  outside: telnet -b 127.0.0.2 127.0.0.1 {at}    (or: nc -C -s 127.0.0.2 127.0.0.1 {at})")

    return serve(configuration, started=show)


def _free(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def _show(who: str, line: str) -> None:
    click.echo(f"  {who}: {click.style(line, fg='cyan' if who == 'C' else 'green')}")
