"""Where seeds come from: the transcripts, the streams of tests/vectors, the shipped policies.

Contract: generators of octets; nothing here is stored a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.smtp.test_transcripts import octets_of, transcripts
from tests.vectors import load

ROOT: Final = Path(__file__).parents[2]


def said(sign: str) -> Iterator[bytes]:
    """Yield what one side says in each transcript; `sign` is `C>` or `B<`."""
    for _, lines in transcripts():
        octets = b"".join(octets_of(line[3:]) for line in lines if line.startswith(sign))
        if octets:
            yield octets


def streams() -> Iterator[bytes]:
    """Yield what the client sends in each vector."""
    for stream in load():
        yield b"".join(step.octets for step in stream.steps if step.kind == "send")


def policies() -> Iterator[bytes]:
    """Yield the policies of the package, whole and without their comments and tests."""
    for path in [*sorted((ROOT / "policies").glob("*.yaml")), ROOT / "smtpguard/demo/policy.yaml"]:
        text = path.read_bytes()
        yield text
        lines = text.partition(b"\ntests:")[0].splitlines(keepends=True)
        yield b"".join(line for line in lines if not line.lstrip().startswith(b"#") and line.strip())
