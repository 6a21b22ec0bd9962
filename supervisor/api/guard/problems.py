"""Every error that a client can get, as an RFC 9457 problem.

A `Problem` is an exception, so that the guard or a handler stops by raising it. Errors of the core become problems here
and nowhere else. An error that is not listed here is a bug, and becomes a 500 without details.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from supervisor.api.schemas.encoding import json_bytes
from supervisor.errors import (
    Conflict,
    DeadstopError,
    FieldError,
    InputFull,
    InvalidRequest,
    NotFound,
    NotReady,
    QueueFull,
    StorageFull,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "/problems/"
"""A reference relative to the server, which explains each problem there."""


@dataclass(frozen=True, slots=True)
class _Shape:
    status: int
    title: str
    meaning: str


class Kind(StrEnum):
    """The last part of a problem's `type`. Clients depend on these, so they never change."""

    BAD_REQUEST = "bad-request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN_ORIGIN = "forbidden-origin"
    MISSING_SCOPE = "missing-scope"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    REQUEST_TIMEOUT = "request-timeout"
    CONFLICT = "conflict"
    TOO_LARGE = "too-large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    WRONG_HOST = "wrong-host"
    RANGE = "range-not-satisfiable"
    INVALID = "invalid"
    QUEUE_FULL = "queue-full"
    INPUT_FULL = "input-full"
    TOO_MANY_REQUESTS = "too-many-requests"
    HEADERS_TOO_LARGE = "headers-too-large"
    INTERNAL = "internal"
    NOT_READY = "not-ready"
    STORAGE_FULL = "storage-full"


SHAPES: dict[Kind, _Shape] = {
    Kind.BAD_REQUEST: _Shape(400, "Bad request", "What was sent is not HTTP that this server understands."),
    Kind.UNAUTHORIZED: _Shape(401, "Token required", "The bearer token is missing or wrong, and there is no session."),
    Kind.FORBIDDEN_ORIGIN: _Shape(
        403, "Forbidden origin", "A page of another origin tried to change something here. Command lines send none."
    ),
    Kind.MISSING_SCOPE: _Shape(
        403, "Scope missing", "The token is good, but not for this: it needs another scope (`submit`, `read`, `admin`)."
    ),
    Kind.NOT_FOUND: _Shape(404, "Not found", "There is no such job, or no such route."),
    Kind.METHOD_NOT_ALLOWED: _Shape(405, "Method not allowed", "The route exists, for the methods in `Allow`."),
    Kind.REQUEST_TIMEOUT: _Shape(408, "Request timeout", "The request did not arrive in time. Nothing was started."),
    Kind.CONFLICT: _Shape(
        409, "Conflict", "The id or key belongs to another request, or the job is not in a state that allows this."
    ),
    Kind.TOO_LARGE: _Shape(
        413, "Body too large", "Bodies are at most 1 MiB; where a handful of fields is sent, 16 KiB."
    ),
    Kind.UNSUPPORTED_MEDIA_TYPE: _Shape(415, "Unsupported media type", "Bodies are `application/json`."),
    Kind.RANGE: _Shape(416, "Range not satisfiable", "The file ends before the range begins. See `Content-Range`."),
    Kind.WRONG_HOST: _Shape(
        421, "Wrong host", "The Host header names a host that this server does not answer for (DEADSTOP_ALLOWED_HOSTS)."
    ),
    Kind.INVALID: _Shape(422, "Invalid request", "`errors` names each field that is wrong, and how."),
    Kind.INPUT_FULL: _Shape(
        429, "Input full", "The job has not read what was typed into it before. See `Retry-After`."
    ),
    Kind.QUEUE_FULL: _Shape(
        429,
        "Queue full",
        "As many jobs as DEADSTOP_MAX_QUEUED, or the token's own limit, allows already wait. See `Retry-After`.",
    ),
    Kind.TOO_MANY_REQUESTS: _Shape(
        429,
        "Too many requests",
        "The token has used up its requests for now, or has as many streams open as it may. See `Retry-After`. "
        "Cancel and health are never rejected for this.",
    ),
    Kind.HEADERS_TOO_LARGE: _Shape(431, "Headers too large", "Request line and headers are at most 16 KiB together."),
    Kind.INTERNAL: _Shape(500, "Internal error", "A bug in this server. Its log has the details."),
    Kind.NOT_READY: _Shape(
        503, "Not ready", "The server cannot take this yet, or no more because it shuts down. See `Retry-After`."
    ),
    Kind.STORAGE_FULL: _Shape(
        507, "Storage full", "The disk of DEADSTOP_STATE_DIR has no room for the job, or fails. Running jobs go on."
    ),
}

HEAD_TOO_LARGE = "the request line and headers are more than 16 KiB together"


class Problem(Exception):
    """Raised to answer with a problem. `detail` is one sentence for a person; `headers` are sent with it."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}

    @property
    def status(self) -> int:
        return SHAPES[self.kind].status

    def body(self) -> bytes:
        """Return the problem document."""
        document: dict[str, object] = {
            "type": f"{TYPE_PREFIX}{self.kind}",
            "title": SHAPES[self.kind].title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.kind is Kind.INVALID:
            document["errors"] = [{"field": error.field, "message": error.message} for error in self.errors]
        return json_bytes(document)

    def response(self) -> Response:
        return Response(self.body(), self.status, self.headers, MEDIA_TYPE)


def invalid(field: str, message: str) -> Problem:
    """Return a 422 about one field, query parameter or header."""
    return problem_for(InvalidRequest.at(field, message))


def problem_for(error: DeadstopError) -> Problem:
    """Return the problem that a client gets for an error of the core."""
    match error:
        case InvalidRequest():
            return Problem(Kind.INVALID, str(error), errors=tuple(error.errors))
        case NotFound():
            return Problem(Kind.NOT_FOUND, str(error))
        case Conflict():
            return Problem(Kind.CONFLICT, str(error))
        case QueueFull():
            return Problem(Kind.QUEUE_FULL, str(error), headers=_retry_after(error.retry_after_s))
        case InputFull():
            return Problem(Kind.INPUT_FULL, str(error), headers=_retry_after(error.retry_after_s))
        case NotReady():
            return Problem(Kind.NOT_READY, str(error), headers=_retry_after(error.retry_after_s))
        case StorageFull():
            return Problem(Kind.STORAGE_FULL, str(error))
        case _:
            return Problem(Kind.INTERNAL, "an error occurred that the server does not know; its log has the details")


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


# --- handlers for Starlette


async def on_problem(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Problem)
    return exc.response()


async def on_core_error(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, DeadstopError)
    return problem_for(exc).response()


async def on_http_exception(request: Request, exc: Exception) -> Response:
    """Answer the router's own errors: an unknown path, or a method that the path does not have."""
    assert isinstance(exc, HTTPException)
    if exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_allowed_methods(request))
        detail = f"cannot {request.method} {request.url.path}: allowed here: {allowed}"
        return Problem(Kind.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed}).response()
    if exc.status_code == HTTPStatus.NOT_FOUND:
        detail = f"there is no {request.url.path} here; GET /docs lists what there is"
        return Problem(Kind.NOT_FOUND, detail).response()
    return Problem(Kind.BAD_REQUEST, exc.detail).response()


async def on_bug(_request: Request, _exc: Exception) -> Response:
    """Answer 500. The traceback goes to the log (uvicorn writes it there), never to the client."""
    return Problem(Kind.INTERNAL, "the server failed; its log has the details").response()


def _allowed_methods(request: Request) -> list[str]:
    app = request.app
    assert isinstance(app, Starlette)
    methods: set[str] = set()
    for route in app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return sorted(methods)
