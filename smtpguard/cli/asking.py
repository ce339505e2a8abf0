"""Asking a service that runs, at its admin endpoint.

Contract: `place_of` finds the endpoint, in a flag or in the settings file, of which nothing but `admin` need be right;
`ask` returns what was answered, or raises `NoAnswer` with what to tell the person who asked.  Blocking, with a
time-out and a bound on the answer.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from pathlib import Path
from typing import Any, Final

import click

from ..config.admin import ADMIN_FORMS, AdminPlace, parse_admin
from ..config.settings import admin_named_in
from .defaults import DEFAULT_SETTINGS

ADMIN_EXAMPLE: Final = ADMIN_FORMS.partition(" ")[0]
ANSWER_SECONDS: Final = 10.0
"""An answer is made in some milliseconds; a loop that is stuck for longer is what a person wants to know of."""
LONGEST_ANSWER: Final = 16 * 1024 * 1024
"""Octets.  A status with all its bounds reached has less than a tenth."""
_HEADERS: Final = {"Host": "localhost", "Accept": "application/json", "Connection": "close"}


class NoAnswer(Exception):
    """There is nobody, or what answers is no admin endpoint; the text says which."""


class Refused(NoAnswer):
    """It answers, and will not do this."""


def place_of(config: str | None, admin: str | None) -> AdminPlace:
    """Return where to ask: `admin` if it is given, else the first endpoint of the settings file.

    Raises NoAnswer, click.UsageError, or OSError for a settings file that cannot be read.
    """
    if admin is not None:
        try:
            return parse_admin(_understood(admin))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    path = config or DEFAULT_SETTINGS
    try:
        named = admin_named_in(Path(path))
    except FileNotFoundError:
        if config is not None:
            raise
        raise NoAnswer(
            f"there is no {path}: name the settings with --config FILE, or the endpoint with --admin, as in "
            f"--admin {ADMIN_EXAMPLE}"
        ) from None
    for text in named:
        try:
            return parse_admin(text)
        except ValueError:
            continue
    raise NoAnswer(f"{path} names no admin endpoint: add `admin: {ADMIN_EXAMPLE}` and restart")


_AT_A_PORT: Final = re.compile(r"(?:tcp:|http://)?(localhost|127(?:\.[0-9]{1,3}){3}|\[::1\]):([0-9]{1,5})/?")


def _understood(admin: str) -> str:
    """Return the endpoint string of what people type, as other programs take it: a path, HOST:PORT, a URL."""
    if admin.startswith("/"):
        return "unix:" + admin.replace("\\", "\\\\").replace(":", "\\:")
    match = _AT_A_PORT.fullmatch(admin)
    if match is None:
        return admin
    if match[1] == "[::1]":
        return f"tcp6:{match[2]}:interface=\\:\\:1"
    return f"tcp:{match[2]}:interface={match[1].replace('localhost', '127.0.0.1')}"


def ask(place: AdminPlace, path: str, post: Any = None) -> Any:
    """GET `path`, or POST `post` as JSON, and return the JSON that was answered; raises NoAnswer."""
    connection = _connection(place)
    try:
        if post is None:
            connection.request("GET", path, headers=_HEADERS)
        else:
            headers = {**_HEADERS, "Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(post).encode("ascii"), headers)
        response = connection.getresponse()
        octets = response.read(LONGEST_ANSWER + 1)
    except OSError as error:
        raise NoAnswer(f"no answer at {place.text}: {_reason(error)}") from None
    except http.client.HTTPException as error:
        raise NoAnswer(f"{place.text} is no admin endpoint: {type(error).__name__}") from None
    finally:
        connection.close()
    if len(octets) > LONGEST_ANSWER:
        raise NoAnswer(f"{place.text} answers without end")
    if response.status != 200:
        text = octets[:200].decode("ascii", "backslashreplace").strip()
        raise Refused(f"{place.text} answers {response.status}: {text}")
    try:
        return json.loads(octets)
    except ValueError:
        raise NoAnswer(f"{place.text} is no admin endpoint: its answer is no JSON") from None


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such socket: does the service run?"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there: does the service run?"
    if isinstance(error, PermissionError):
        return "permission denied: ask as root, or as whom the service runs"
    if isinstance(error, TimeoutError):
        return f"nothing came in {ANSWER_SECONDS:g} s"
    return error.strerror or type(error).__name__


def _connection(place: AdminPlace) -> http.client.HTTPConnection:
    if place.path:
        return _OverUnix(place.path)
    return http.client.HTTPConnection(place.host, place.port, timeout=ANSWER_SECONDS)


class _OverUnix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(os.fsencode(self._path))
