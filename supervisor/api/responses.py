"""How JSON leaves the server."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

MEDIA_TYPE = "application/json"


def json_bytes(content: Any) -> bytes:
    """ASCII, on one line. A lone surrogate in a job's text cannot break it, as it would break UTF-8."""
    return json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode("ascii")


class JsonResponse(Response):
    """`content` is anything that `json.dumps` takes, or bytes that are JSON already."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else json_bytes(content)
