"""Handlers of the browser's session, and the pages that need one."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from supervisor.api.auth import SESSION_S
from supervisor.api.json_body import parse_object
from supervisor.api.problems import Kind, Problem
from supervisor.api.responses import JsonResponse
from supervisor.api.schemas.bodies import SessionBody, validate
from supervisor.api.service import service_of


async def sign_in(request: Request) -> Response:
    """The token for a cookie that scripts cannot read and other sites cannot use."""
    auth = service_of(request).auth
    body = validate(SessionBody, parse_object(await request.body()))
    principal = auth.by_token(body.token)
    if principal is None:
        raise Problem(Kind.UNAUTHORIZED, "the token is wrong; the right one is in the file `token` in STATE_DIR")
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
    """A problem's `type` leads here, and from here to its explanation."""
    name = request.path_params["name"]
    if name not in set(Kind):
        raise Problem(Kind.NOT_FOUND, "there is no problem of this name")
    return RedirectResponse(f"/docs#problem-{name}", 302)
