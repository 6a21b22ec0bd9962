"""Rules that the guard checks before a request reaches its endpoint. The table of endpoints states them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from supervisor.api.guard.request_body import MAX_SMALL_BYTES
from supervisor.tokens import Scope

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class Access(StrEnum):
    """The permission that a request needs to reach an endpoint."""

    PROBE = "probe"
    """Nothing, not even a Host that this server answers for: load balancers and kubelets have neither."""
    PUBLIC = "public"
    """No token."""
    ANY_SCOPE = "any"
    """A token with any scope. For endpoints that describe the server."""
    READ = "read"
    SUBMIT = "submit"

    @property
    def needs_token(self) -> bool:
        return self not in {Access.PROBE, Access.PUBLIC}

    @property
    def scope(self) -> Scope | None:
        """The scope that the token must have, if it must have one."""
        return Scope(self) if self in {Access.READ, Access.SUBMIT} else None


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for the requests of one endpoint.

    An exempt endpoint is never rejected for load: stopping a job, keeping it alive and checking the server's health
    must work when the token has used up its requests and when all connections are busy.
    """

    access: Access
    exempt: bool = False
    max_body_bytes: int = MAX_SMALL_BYTES
    page: bool = False


class RuleBook:
    """Finds the rules for a request. `entries` are the method, the path's pattern and the rules of each endpoint."""

    def __init__(self, entries: Iterable[tuple[str, re.Pattern[str], Rules]]) -> None:
        self._entries = tuple(entries)

    def find(self, method: str, path: str) -> Rules:
        """Return the rules of the endpoint that will get the request.

        A path that no endpoint has needs a token with the scope that goes with the method, so that strangers cannot
        tell it from one that exists. A method that the path does not have follows the rules of the path: where no
        token is needed for one method, none is needed to learn that there is no other.
        """
        at_path = {entry: rules for entry, pattern, rules in self._entries if pattern.match(path)}
        rules = at_path.get("GET" if method == "HEAD" else method)
        if rules is not None:
            return rules
        usual = Access.READ if method in SAFE_METHODS else Access.SUBMIT
        for other in at_path.values():
            return other if other.access.scope is None else replace(other, access=usual)
        return Rules(usual)
