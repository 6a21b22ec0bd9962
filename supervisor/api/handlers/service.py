"""The objects that handlers use, and how they get them from a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from starlette.requests import Request

from supervisor.api.docs.pages import Pages
from supervisor.api.guard.auth import Auth, Principal
from supervisor.api.guard.connections import Connections
from supervisor.api.guard.rate_limits import OpenStreams
from supervisor.api.web.drain import Drain
from supervisor.api.web.peer import Peer
from supervisor.core.jobs.model import Caller
from supervisor.core.jobs.trace import Trace
from supervisor.core.supervisor import Supervisor
from supervisor.engine.inspection import Check


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of one server."""

    supervisor: Supervisor
    drain: Drain
    auth: Auth
    pages: Pages
    openapi: bytes
    connections: Connections
    streams: OpenStreams = field(default_factory=OpenStreams)

    def checks(self) -> dict[str, Check]:
        """Return the checks: those that must pass for the server to accept jobs, and those that should."""
        return {**self.supervisor.checks(), "connections": self.connections.check()}


def service_of(request: Request) -> Service:
    return cast("Service", request.app.state.service)


def principal_of(request: Request) -> Principal:
    """Return the owner of the request's token."""
    return cast("Principal", request.scope["deadstop.principal"])


def caller_of(request: Request) -> Caller:
    """Return the caller for the core, which decides in one place whose jobs are visible."""
    return principal_of(request).caller


def trace_of(request: Request) -> Trace:
    """Return the IDs by which the request is found in logs and traces."""
    return cast("Trace", request.scope["deadstop.trace"])


def peer_of(request: Request) -> Peer | None:
    """Return the client at the other end of the connection. None without a socket (an ASGI test client)."""
    return cast("Peer | None", request.scope.get("state", {}).get("peer"))
