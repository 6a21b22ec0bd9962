"""Texts that must be a date, an address or the like: read as the task will read them, before anything starts.

JSON Schema leaves `format` to whoever checks. Here pydantic does, which reads the same text once more in the job.
"""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from uuid import UUID

from jsonschema import FormatChecker
from pydantic import AnyUrl, TypeAdapter, ValidationError

TYPES: dict[str, type] = {
    "date-time": datetime,
    "date": date,
    "time": time,
    "duration": timedelta,
    "uuid": UUID,
    "uri": AnyUrl,
    "ipv4": IPv4Address,
    "ipv6": IPv6Address,
    "ipv4network": IPv4Network,
    "ipv6network": IPv6Network,
}
"""The names that pydantic gives them. What is not here is any text."""


def format_checker() -> FormatChecker:
    """For a validator of jsonschema. The cause of its errors is a ValueError that says what is wrong."""
    checker = FormatChecker(formats=())
    for name, type_ in TYPES.items():
        _add(checker, name, TypeAdapter(type_))
    return checker


def _add(checker: FormatChecker, name: str, adapter: TypeAdapter[object]) -> None:
    @checker.checks(name, raises=ValueError)
    def is_one(value: object) -> bool:
        if isinstance(value, str):
            try:
                adapter.validate_json(json.dumps(value), strict=True)
            except ValidationError as exc:
                raise ValueError(exc.errors(include_url=False)[0]["msg"]) from None
        return True
