"""The child process: one target under libFuzzer, until an option of libFuzzer or a failure ends it.

`python -m tests.guided.worker MODULE [libFuzzer option...] [folder...]`; MODULE has `one`.  atheris
has no types and wheels for few platforms: this is the only module that imports it.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def main(arguments: list[str]) -> None:
    """Never returns."""
    atheris: Any = importlib.import_module("atheris")
    name, *options = arguments
    # The targets too: where the parser has a regular expression, the oracle has branches to be found.
    with atheris.instrument_imports(include=["smtpguard", "tests.guided"]):
        module = importlib.import_module(name)
    atheris.Setup([name, *options], module.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
