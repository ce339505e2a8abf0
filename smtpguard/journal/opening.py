"""The journal that the settings ask for.

Contract: what cannot be opened now is no reason not to serve; it is said on stderr, and tried again.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import syslog
from typing import Final

from ..config.log import Log
from .journal import Journal, Sink, no_names
from .lines import Style
from .sinks import FileSink, StderrSink, SyslogSink

_HOST: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")


def make_sinks(settings: Log) -> list[Sink]:
    """Return where the settings say that the log goes."""
    sinks: list[Sink] = []
    wanted = list(settings.to)
    if "stderr" in wanted:
        sinks.append(StderrSink(sys.stderr))
    if "syslog" in wanted:
        syslog_sink = SyslogSink(settings.program, settings.syslog_socket)
        _tell(settings.syslog_socket, syslog_sink.fault(), "until a syslog daemon is there")
        sinks.append(syslog_sink)
    if "file" in wanted and settings.file is not None:
        file_sink = FileSink(settings.file, settings.program, _host(), settings.format == "json")
        _tell(settings.file, file_sink.fault(), "until it can be opened")
        sinks.append(file_sink)
    return sinks


def make_journal(settings: Log, sinks: list[Sink] | None = None) -> Journal:
    """Return the journal that the settings ask for; names are not looked up yet."""
    sinks = make_sinks(settings) if sinks is None else sinks
    return Journal(sinks, settings.level, Style(settings.style), settings.format == "json", no_names)


def new_sinks(old: Log, new: Log) -> list[Sink] | None:
    """Return where lines go under other settings; None if that is where they go already."""
    return None if _written_to(old) == _written_to(new) else make_sinks(new)


def rewrite(journal: Journal, new: Log, sinks: list[Sink] | None) -> None:
    """Let a journal write as other settings ask for; None for the sinks that it has, opened again."""
    if sinks is None:
        journal.reopen()
    journal.write_as(new.level, Style(new.style), new.format == "json", sinks)


def _written_to(settings: Log) -> tuple[object, ...]:
    return list(settings.to), settings.program, settings.syslog_socket, settings.file, settings.format


def _tell(path: str, fault: str, until: str) -> None:
    if fault:
        what = f"{path}: {fault}" if os.path.exists(path) else f"there is no {path}"
        text = f"log: {what}: lines wait, and beyond a few thousand are lost, {until}"
        stderr = StderrSink(sys.stderr)
        stderr.write(syslog.LOG_WARNING, text)
        stderr.close()


def _host() -> str:
    """Return the name of this host as syslog daemons write it."""
    name = socket.gethostname().partition(".")[0]
    return name if _HOST.fullmatch(name) else "localhost"
