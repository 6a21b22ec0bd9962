"""Named tokens of a server, and requests that are sent with them."""

from __future__ import annotations

from copy import copy
from typing import Any, TypeVar

from tests.api.wire import AnyServer

ServerT = TypeVar("ServerT", bound=AnyServer)

TOKENS: dict[str, dict[str, Any]] = {
    "alice": {"token": "alices-own", "scopes": ["submit", "read"]},
    "bob": {"token": "bobs-own", "scopes": ["submit", "read"]},
    "watch": {"token": "only-watches", "scopes": ["read"]},
    "push": {"token": "only-pushes", "scopes": ["submit"]},
    "boss": {"token": "the-boss", "scopes": ["admin"]},
    "small": {
        "token": "not-much",
        "scopes": ["submit", "read"],
        "max_running": 1,
        "max_queued": 1,
        "max_streams": 1,
    },
    "slow": {"token": "not-often", "scopes": ["submit", "read"], "max_requests_per_s": 0.02},
}


LONG = {"task": "shell", "input": {"command": "echo up; sleep 60"}}


def of(server: ServerT, name: str) -> ServerT:
    """Return the same server, with requests that carry another token."""
    other = copy(server)
    other.token = str(TOKENS[name]["token"])
    return other
