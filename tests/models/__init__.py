"""Models of mail servers: how each reads octets, in memory."""

from __future__ import annotations

from typing import Final

from .aiosmtpd import Aiosmtpd
from .exchange import Exchange
from .exim import Exim, Exim491
from .haraka import Haraka
from .lax import Worst, WorstLegacy
from .opensmtpd import OpenSMTPD, OpenSMTPD7
from .postfix import Postfix, Postfix28, Postfix39
from .qmail import Qmail
from .sendmail import Sendmail4, Sendmail5, Sendmail86, Sendmail812, Sendmail815, Sendmail817
from .server import Server

SERVERS: Final[tuple[type[Server], ...]] = (
    Sendmail4,
    Sendmail5,
    Sendmail86,
    Sendmail812,
    Sendmail815,
    Sendmail817,
    Postfix28,
    Postfix,
    Postfix39,
    Exim491,
    Exim,
    OpenSMTPD,
    OpenSMTPD7,
    Qmail,
    Haraka,
    Aiosmtpd,
    Exchange,
    Worst,
    WorstLegacy,
)
"""Every model; each is made without arguments."""
