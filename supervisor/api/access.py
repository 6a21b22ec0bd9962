"""Which scope a route needs.

It follows from the method: looking needs `read`, changing needs `submit`. A route that somebody adds is therefore
never open by being forgotten here; what is listed are the exceptions.
"""

from __future__ import annotations

import re

from supervisor.tokens import Scope

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
PROBES = frozenset({"/livez", "/readyz"})
"""Free of Host and token: load balancers and kubelets have neither."""
WITHOUT_TOKEN = PROBES | {"/session"}
ANY_TOKEN = frozenset({"/", "/docs", "/openapi.json", "/tasks"})
"""What describes the server: whoever may do anything may read it."""

_ANY_TOKEN_BELOW = "/problems/"  # noqa: S105  # a path
_ASSETS_BELOW = "/assets/"
"""Files that everybody has who has this program."""
_NEVER_LIMITED = re.compile(r"/jobs/[^/]+/(?:cancel|lease)|/health|/health/stuck")


def needs_token(path: str) -> bool:
    return path not in WITHOUT_TOKEN and not path.startswith(_ASSETS_BELOW)


def needed_scope(method: str, path: str) -> Scope | None:
    """None: any good token will do."""
    if path in ANY_TOKEN or path.startswith(_ANY_TOKEN_BELOW):
        return None
    return Scope.READ if method in SAFE_METHODS else Scope.SUBMIT


def is_never_limited(path: str) -> bool:
    """Stopping work, keeping it alive and looking how the server is must work when everything else is too much."""
    return _NEVER_LIMITED.fullmatch(path) is not None
