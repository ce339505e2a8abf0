"""Certificates for tests, made by the `openssl` command where a sendmail would trust them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.rig.sendmail import BASE, run_directory


@contextmanager
def certificate(name: str = "x.test", days: int = 90) -> Iterator[Path]:
    """A directory with cert.pem, signed by itself for `name`, and its key.pem."""
    folder = run_directory("certificate")
    try:
        (folder / "extensions").write_text(f"subjectAltName = DNS:{name}\n")
        for command in (
            f"req -new -newkey rsa:2048 -nodes -subj /CN={name} -keyout key.pem -out request.pem",
            # Unlike `req`, this makes one that has ended too.
            f"x509 -req -in request.pem -signkey key.pem -days {days} -extfile extensions -out cert.pem",
        ):
            subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
        (folder / "key.pem").chmod(0o600)
        yield folder
    finally:
        shutil.rmtree(folder)
        with suppress(OSError):  # another run uses it
            BASE.rmdir()
