"""What setup does not do, and what to do by hand instead.

Contract: raised before anything is changed, or after all that was changed has been put back; the text is whole
sentences for the administrator, and says what to do.
"""

from __future__ import annotations


class Refused(Exception):
    """It cannot be done here as asked; nothing is changed."""


class Failed(Exception):
    """A step went wrong; what was done before has been put back, unless the text says otherwise."""
