"""How values are written as JSON: the encoder, the response, and moments."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

MEDIA_TYPE = "application/json"


def json_bytes(content: Any) -> bytes:
    """Return `content` as JSON in ASCII, on one line. A lone surrogate in a job's text would not survive UTF-8."""
    return json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode("ascii")


class JsonResponse(Response):
    """`content` is anything that `json.dumps` accepts, or bytes that are JSON already."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else json_bytes(content)


def timestamp(when: datetime) -> str:
    """Return the moment in RFC 3339 format, in UTC, to the millisecond."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(when: datetime | None) -> str | None:
    return None if when is None else timestamp(when)
