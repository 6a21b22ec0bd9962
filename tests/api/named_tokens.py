"""Named tokens of a server, and requests that are sent with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.api.wire import RealServer

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


def of(server: RealServer, name: str) -> RealServer:
    """Return the same server, with requests that carry another token."""
    return replace(server, token=str(TOKENS[name]["token"]))
