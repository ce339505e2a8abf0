"""The peers, as this project's tests run them: HAProxy, nginx, Twisted's port forwarder, Haraka.

Contract: none of them inspects less or more than it does as installed; each has a configuration of its own in its
own directory, and touches nothing of the machine's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import twisted

from tests.rig.sendmail import find_tool, free_port
from tests.rig.unpacked import UNPACKED

from .places import QUEUE, ROOT, SESSIONS, GuardOptions, Place, System, said_by
from .running import Running

NGINX: Final = UNPACKED / "libnginx-mod-mail"
HARAKA: Final = UNPACKED / "haraka"


def _haproxy(place: Place) -> Running:
    running = Running("haproxy", [], free_port(), core=place.core)
    file = running.directory / "haproxy.cfg"
    file.write_text(
        "global\n"
        "  nbthread 1\n"
        f"  maxconn {SESSIONS}\n"
        "defaults\n"
        "  mode tcp\n"
        "  timeout connect 10s\n"
        "  timeout client 10m\n"
        "  timeout server 10m\n"
        "listen smtp\n"
        f"  bind 127.0.0.1:{running.port} backlog {QUEUE}\n"
        f"  server sink 127.0.0.1:{place.sink}\n"
    )
    return running.with_command([str(find_tool("haproxy")), "-db", "-f", str(file)])


def _nginx(place: Place) -> Running:
    running = Running("nginx", [], free_port(), core=place.core)
    work, asked = running.directory, free_port()
    file = work / "nginx.conf"
    temporary = "\n".join(f"  {kind}_temp_path {work}/{kind};" for kind in _NGINX_TEMPORARY)
    file.write_text(
        f"load_module {NGINX}/usr/lib/nginx/modules/ngx_mail_module.so;\n"
        "daemon off;\n"
        "worker_processes 1;\n"
        f"worker_rlimit_nofile {2 * SESSIONS};\n"
        f"pid {work}/pid;\n"
        f"error_log {work}/error.log error;\n"
        f"events {{ worker_connections {2 * SESSIONS}; }}\n"
        "http {\n"
        "  access_log off;\n"
        f"{temporary}\n"
        f"  server {{ listen 127.0.0.1:{asked}; location /auth {{\n"
        f"    add_header Auth-Status OK; add_header Auth-Server 127.0.0.1; add_header Auth-Port {place.sink};\n"
        "    return 200;\n"
        "  } }\n"
        "}\n"
        "mail {\n"
        "  server_name bench.test;\n"
        f"  auth_http 127.0.0.1:{asked}/auth;\n"
        "  proxy_pass_error_message on;\n"
        "  xclient off;\n"
        "  timeout 10m;\n"
        "  proxy_timeout 10m;\n"
        f"  server {{ listen 127.0.0.1:{running.port} backlog={QUEUE}; protocol smtp; smtp_auth none; }}\n"
        "}\n"
    )
    return running.with_command(
        [str(NGINX / "usr/sbin/nginx"), "-e", f"{work}/error.log", "-p", str(work), "-c", str(file)]
    )


_NGINX_TEMPORARY: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
"""Folders that it makes at start; by default below /var/lib/nginx."""


def _portforward(place: Place) -> Running:
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.portforward", str(port), str(place.sink), str(QUEUE)]
    return Running("portforward", command, port, folder=ROOT, core=place.core)


def _haraka(place: Place) -> Running:
    port = free_port()
    running = Running("haraka", [], port, core=place.core)
    config = running.directory / "config"
    config.mkdir()
    files = {
        "smtp.ini": f"listen=127.0.0.1:{port}\nnodes=0\n",
        "smtp_proxy.ini": f"host=127.0.0.1\nport={place.sink}\ntimeout=600\n",
        "plugins": "rcpt_to.any\nqueue/smtp_proxy\n",
        "loglevel": "LOGERROR\n",
        "log.ini": "level=ERROR\n",
        "me": "bench.test\n",
        "connection.ini": "[max]\nbytes=100000000\n[message]\n[headers]\n[uuid]\n[haproxy]\nhosts[]=\n",
        "databytes": "100000000\n",
    }
    for name, text in files.items():
        (config / name).write_text(text)
    plugins = running.directory / "plugins"
    plugins.mkdir()
    (plugins / "rcpt_to.any.js").write_text("exports.hook_rcpt = (next) => next(OK);\n")
    return running.with_command(
        [str(find_tool("node")), str(HARAKA / "node_modules/Haraka/bin/haraka"), "-c", str(running.directory)]
    )


def _haproxy_version(guard: GuardOptions) -> str:
    return said_by(str(find_tool("haproxy")), "-v").split()[2]


def _nginx_version(guard: GuardOptions) -> str:
    return said_by(str(NGINX / "usr/sbin/nginx"), "-v").rpartition("/")[2]


def _haraka_version(guard: GuardOptions) -> str:
    package: str = json.loads((HARAKA / "node_modules/Haraka/package.json").read_text())["version"]
    return f"{package}, node {said_by('node', '--version').lstrip('v')}"


def _missing(path: Path, made_by: str) -> Callable[[GuardOptions], str]:
    return lambda guard: "" if path.exists() else f"not installed: {path}, made by: {made_by}"


def _no_haproxy(guard: GuardOptions) -> str:
    return "" if find_tool("haproxy") else "not installed: haproxy, by: make packages"


def _no_haraka(guard: GuardOptions) -> str:
    return _missing(HARAKA / "node_modules/Haraka/package.json", "make haraka")(guard) or (
        "" if find_tool("node") else "not installed: node"
    )


HAPROXY: Final = System("haproxy", _haproxy, _haproxy_version, _no_haproxy)
NGINX_MAIL: Final = System("nginx", _nginx, _nginx_version, _missing(NGINX / ".unpacked", "make mtas"))
PORTFORWARD: Final = System("portforward", _portforward, lambda guard: f"Twisted {twisted.__version__}")
HARAKA_PROXY: Final = System("haraka", _haraka, _haraka_version, _no_haraka, optional=True, share=0.05)
