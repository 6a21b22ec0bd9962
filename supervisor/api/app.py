"""Build the application from its parts."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import compile_path

from supervisor.api.docs import openapi
from supervisor.api.docs.pages import Pages
from supervisor.api.endpoint import Endpoint
from supervisor.api.endpoints import ENDPOINTS
from supervisor.api.guard.auth import Auth
from supervisor.api.guard.connections import Connections
from supervisor.api.guard.hosts import AllowedHosts
from supervisor.api.guard.problems import Problem, on_bug, on_core_error, on_http_exception, on_problem
from supervisor.api.guard.request_guard import RequestGuard
from supervisor.api.guard.rules import RuleBook
from supervisor.api.handlers.service import Service
from supervisor.api.schemas.encoding import json_bytes
from supervisor.api.web.drain import Drain
from supervisor.api.web.sse import leave_shutdown_to_drain
from supervisor.core.supervisor import Supervisor
from supervisor.core.telemetry.metrics import gauge
from supervisor.errors import DeadstopError


def create_app(
    supervisor: Supervisor, *, token: str, drain: Drain, connections: Connections | None = None
) -> Starlette:
    """Return the ASGI application over `supervisor`. `token` gives every permission; those of TOKENS have scopes."""
    connections = Connections() if connections is None else connections
    leave_shutdown_to_drain()
    auth = Auth(token, supervisor.settings.tokens)
    # An address in HOST is meant to be used by clients.
    hosts = AllowedHosts((*supervisor.settings.allowed_hosts, supervisor.settings.host))
    document = openapi.document(ENDPOINTS)
    pages = Pages(document, ENDPOINTS)
    app = Starlette(
        routes=[endpoint.route() for endpoint in ENDPOINTS],
        middleware=[
            Middleware(
                RequestGuard,
                auth=auth,
                hosts=hosts,
                rules=rule_book(ENDPOINTS),
                sign_in=pages.sign_in,
                connections=connections,
                traced=supervisor.spans is not None,
            )
        ],
        exception_handlers={
            Problem: on_problem,
            DeadstopError: on_core_error,
            HTTPException: on_http_exception,
            Exception: on_bug,
        },
    )
    app.router.redirect_slashes = False
    service = Service(supervisor, drain, auth, pages, json_bytes(document), connections)
    supervisor.metrics.watch(lambda: [gauge("deadstop_streams", "Event streams that are open.", service.streams.total)])
    app.state.service = service
    return app


def rule_book(endpoints: Iterable[Endpoint]) -> RuleBook:
    """Return the rules of the endpoints, to be found by the patterns that the router uses."""
    return RuleBook((each.method, compile_path(each.path)[0], each.rules) for each in endpoints)
