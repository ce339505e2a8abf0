"""What the administrator asks setup for.

Contract: values; nothing is looked at.
"""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

BEHIND: Final = 2525
"""Where sendmail listens behind the guard."""
OUTSIDERS: Final = "127.0.0.25"
"""The address from which outsiders come to sendmail under `--identity bind`."""
THIS_HOST: Final = "this-host"
"""The network in the policy whose clients come from 127.0.0.1 under `--identity bind`: this host, and nobody else."""


IMPORT: Final = "import"
"""As a policy's name: what sendmail's own files amount to, as `smtpguard import-sendmail` writes it."""


@frozen
class Wishes:
    """The options of `smtpguard setup sendmail`."""

    mail_dir: str = "/etc/mail"
    port: int = BEHIND
    identity: Literal["transparent", "bind"] = "transparent"
    policy: str = "internal-vrfy"
    """A shipped policy's name, a file, or IMPORT."""
    listen: tuple[str, ...] = ()
    """Addresses where the guard listens; where sendmail did, if none is named."""
    shadow: bool = False
    """The policy is to say what it would do, and to forward all the same."""
