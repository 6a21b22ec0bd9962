"""The checks that every request passes before a handler sees it, in a fixed order.

Size of the head (431), framing (400), Host (421), token (401), its scope (403), connections (503), Origin on unsafe
methods (403), the token's rate (429), content type (415), size (413). This is pure ASGI: middleware that runs requests
in tasks of its own would hide a client's disconnect from the streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from supervisor.api.guard.absolute_form import in_origin_form
from supervisor.api.guard.auth import Auth, Principal
from supervisor.api.guard.connections import RETRY_AFTER_S, Connections
from supervisor.api.guard.hosts import AllowedHosts, check_origin
from supervisor.api.guard.problems import HEAD_TOO_LARGE, Kind, Problem
from supervisor.api.guard.rate_limits import RequestRate
from supervisor.api.guard.request_body import ClientLeft, read_body, replay
from supervisor.api.guard.rules import SAFE_METHODS, Access, RuleBook, Rules
from supervisor.core.jobs.trace import Trace

MAX_HEAD_BYTES = 16 * 1024
"""For the request line and headers together. The parser has the same limit, but only for heads in several pieces."""
BODY_TIMEOUT_S = 10.0
"""A body that takes longer to arrive is rejected with 408."""

_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class RequestGuard:
    """The outermost layer of the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        auth: Auth,
        hosts: AllowedHosts,
        rules: RuleBook,
        sign_in: Callable[[], Response],
        connections: Connections | None = None,
        traced: bool = False,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        """`sign_in` makes the page for browsers without a session.

        `traced`: requests that are not part of a trace start one that is sampled.
        """
        self._app = app
        self._auth = auth
        self._hosts = hosts
        self._rules = rules
        self._sign_in = sign_in
        self._connections = Connections() if connections is None else connections
        self._traced = traced
        self._rate = RequestRate()
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # There are no websockets, and the server manages its own lifespan.
            await self._app(scope, receive, send)
            return
        scope = in_origin_form(scope)
        headers = Headers(raw=scope["headers"])
        marks = (headers.get(name) for name in ("x-request-id", "traceparent", "tracestate"))
        trace = Trace.begin(*marks, sampled=self._traced)
        scope["deadstop.trace"] = trace
        send = _with_own_headers(send, trace)
        rules = self._rules.find(scope["method"], scope["path"])
        try:
            _check_head_size(scope)
            _check_framing(headers)
            if rules.access is not Access.PROBE:
                self._check_host(headers)
            principal = self._check_token(headers) if rules.access.needs_token else None
            if principal is not None:
                scope["deadstop.principal"] = principal
                _check_scope(rules.access, principal)
            if not rules.exempt:
                self._check_load(scope)
            if scope["method"] not in SAFE_METHODS:
                check_origin(headers)
            if principal is not None and not rules.exempt:
                self._rate.spend(principal)
            if scope["method"] not in SAFE_METHODS:
                async with asyncio.timeout(self._body_timeout_s):
                    receive = replay(await read_body(headers, receive, rules.max_body_bytes), receive)
        except Problem as problem:
            await self._reject(problem, rules, headers)(scope, receive, send)
        except TimeoutError:
            late = Problem(Kind.REQUEST_TIMEOUT, f"the body did not arrive within {self._body_timeout_s:g} s")
            await self._reject(late, rules, headers)(scope, receive, send)
        except ClientLeft:
            return
        else:
            await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        given = headers.getlist("host")
        if len(given) != 1 or not self._hosts.allows(given[0]):
            detail = (
                f"this server does not answer for {given[0][:100]}; add the name to DEADSTOP_ALLOWED_HOSTS"
                if given
                else "the request has no Host header; send one"
            )
            raise Problem(Kind.WRONG_HOST, detail)

    def _check_token(self, headers: Headers) -> Principal:
        given = [value for name, value in headers.raw if name == b"authorization"]
        cookies = [value for name, value in headers.raw if name == b"cookie"]
        principal = self._auth.by_header(given) if given else self._auth.by_session(cookies)
        if principal is not None:
            return principal
        detail = (
            "the token is wrong; the right one is in the file `token` in the server's DEADSTOP_STATE_DIR"
            if given
            else "send `Authorization: Bearer TOKEN`; it is in the file `token` in the server's DEADSTOP_STATE_DIR"
        )
        raise Problem(Kind.UNAUTHORIZED, detail, headers={"WWW-Authenticate": 'Bearer realm="deadstop"'})

    def _check_load(self, scope: Scope) -> None:
        if self._connections.is_spare(scope.get("state", {}).get("connection")):
            raise Problem(
                Kind.NOT_READY,
                f"all of the server's {self._connections.most} connections are busy; this one may only cancel, renew "
                "leases and look at the server's health",
                headers={"Retry-After": str(RETRY_AFTER_S), "Connection": "close"},
            )

    def _reject(self, problem: Problem, rules: Rules, headers: Headers) -> Response:
        if problem.kind is Kind.UNAUTHORIZED and rules.page and "text/html" in headers.get("accept", ""):
            response = self._sign_in()
        else:
            response = problem.response()
        if problem.kind in {Kind.REQUEST_TIMEOUT, Kind.BAD_REQUEST} or "expect" in headers:
            # The rest of the body may never come, or may end where another program sees another end. What follows
            # could not be distinguished from it.
            response.headers["Connection"] = "close"
        return response


def _check_head_size(scope: Scope) -> None:
    names_and_values = sum(len(name) + len(value) + len(": \r\n") for name, value in scope["headers"])
    target = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if names_and_values + target > MAX_HEAD_BYTES:
        raise Problem(Kind.HEADERS_TOO_LARGE, HEAD_TOO_LARGE)


def _check_framing(headers: Headers) -> None:
    """Raise Problem if there are two framings: what is one request to a proxy could be two here (RFC 9112, 6.3)."""
    if "content-length" in headers and "transfer-encoding" in headers:
        raise Problem(Kind.BAD_REQUEST, "the request has both Content-Length and Transfer-Encoding; send one of them")


def _check_scope(access: Access, principal: Principal) -> None:
    needed = access.scope
    if needed is not None and not principal.may(needed):
        has = ", ".join(sorted(principal.scopes))
        raise Problem(
            Kind.MISSING_SCOPE, f"this needs a token with the scope {needed}; {principal.name!r} has only {has}"
        )


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
