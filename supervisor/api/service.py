"""What handlers work with, and how they get it from a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from supervisor.api.auth import Auth
from supervisor.api.gate import Gate
from supervisor.api.pages import Pages
from supervisor.api.peer import Peer
from supervisor.core.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class Service:
    """One server's parts."""

    supervisor: Supervisor
    gate: Gate
    auth: Auth
    pages: Pages
    openapi: bytes


def service_of(request: Request) -> Service:
    return cast("Service", request.app.state.service)


def caller_of(request: Request) -> str:
    """Whose token the request came with, as a name that does not tell the token."""
    return cast("str", request.scope["deadstop.caller"])


def peer_of(request: Request) -> Peer | None:
    """The client's connection. None when it is not a socket of ours (an ASGI test client)."""
    return cast("Peer | None", request.scope.get("state", {}).get("peer"))
