"""A run of one target in a process of its own.

Contract: `run` returns when the seconds are over or the first failure is found; what failed is then a
file.  The run is bounded in time, in memory and in the length of its input, and the same seed makes
the same choices.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from attrs import frozen

from .targets import HERE, Target

ROOT: Final = HERE.parents[1]
UNIT_SECONDS: Final = 20
"""One input may take as long, by the clock on the wall of a machine that is shared; most take a millisecond."""
RSS_MB: Final = 1024


@frozen
class Outcome:
    """What a run came to."""

    target: str
    executions: int
    per_second: int
    coverage: int
    """Edges of smtpguard, and of what is here, that were reached."""
    rss_mb: int
    findings: tuple[Path, ...]
    output: str
    code: int

    @property
    def failed(self) -> bool:
        return bool(self.findings) or self.code != 0

    def __str__(self) -> str:
        found = " ".join(str(path) for path in self.findings) or ("none" if not self.code else f"exit {self.code}")
        return (
            f"{self.target:10} {self.executions:9} executions {self.per_second:7}/s "
            f"coverage {self.coverage:5} peak {self.rss_mb:4} MB  findings: {found}"
        )


def run(
    target: Target, seconds: int, seed: int, grown: Path, found: Path, *, module: str = "", runs: int = -1
) -> Outcome:
    """Fuzz a target; `grown` gets the inputs that reach more, `found` those that fail."""
    with TemporaryDirectory(prefix="guided-") as scratch:
        folder = Path(scratch)
        seeds = [folder / "seeds", grown, folder / "found"]
        for made in (*seeds, found):
            made.mkdir(parents=True, exist_ok=True)
        for number, (_, data) in enumerate(target.inputs()):
            (folder / f"seeds/{number:04}").write_bytes(data)
        (folder / "words").write_text("".join(f'"{_quoted(word)}"\n' for word in target.words), "ascii")
        command = [
            *(sys.executable, "-m", f"{__package__}.worker", module or f"{__package__}.{target.name}"),
            *(f"-seed={seed}", f"-runs={runs}", f"-max_total_time={seconds}", f"-max_len={target.max_len}"),
            *(f"-timeout={UNIT_SECONDS}", f"-rss_limit_mb={RSS_MB}", "-print_final_stats=1", "-len_control=20"),
            *(f"-dict={folder}/words", f"-artifact_prefix={folder}/found/", str(grown), str(folder / "seeds")),
        ]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            timeout=seconds + 120,
        )
        output = (done.stderr + done.stdout).decode("utf-8", "replace")
        findings = tuple(sorted(_keep(path, target.name, found) for path in (folder / "found").iterdir()))
    return Outcome(
        target.name,
        _last(r"stat::number_of_executed_units: +(\d+)|^#(\d+)\t", output),
        _last(r"stat::average_exec_per_sec: +(\d+)|exec/s: (\d+)", output),
        _last(r"cov: (\d+)", output),
        _last(r"stat::peak_rss_mb: +(\d+)|rss: (\d+)Mb", output),
        findings,
        output,
        done.returncode,
    )


def _keep(path: Path, name: str, found: Path) -> Path:
    """Put what failed where the tests will replay it."""
    data = path.read_bytes()
    kept = found / f"{name}-{path.name.partition('-')[0]}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
    kept.write_bytes(data)
    return kept


def _quoted(word: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in word)


def _last(pattern: str, output: str) -> int:
    """Return the last number that stands there, 0 if there is none."""
    numbers = re.findall(pattern, output, re.M)
    groups = [numbers[-1]] if numbers and isinstance(numbers[-1], str) else list(numbers[-1]) if numbers else []
    return int(next(filter(None, groups), "0"))
