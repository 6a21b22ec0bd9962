"""The files that the dashboard is made of, read once."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from supervisor.api.problems import Kind, Problem

_FILES = {
    **{
        f"{name}.js": (f"{name}.js", "text/javascript")
        for name in ("dashboard", "detail", "dom", "jobs", "promise", "stuck", "table", "terminal", "timeline")
    },
    "dashboard.css": ("dashboard.css", "text/css"),
    "uPlot.esm.js": ("vendor/uPlot.esm.js", "text/javascript"),
    "uPlot.min.css": ("vendor/uPlot.min.css", "text/css"),
    "uPlot.LICENSE": ("vendor/uPlot.LICENSE", "text/plain"),
}


async def asset(request: Request) -> Response:
    """A file that everybody has who has this program; therefore free of the token."""
    name = request.path_params["name"]
    if name not in _FILES:
        raise Problem(Kind.NOT_FOUND, "there is no such asset")
    body, tag = _read(name)
    # Asked for again each time, and seldom sent again: an old script must not meet a new server.
    headers = {"Cache-Control": "no-cache", "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=_FILES[name][1], headers=headers)


@cache
def _read(name: str) -> tuple[bytes, str]:
    body = (files("supervisor.api") / "dashboard" / _FILES[name][0]).read_bytes()
    return body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'
