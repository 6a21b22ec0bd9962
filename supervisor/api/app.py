"""Puts the application together."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from supervisor.api.docs import openapi
from supervisor.api.docs.pages import Pages
from supervisor.api.guard.auth import Auth
from supervisor.api.guard.connections import Connections
from supervisor.api.guard.hosts import AllowedHosts
from supervisor.api.guard.problems import Problem, on_bug, on_core_error, on_http_exception, on_problem
from supervisor.api.guard.request_guard import RequestGuard
from supervisor.api.handlers.service import Service
from supervisor.api.routes import ROUTES
from supervisor.api.schemas.encoding import json_bytes
from supervisor.api.web.drain import Drain
from supervisor.api.web.sse import leave_shutdown_to_drain
from supervisor.core.metrics import gauge
from supervisor.core.supervisor import Supervisor
from supervisor.errors import DeadstopError


def create_app(
    supervisor: Supervisor, *, token: str, drain: Drain, connections: Connections | None = None
) -> Starlette:
    """The ASGI application over `supervisor`. Who brings `token` may do everything, those of TOKENS what their
    scopes say."""
    connections = Connections() if connections is None else connections
    leave_shutdown_to_drain()
    auth = Auth(token, supervisor.settings.tokens)
    # Somebody who set HOST to an address means to be reached by it.
    hosts = AllowedHosts((*supervisor.settings.allowed_hosts, supervisor.settings.host))
    document = openapi.document()
    pages = Pages(document)
    app = Starlette(
        routes=list(ROUTES),
        middleware=[
            Middleware(
                RequestGuard,
                auth=auth,
                hosts=hosts,
                pages=pages,
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
