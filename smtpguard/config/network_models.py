"""The policy file's `networks`: CIDRs, addresses, and files of a mail server that have more of them.

Contract: `Networks` is the type of the section; `read_files` reads what it names, whatever else is wrong with the
policy, so that the faults of all files come at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from attrs import define, field
from pydantic import BeforeValidator, Field, ValidationError, WrapValidator, model_validator
from pydantic_core import PydanticKnownError

from ..policy.networks import Block, parse_block
from . import network_files
from .faults import Fault
from .fields import listed
from .models import Section
from .yaml_reader import Path_, Places

MOST_NAMED: Final = 64
"""Files that one policy names for its networks; each is read at every reload."""


class NetworkFile(Section):
    """A file that has networks, in the form of a mail server."""

    file: Annotated[str, Field(min_length=1)] = Field(
        description="where it is; a path that is not full begins at the policy's folder"
    )
    format: Literal["plain", "postfix", "exim", "sendmail"] = Field(
        description="how it is written: a network a line; Postfix's mynetworks; Exim's host lists; sendmail's access "
        "map or class R"
    )
    name: str | None = Field(
        None,
        pattern=r"^\w+$",
        description="of `format: exim`, the host list that is meant; `relay_from_hosts` if not set",
    )

    @model_validator(mode="after")
    def _named(self) -> NetworkFile:
        if self.name is not None and self.format != "exim":
            raise ValueError("name: only `format: exim` has lists by name: remove it")
        return self


def _network(value: object, as_file: Callable[[object], object]) -> object:
    """Read a CIDR, for which pydantic's own way would be long, or have a mapping read as a file."""
    if isinstance(value, str):
        return parse_block(value)
    if isinstance(value, dict):
        return as_file(value)
    raise PydanticKnownError("string_type")


if TYPE_CHECKING:
    Networks = dict[str, list[Block | NetworkFile]]
else:
    Networks = dict[str, Annotated[list[Annotated[NetworkFile, WrapValidator(_network)]], BeforeValidator(listed)]]


@define
class NetworksRead:
    """What is in the files of a policy's networks."""

    faults: list[Fault] = field(factory=list)
    _blocks: dict[tuple[str, int], list[Block]] = field(factory=dict)

    def of(self, networks: Mapping[str, list[Block | NetworkFile]]) -> dict[str, list[Block]]:
        """Return the networks with what is in their files in place of these."""
        return {
            name: [
                block
                for number, item in enumerate(items)
                for block in ([item] if isinstance(item, Block) else self._blocks.get((name, number), []))
            ]
            for name, items in networks.items()
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the networks that are in files; empty if there are no files."""
        if not self._blocks:
            return ""
        lines = [
            f"{name} {family} {first:x} {last:x}"
            for name, family, first, last in sorted(
                {(name, *block.parts()) for (name, _), blocks in self._blocks.items() for block in blocks}
            )
        ]
        return hashlib.sha256("\n".join(lines).encode("ascii")).hexdigest()

    def take(self, places: Places, name: str, number: int, path: Path_, file: NetworkFile) -> None:
        """Read one file."""
        try:
            blocks, faults = network_files.read(Path(places.file).parent / file.file, file.format, file.name or "")
        except OSError as error:
            self.faults.append(places.fault(path, f"{name}: {file.file}: {error.strerror or error}"))
            return
        self._blocks[name, number] = blocks
        self.faults += faults


def read_files(data: object, places: Places) -> NetworksRead:
    """Read the files that the networks of a policy's data name."""
    found = NetworksRead()
    for count, (name, number, path, file) in enumerate(_named_in(data)):
        if count == MOST_NAMED:
            found.faults.append(places.fault(path, f"{name}: more than {MOST_NAMED} files of networks"))
            break
        found.take(places, name, number, path, file)
    return found


def _named_in(data: object) -> Iterator[tuple[str, int, Path_, NetworkFile]]:
    """Yield name, number in the list, place and model of what is a file beyond doubt; others tell the rest."""
    networks: Any = data.get("networks") if isinstance(data, dict) else None
    for name, items in networks.items() if isinstance(networks, dict) else ():
        for number, item in enumerate(items if isinstance(items, list) else [items]):
            if not isinstance(item, dict):
                continue
            try:
                file = NetworkFile.model_validate(item)
            except ValidationError:
                continue
            yield name, number, ("networks", name, number) if isinstance(items, list) else ("networks", name), file
