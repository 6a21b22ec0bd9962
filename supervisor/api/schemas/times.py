"""How moments are written."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(when: datetime) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(when: datetime | None) -> str | None:
    return None if when is None else timestamp(when)
