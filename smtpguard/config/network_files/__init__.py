"""Networks that stand in files of a mail server: Postfix's mynetworks, Exim's host lists, sendmail's maps, plain lists.

Contract: `read` gives the networks that hold exactly the clients that the mail server would find in the file, and
what is wrong, each fault with its place in the file where it stands.  What only a name server, a map or a running
mail server could tell is an error that says what to write instead; in sendmail's files, which hold much else, a name
is a warning.  A file that cannot be opened raises OSError, as in `yaml_reader`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...policy.networks import Block
from ..faults import Fault
from . import exim, plain, postfix, sendmail
from .first_match import Entry, decided
from .reading import MOST_NETWORKS, GivenUp, Reading, Word

Reader = Callable[[Reading, str, str], list[Entry]]

READERS: Final[dict[str, Reader]] = {
    "plain": plain.entries,
    "postfix": postfix.entries,
    "exim": exim.entries,
    "sendmail": sendmail.entries,
}
"""By `format`: each takes the file, and the name of the list in it where a file has several."""


def read(path: str | Path, form: str, name: str = "") -> tuple[list[Block], list[Fault]]:
    """Read a file of the format `form`; raises OSError."""
    reading, blocks = Reading(), list[Block]()
    with suppress(GivenUp):
        entries = READERS[form](reading, str(path), name)
        try:
            blocks = decided(entries, MOST_NETWORKS)
        except ValueError as error:
            reading.fault(Word(str(path), 1, 1, ""), str(error))
    if not blocks and not reading.errors:
        reading.warn(Word(str(path), 1, 1, ""), "no client is in this network")
    return blocks, sorted(set(reading.faults))
