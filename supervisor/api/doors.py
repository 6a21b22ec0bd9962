"""What every request passes before a handler sees it, in a fixed order.

Size of the head (431), framing (400), Host (421), token (401), its scope (403), connections (503), Origin on unsafe
methods (403), the token's rate (429), content type (415), size (413). Pure ASGI: middleware that wraps requests in
tasks of its own would hide a client's leaving from the streams behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from supervisor.api.access import PROBES, SAFE_METHODS, is_never_limited, needed_scope, needs_token
from supervisor.api.auth import Auth, Principal
from supervisor.api.connections import RETRY_AFTER_S, Connections
from supervisor.api.hosts import AllowedHosts, same_origin
from supervisor.api.limits import RequestRate
from supervisor.api.pages import Pages
from supervisor.api.problems import HEAD_TOO_LARGE, Kind, Problem
from supervisor.api.target import in_origin_form
from supervisor.core.trace import Trace

MAX_HEAD_BYTES = 16 * 1024
"""Of the request line and headers together. The parser has the same bound, but only for heads that come in pieces."""
MAX_BODY_BYTES = 1024 * 1024
"""Of a body that creates a job."""
MAX_TYPED_BYTES = 448 * 1024
"""Of a body that types 64 KiB into a job: JSON may write six bytes for one."""
MAX_SMALL_BYTES = 16 * 1024
"""Of every other."""
BODY_BOUND_S = 10.0
"""How long a body may take to arrive."""

PAGES = frozenset({"/", "/docs"})
"""Where a browser without a session gets the sign-in page instead of a problem document."""

_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class _ClientLeft(Exception):
    """The connection ended while the body was still coming."""


class Doors:
    """The outermost layer of the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        auth: Auth,
        hosts: AllowedHosts,
        pages: Pages,
        connections: Connections | None = None,
        traced: bool = False,
        body_bound_s: float = BODY_BOUND_S,
    ) -> None:
        """`traced`: requests that belong to no trace yet begin one that is sampled."""
        self._app = app
        self._auth = auth
        self._hosts = hosts
        self._pages = pages
        self._connections = Connections() if connections is None else connections
        self._traced = traced
        self._rate = RequestRate()
        self._body_bound_s = body_bound_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # There are no websockets here, and the lifespan is not the server's: it owns its own.
            await self._app(scope, receive, send)
            return
        scope = in_origin_form(scope)
        headers = Headers(raw=scope["headers"])
        marks = (headers.get(name) for name in ("x-request-id", "traceparent", "tracestate"))
        trace = Trace.begin(*marks, sampled=self._traced)
        scope["deadstop.trace"] = trace
        send = _with_own_headers(send, trace)
        try:
            _check_head_size(scope)
            _check_framing(headers)
            self._check_host(scope, headers)
            principal = self._check_token(headers) if needs_token(scope["path"]) else None
            if principal is not None:
                scope["deadstop.principal"] = principal
                _check_scope(scope, principal)
            self._check_load(scope)
            if scope["method"] not in SAFE_METHODS:
                check_origin(headers)
            if principal is not None and not is_never_limited(scope["path"]):
                self._rate.spend(principal)
            if scope["method"] not in SAFE_METHODS:
                async with asyncio.timeout(self._body_bound_s):
                    receive = _replay(await _read_body(headers, receive, max_body_bytes(scope["path"])), receive)
        except Problem as problem:
            await self._refuse(problem, scope, headers, receive, send)
        except TimeoutError:
            late = Problem(Kind.REQUEST_TIMEOUT, f"the body did not arrive within {self._body_bound_s:g} s")
            await self._refuse(late, scope, headers, receive, send)
        except _ClientLeft:
            return
        else:
            await self._app(scope, receive, send)

    def _check_host(self, scope: Scope, headers: Headers) -> None:
        if scope["path"] in PROBES:
            return
        given = headers.getlist("host")
        if len(given) != 1 or not self._hosts.allows(given[0]):
            name = given[0][:100] if given else "nobody"
            raise Problem(
                Kind.WRONG_HOST, f"this server does not answer for {name}; add the name to DEADSTOP_ALLOWED_HOSTS"
            )

    def _check_token(self, headers: Headers) -> Principal:
        given = [value for name, value in headers.raw if name == b"authorization"]
        cookies = [value for name, value in headers.raw if name == b"cookie"]
        principal = self._auth.by_header(given) if given else self._auth.by_session(cookies)
        if principal is not None:
            return principal
        detail = (
            "the token is wrong; the right one is in the file `token` in the server's STATE_DIR"
            if given
            else "send `Authorization: Bearer TOKEN`; the token is in the file `token` in the server's STATE_DIR"
        )
        raise Problem(Kind.UNAUTHORIZED, detail, headers={"WWW-Authenticate": 'Bearer realm="deadstop"'})

    def _check_load(self, scope: Scope) -> None:
        spare = self._connections.is_spare(scope.get("state", {}).get("connection"))
        if spare and scope["path"] not in PROBES and not is_never_limited(scope["path"]):
            raise Problem(
                Kind.NOT_READY,
                f"all of the server's {self._connections.most} connections are busy; this one may only cancel, renew "
                "leases and look at the server's health",
                headers={"Retry-After": str(RETRY_AFTER_S), "Connection": "close"},
            )

    async def _refuse(self, problem: Problem, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        if problem.kind is Kind.UNAUTHORIZED and scope["path"] in PAGES and "text/html" in headers.get("accept", ""):
            response = self._pages.sign_in()
        else:
            response = problem.response()
        if problem.kind in {Kind.REQUEST_TIMEOUT, Kind.BAD_REQUEST} or "expect" in headers:
            # The rest of the body never comes, or may never come, or ends where another program sees another end: what
            # follows could not be told from it.
            response.headers["Connection"] = "close"
        await response(scope, receive, send)


def _check_head_size(scope: Scope) -> None:
    names_and_values = sum(len(name) + len(value) + len(": \r\n") for name, value in scope["headers"])
    target = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if names_and_values + target > MAX_HEAD_BYTES:
        raise Problem(Kind.HEADERS_TOO_LARGE, HEAD_TOO_LARGE)


def _check_framing(headers: Headers) -> None:
    """A proxy may have gone by the length: what is one request to it could be two here (RFC 9112, section 6.3)."""
    if "content-length" in headers and "transfer-encoding" in headers:
        raise Problem(Kind.BAD_REQUEST, "the request has both Content-Length and Transfer-Encoding; send one of them")


def _check_scope(scope: Scope, principal: Principal) -> None:
    needed = needed_scope(scope["method"], scope["path"])
    if needed is not None and not principal.may(needed):
        has = ", ".join(sorted(principal.scopes))
        raise Problem(
            Kind.MISSING_SCOPE, f"this needs a token with the scope {needed}; {principal.name!r} has only {has}"
        )


def check_origin(headers: Headers) -> None:
    """Raises Problem (403) when a page of another origin is behind the request. No Origin: it is no page."""
    origins = headers.getlist("origin")
    if not origins:
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            raise Problem(Kind.FORBIDDEN_ORIGIN, "a page of another site must not change anything here")
        return
    if len(origins) > 1 or not same_origin(origins[0], headers.get("host", "")):
        raise Problem(Kind.FORBIDDEN_ORIGIN, f"a page of {origins[0][:100]} must not change anything here")


def max_body_bytes(path: str) -> int:
    """How large a body may be that is sent there."""
    if path in {"/jobs", "/execute/stream"}:
        return MAX_BODY_BYTES
    return MAX_TYPED_BYTES if path.startswith("/jobs/") and path.endswith("/input") else MAX_SMALL_BYTES


async def _read_body(headers: Headers, receive: Receive, max_bytes: int) -> bytes:
    """The whole body, checked for its type as soon as there is any of it, and for its size before it is read.

    Raises Problem (415, 413, 422 for a senseless length) and _ClientLeft.
    """
    announced = _content_length(headers)
    if announced:
        _check_content_type(headers)
        if announced > max_bytes:
            raise _too_large(max_bytes)
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        chunk = message.get("body", b"")
        if chunk and not body:
            _check_content_type(headers)
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        more = message.get("more_body", False)
    return bytes(body)


def _content_length(headers: Headers) -> int:
    value = headers.get("content-length", "0")
    # The HTTP parser has refused what is no number.
    return int(value) if value.isdigit() else 0


def _check_content_type(headers: Headers) -> None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" or headers.get("content-encoding", "identity").lower() != "identity":
        said = headers.get("content-encoding") or media_type or "nothing"
        raise Problem(
            Kind.UNSUPPORTED_MEDIA_TYPE, f"the body is declared as {said[:100]}; send Content-Type: application/json"
        )


def _too_large(max_bytes: int) -> Problem:
    size = "1 MiB" if max_bytes == MAX_BODY_BYTES else f"{max_bytes // 1024} KiB"
    return Problem(Kind.TOO_LARGE, f"the body is larger than {max_bytes} bytes ({size})")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then whatever else happens: the disconnect."""
    pending: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        message = next(pending, None)
        return await receive() if message is None else message

    return replay


def _with_own_headers(send: Send, trace: Trace) -> Send:
    own = (*_SECURITY_HEADERS, (b"x-request-id", trace.request_id.encode("ascii")))

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*headers, *own]}
        await send(message)

    return send_with_headers
