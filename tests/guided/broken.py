"""The content target with a parser that believes in a lenient end of data, as some servers did.

Contract: for the test that a real run reports what it finds, and nothing else.
"""

from __future__ import annotations

from typing import Any, Final

from smtpguard.smtp.content import Content

from . import content


class Lenient(Content):
    """CRLF.LF is an end of data."""

    def feed(self, octets: bytes) -> Any:
        return super().feed(octets.replace(b"\r\n.\n", b"\r\n.\r\n"))


_CONTENT: Final = Content


def one(data: bytes) -> None:
    vars(content)["Content"] = Lenient
    try:
        content.one(data)
    finally:
        vars(content)["Content"] = _CONTENT
