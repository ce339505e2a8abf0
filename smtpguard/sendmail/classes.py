"""Classes of sendmail's: the words that a .cf and the files that it names have for them.

Contract: `members` has a class only if all of it is known; `words_of` reads one file, and raises OSError.
"""

from __future__ import annotations

from errno import EFBIG
from pathlib import Path
from typing import Final

from ..config import relay_files
from ..config.plain_files import octets_of
from .cf_file import Cf, Said
from .told import Remarks

BIG_CLASS: Final = 100_000
"""Members of a class, at most."""
WORDS_TO_COMMENT: Final = "%[^#]"
"""The format of the files of classes w and R, as it is without its backslash: all words up to a `#`."""


def members(cf: Cf, remarks: Remarks) -> dict[str, list[str]]:
    """Return the words of each class."""
    found = {name: [said.text for said in words] for name, words in cf.classes.items()}
    unknown: set[str] = set()
    for name, files in cf.class_files.items():
        for said in files:
            words = said.text.split()
            while words and words[0].startswith("-"):
                words.pop(0)
            path, form = Path(words[0]) if words else None, " ".join(words[1:])
            if path is not None and path.is_absolute() and path.is_file() and form in ("", WORDS_TO_COMMENT):
                try:
                    listed = words_of(path, first=not form)[:BIG_CLASS]
                    found.setdefault(name, []).extend(one.text for one in listed)
                    continue
                except OSError as error:
                    remarks.tell(cf.file, said.line, f"class {name}: {error.strerror}", "it counts as not known")
            if name not in ("w", "R", "t"):
                unknown.add(name)  # what is not known in full is not known
    return {name: words for name, words in found.items() if name not in unknown}


def words_of(path: Path, *, first: bool = False) -> list[Said]:
    """Return the words of a class's file; `#` begins a comment.  Raises OSError.

    So it is read with the format `%[^\\#]` of classes w and R.  Without one (`first`) sendmail takes the first word of
    each line that does not begin with `#`.
    """
    octets = octets_of(path, relay_files.FILE_OCTETS)
    if len(octets) > relay_files.FILE_OCTETS:
        raise OSError(EFBIG, f"larger than {relay_files.FILE_OCTETS} octets", str(path))
    lines = enumerate(octets.decode("latin-1").split("\n"), 1)
    if first:
        return [Said(line.split()[0], number, str(path)) for number, line in lines if line.strip() and line[:1] != "#"]
    return [Said(word, number, str(path)) for number, line in lines for word in line.partition("#")[0].split()]
