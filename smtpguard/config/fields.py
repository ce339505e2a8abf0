"""The values that settings are made of: paths, addresses, seconds, octets, each checked once.

Contract: annotated types for pydantic models; whatever passes here has one meaning.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.config import JsonDict

from ..policy.networks import parse_block
from .endpoints import parse_client, parse_server

LONGEST_NAME: Final = 255
LONGEST_PATH: Final = 4095
"""Octets (limits.h, NAME_MAX and PATH_MAX less its NUL)."""
LONGEST_WAIT: Final = 86400
"""Seconds; longer is a slip of the pen."""
MOST_WORKERS: Final = 256
"""Processes; more than one a processor gain nothing, and few hosts have more processors."""


def _server(text: str) -> str:
    parse_server(text)
    return text


def _client(text: str) -> str:
    parse_client(text)
    return text


def _address(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address: write it as 192.0.2.25 or 2001:db8::25") from None
    return text


def _file_name(text: str) -> str:
    longest = max(map(len, os.fsencode(text).split(b"/")))
    if longest > LONGEST_NAME or len(os.fsencode(text)) > LONGEST_PATH:
        raise ValueError("no file has so long a name")
    return text


def _cidr(text: str) -> str:
    parse_block(text)
    return text


def workers(value: object) -> int | str:
    """Return how many processes are to serve, `auto` for one a processor; raises ValueError."""
    if isinstance(value, int | str) and (value == "auto" or (type(value) is int and 1 <= value <= MOST_WORKERS)):
        return value
    raise ValueError(f"must be a number from 1 to {MOST_WORKERS}, or auto, not {value!r}")


def wrapped(value: object) -> object:
    return {"endpoint": value} if isinstance(value, str) else value


def listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def unit(name: str) -> JsonDict:
    return {"unit": name}


def flag(name: str) -> JsonDict:
    return {"flag": name}


Seconds = Annotated[float, Field(gt=0, le=LONGEST_WAIT, json_schema_extra=unit("seconds"))]
Octets = Annotated[int, Field(gt=0, json_schema_extra=unit("octets"))]
ServerEndpoint = Annotated[str, AfterValidator(_server)]
ClientEndpoint = Annotated[str, AfterValidator(_client)]
Address = Annotated[str, AfterValidator(_address)]
Cidr = Annotated[str, AfterValidator(_cidr)]
FilePath = Annotated[str, AfterValidator(_file_name)]
Workers = Annotated[int | str, BeforeValidator(workers)]
Listed = BeforeValidator(listed)
"""A single item may stand for a list of one."""
