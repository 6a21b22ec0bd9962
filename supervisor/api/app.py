"""Puts the application together."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from supervisor.api import openapi
from supervisor.api.auth import Auth
from supervisor.api.connections import Connections
from supervisor.api.doors import Doors
from supervisor.api.gate import Gate
from supervisor.api.hosts import AllowedHosts
from supervisor.api.pages import Pages
from supervisor.api.problems import Problem, on_bug, on_core_error, on_http_exception, on_problem
from supervisor.api.responses import json_bytes
from supervisor.api.routes import ROUTES
from supervisor.api.service import Service
from supervisor.api.sse import leave_shutdown_to_the_gate
from supervisor.core.metrics import gauge
from supervisor.core.supervisor import Supervisor
from supervisor.errors import DeadstopError


def create_app(supervisor: Supervisor, *, token: str, gate: Gate, connections: Connections | None = None) -> Starlette:
    """The ASGI application over `supervisor`. Who brings `token` may do everything, those of TOKENS what their
    scopes say."""
    connections = Connections() if connections is None else connections
    leave_shutdown_to_the_gate()
    auth = Auth(token, supervisor.settings.tokens)
    # Somebody who set HOST to an address means to be reached by it.
    hosts = AllowedHosts((*supervisor.settings.allowed_hosts, supervisor.settings.host))
    document = openapi.document()
    pages = Pages(document)
    app = Starlette(
        routes=list(ROUTES),
        middleware=[
            Middleware(
                Doors,
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
    service = Service(supervisor, gate, auth, pages, json_bytes(document), connections)
    supervisor.metrics.watch(lambda: [gauge("deadstop_streams", "Event streams that are open.", service.streams.total)])
    app.state.service = service
    return app
