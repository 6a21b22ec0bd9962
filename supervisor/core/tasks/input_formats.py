"""Check texts that must be a date, an address or the like, in the same way as the task will parse them.

JSON Schema leaves the check of `format` to the program. Here pydantic does it, which parses the same text in the job.
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
"""pydantic's names of formats. A format that is not listed accepts any text."""


def format_checker() -> FormatChecker:
    """Return a checker for a validator of jsonschema. The cause of its errors is a ValueError with the reason."""
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
