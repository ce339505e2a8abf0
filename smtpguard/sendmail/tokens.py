"""The two sides of a rule of sendmail's as tokens.

Contract: `tokens` cuts where sendmail cuts: at its operators, at blanks, and around `$` and what belongs to it.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r'"(?:[^"\\]|\\.)*"'  # a text
    r"|\$&?\{[^}]*\}"  # $&{client_addr}
    r"|\$[=~](?:\{[^}]*\}|.)"  # $={class}
    r"|\$&."  # $&s
    r"|\$."  # $*, $1, $|, $#, $(
    r"|[.:%@!^/\[\]+<>()\",;\r\n|]"  # operators, and what stands alone always
    r"|[^\s$.:%@!^/\[\]+<>()\",;|]+"
)


def tokens(text: str) -> list[str]:
    """Return the tokens of one side."""
    return _TOKEN.findall(text)
