"""Handlers for browsers: the session, the pages, and the files of the dashboard."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from supervisor.api.guard.auth import SESSION_S
from supervisor.api.guard.json_body import parse_object
from supervisor.api.guard.problems import Kind, Problem
from supervisor.api.handlers.service import service_of
from supervisor.api.schemas.bodies import SessionBody, validate
from supervisor.api.schemas.encoding import JsonResponse

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


async def sign_in(request: Request) -> Response:
    """Exchange the token for a cookie that scripts cannot read and other sites cannot use."""
    auth = service_of(request).auth
    body = validate(SessionBody, parse_object(await request.body()))
    principal = auth.by_token(body.token)
    if principal is None:
        raise Problem(
            Kind.UNAUTHORIZED, "the token is wrong; the right one is in the file `token` in DEADSTOP_STATE_DIR"
        )
    response = Response(status_code=204)
    _set_cookie(response, auth.cookie_name, auth.new_session(principal), SESSION_S)
    return response


async def sign_out(request: Request) -> Response:
    response = Response(status_code=204)
    _set_cookie(response, service_of(request).auth.cookie_name, "", 0)
    return response


def _set_cookie(response: Response, name: str, value: str, max_age_s: int) -> None:
    # Not Secure: the server itself speaks plain HTTP, to this machine or to a proxy on it.
    response.headers["Set-Cookie"] = f"{name}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict"


async def home(request: Request) -> Response:
    return service_of(request).pages.dashboard()


async def docs(request: Request) -> Response:
    return service_of(request).pages.docs()


async def openapi(request: Request) -> Response:
    return JsonResponse(service_of(request).openapi)


async def problem(request: Request) -> Response:
    """Redirect a problem's `type` to its explanation in the docs."""
    name = request.path_params["name"]
    if name not in set(Kind):
        raise Problem(Kind.NOT_FOUND, "there is no problem of this name")
    return RedirectResponse(f"/docs#problem-{name}", 302)


async def asset(request: Request) -> Response:
    """Serve a file of the dashboard. It needs no token: it is part of the program, which is public."""
    name = request.path_params["name"]
    if name not in _FILES:
        raise Problem(Kind.NOT_FOUND, "there is no such asset")
    body, tag = _read(name)
    # Browsers revalidate each time: an old script must not talk to a new server.
    headers = {"Cache-Control": "no-cache", "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=_FILES[name][1], headers=headers)


@cache
def _read(name: str) -> tuple[bytes, str]:
    body = (files("supervisor.api") / "dashboard" / _FILES[name][0]).read_bytes()
    return body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'
