"""What a conversion has to tell its reader.

Contract: a `Remark` has the place that it is about, what is not the same on the other side, and what to do.  It is a
warning in the form of all others (`FILE:LINE:COLUMN: warning: ...`).
"""

from __future__ import annotations

from attrs import define, field

from ..config.faults import Fault, printable


@define
class Remarks:
    """Those of one conversion, in the order of their places."""

    found: list[Fault] = field(factory=list)

    def tell(self, file: str, line: int, what: str, to_do: str = "") -> None:
        """Add one, once."""
        fault = Fault(file, line, 1, f"{what}: {to_do}" if to_do else what, warning=True)
        if fault not in self.found:
            self.found.append(fault)

    def comments(self) -> list[str]:
        """Return them as lines of comment."""
        return [
            f"# {printable(one.file)}:{one.line}: {printable(one.text)}"
            if one.line
            else f"# {printable(one.file)}: {printable(one.text)}"
            for one in self.found
        ]
