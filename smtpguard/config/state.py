"""Where what is known of clients is kept: in memory, in a file, and beside other guards in Redis.

Contract: a pydantic model; nothing is opened.  No text made here shows a password.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field

from .fields import FilePath, Octets
from .models import Section

SHARED_SCHEMES: Final = ("redis://", "rediss://", "redis+unix://")
"""In clear, in TLS, on a unix socket."""
DEFAULT_NAME: Final = "smtpguard.db"
"""In systemd's $STATE_DIRECTORY, where no file is named."""
MEMORY: Final = "memory"
"""In place of a path: no file, wherever the guard runs."""
_OPTIONS: Final = frozenset({"db", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"})
_FORM: Final = "write it as redis://HOST:6379/0, rediss://HOST:6379/0 or redis+unix:///PATH"


def _shared(text: str) -> str:
    if not text:
        return text
    try:
        url = urlsplit(text)
        url.port  # noqa: B018 - raises ValueError
        options = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
    except ValueError:
        raise ValueError(f"shared: this is no URL: {_FORM}") from None
    local = url.scheme == "redis+unix"
    if not text.startswith(SHARED_SCHEMES) or (not url.path.strip("/") if local else not url.hostname):
        raise ValueError(f"shared: {shown(text)!r} names no Redis: {_FORM}")
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise ValueError(f"shared: unknown option {unknown[0]!r} in the URL (known: {', '.join(sorted(_OPTIONS))})")
    database = options.get("db", "" if local else url.path.strip("/"))
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError(f"shared: {database!r} is no number of a database: {_FORM}")
    return text


def shown(url: str) -> str:
    """Return a URL without what may be secret in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no URL)"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path


def unfolded(value: object) -> object:
    """Return the mapping that a text stands for: a URL is `shared`, anything else is `file`."""
    if not isinstance(value, str):
        return value
    return {"shared": value} if value.startswith(("redis:", "rediss:", "redis+unix:")) else {"file": value}


def beside(value: object, folder: Path) -> object:
    """Return the section with a path that is relative made to begin at the folder of the settings file."""
    value = unfolded(value)
    if isinstance(value, dict) and isinstance(value.get("file"), str) and value["file"] not in ("", MEMORY):
        return {**value, "file": str(folder / value["file"])}
    return value


class State(Section):
    """Where bans and incidents are kept, and with whom clients are counted together."""

    file: FilePath | None = Field(
        None,
        min_length=1,
        description="a file (SQLite) that keeps bans and incidents over a restart; `memory` is none; if not set, "
        f"`{DEFAULT_NAME}` in the StateDirectory of systemd, and without that none",
    )
    shared: Annotated[str, AfterValidator(_shared)] = Field(
        "",
        description="a Redis in which guards count together and share bans: `redis://HOST:PORT/DB`, `rediss:` in TLS, "
        "`redis+unix:///PATH`; see [limits.md](limits.md)",
    )
    max_bytes: Octets = Field(
        67108864, ge=1048576, description="octets of the file; the oldest incidents make room for new ones"
    )

    def path(self, environment: Mapping[str, str] = os.environ) -> str | None:
        """Return where the file is, or None if there is none."""
        if self.file is not None:
            return None if self.file == MEMORY else self.file
        folder = environment.get("STATE_DIRECTORY", "").partition(":")[0]
        return str(Path(folder, DEFAULT_NAME)) if folder else None

    @property
    def shared_shown(self) -> str:
        """`shared` as a log may show it."""
        return shown(self.shared) if self.shared else ""
