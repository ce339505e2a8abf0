"""What a command goes by where neither settings nor a policy is named."""

from __future__ import annotations

import os
from typing import Final

DEFAULT_SETTINGS: Final = "/etc/smtpguard/smtpguard.yaml"
"""Where the shipped unit has them."""
DEFAULT_POLICY: Final = "internal-vrfy"
"""A shipped one, on a host without settings."""
IF_NEITHER: Final = f"[default: {DEFAULT_SETTINGS} if it is there, else the policy {DEFAULT_POLICY}]"


def settings_of_host(config: str | None, policy: str | None) -> str | None:
    """Return the settings file that is meant; None if there is none, and a policy alone is asked about.

    Who asks on a host with a guard means that guard's policy, and not one that only came with the program.
    """
    if config is None and policy is None and os.path.exists(DEFAULT_SETTINGS):
        return DEFAULT_SETTINGS
    return config
