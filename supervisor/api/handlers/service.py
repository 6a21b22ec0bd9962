"""What handlers work with, and how they get it from a request."""

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
from supervisor.core.telemetry.health import Check


@dataclass(frozen=True, slots=True)
class Service:
    """One server's parts."""

    supervisor: Supervisor
    drain: Drain
    auth: Auth
    pages: Pages
    openapi: bytes
    connections: Connections
    streams: OpenStreams = field(default_factory=OpenStreams)

    def checks(self) -> dict[str, Check]:
        """What must hold for the server to take jobs, and what should."""
        return {**self.supervisor.checks(), "connections": self.connections.check()}


def service_of(request: Request) -> Service:
    return cast("Service", request.app.state.service)


def principal_of(request: Request) -> Principal:
    """Whose token the request came with."""
    return cast("Principal", request.scope["deadstop.principal"])


def caller_of(request: Request) -> Caller:
    """Who asks, for the core. It cannot be left out there: whose jobs are seen is decided in one place."""
    return principal_of(request).caller


def trace_of(request: Request) -> Trace:
    """The marks by which the request is found again in logs and traces."""
    return cast("Trace", request.scope["deadstop.trace"])


def peer_of(request: Request) -> Peer | None:
    """The client's connection. None when it is not a socket of ours (an ASGI test client)."""
    return cast("Peer | None", request.scope.get("state", {}).get("peer"))
