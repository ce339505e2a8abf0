"""What may be compiled: a class with a base that mypyc cannot see would crash the interpreter."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tools.compile import LEFT_OUT, MODULES, PACKAGES

PACKAGE = Path(__file__).parents[2] / "smtpguard"
COMPILED = sorted(
    path
    for path in (*(p for name in PACKAGES for p in (PACKAGE / name).glob("*.py")), *(PACKAGE / m for m in MODULES))
    if path.name not in LEFT_OUT
)
KNOWN_BASES = {"Enum", "Exception", "Generic", "Protocol"}


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_compiled_class_has_a_base_out_of_a_library(path: Path) -> None:
    """Only its own classes, those of other compiled modules, and what mypyc knows by itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ours = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            ours |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = {ast.unparse(base).partition("[")[0] for base in node.bases}
            assert bases <= ours | KNOWN_BASES, node.name
