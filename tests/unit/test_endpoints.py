"""The table of endpoints: what it must contain, and which rules apply to a request."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.routing import Route

from supervisor.api.app import create_app, rule_book
from supervisor.api.docs import openapi
from supervisor.api.endpoint import Endpoint
from supervisor.api.endpoints import ENDPOINTS
from supervisor.api.guard.problems import SHAPES, Kind
from supervisor.api.guard.request_body import MAX_BODY_BYTES, MAX_SMALL_BYTES, MAX_TYPED_BYTES
from supervisor.api.guard.rules import SAFE_METHODS, Access
from supervisor.api.web.drain import Drain

PUBLIC = {"/livez": Access.PROBE, "/readyz": Access.PROBE, "/session": Access.PUBLIC, "/assets/{name}": Access.PUBLIC}
ABOUT_THE_SERVER = {"/", "/docs", "/openapi.json", "/tasks", "/problems/{name}"}
EXEMPT = {"/jobs/{id}/cancel", "/jobs/{id}/lease", "/health", "/health/stuck", "/livez", "/readyz"}
PAGES = {"/", "/docs"}
UNDOCUMENTED = {"/", "/docs", "/problems/{name}", "/assets/{name}"}


def concrete(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "x", path)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document(ENDPOINTS)


def test_every_route_of_the_app_is_in_the_table() -> None:
    settings = SimpleNamespace(tokens=(), allowed_hosts=(), host="127.0.0.1")
    metrics = SimpleNamespace(watch=lambda _collect: None)
    supervisor = cast("Any", SimpleNamespace(settings=settings, metrics=metrics, spans=None))
    app = create_app(supervisor, token="secret", drain=Drain())
    served = [
        (method, route.path, route.endpoint)
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    ]
    assert len(served) == len(app.routes)
    assert served == [(endpoint.method, endpoint.path, endpoint.handler) for endpoint in ENDPOINTS]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_entry_has_its_scope(endpoint: Endpoint) -> None:
    """The scope follows from the method. Every exception has to be listed here, too."""
    path = endpoint.documented_path
    by_method = Access.READ if endpoint.method in SAFE_METHODS else Access.SUBMIT
    assert endpoint.access is PUBLIC.get(path, Access.ANY_SCOPE if path in ABOUT_THE_SERVER else by_method)
    assert (endpoint.exempt, endpoint.page) == (path in EXEMPT, path in PAGES)
    assert bool(endpoint.group) == (path not in UNDOCUMENTED)
    assert endpoint.summary
    assert not endpoint.group or (endpoint.about and endpoint.answers)


def test_no_entry_hides_another() -> None:
    """The first route that fits gets the request, so no pattern may fit another's path."""
    for endpoint in ENDPOINTS:
        path = concrete(endpoint.path)
        assert rule_book(ENDPOINTS).find(endpoint.method, path) == endpoint.rules, endpoint.path


@pytest.mark.parametrize(
    ("method", "path", "access", "exempt"),
    [
        ("HEAD", "/jobs", Access.READ, False),
        ("HEAD", "/livez", Access.PROBE, True),
        # Methods that the path does not have.
        ("POST", "/livez", Access.PROBE, True),
        ("PUT", "/session", Access.PUBLIC, False),
        ("POST", "/docs", Access.ANY_SCOPE, False),
        ("PUT", "/jobs", Access.SUBMIT, False),
        ("POST", "/jobs/x", Access.SUBMIT, False),
        ("GET", "/jobs/x/cancel", Access.READ, True),
        ("TRACE", "/jobs/x/lease", Access.READ, True),
        ("OPTIONS", "/execute/stream", Access.READ, False),
        # Paths that do not exist.
        ("GET", "/nowhere", Access.READ, False),
        ("POST", "/nowhere", Access.SUBMIT, False),
        ("GET", "", Access.READ, False),
        ("GET", "//livez", Access.READ, False),
        ("GET", "/livez/", Access.READ, False),
        ("GET", "/LIVEZ", Access.READ, False),
        ("GET", "/assets/", Access.READ, False),
        ("GET", "/assets/x/../../jobs", Access.READ, False),
        ("GET", "/assets", Access.READ, False),
        ("POST", "/jobs//cancel", Access.SUBMIT, False),
        ("POST", "/jobs/x/y/cancel", Access.SUBMIT, False),
        ("POST", "/jobs/x/cancel/", Access.SUBMIT, False),
        ("POST", "/x/jobs/x/cancel", Access.SUBMIT, False),
        ("GET", "/jobs/x/files/../cancel", Access.READ, False),
        ("GET", "/health/stuck/x", Access.READ, False),
    ],
)
def test_requests_meet_the_rules_of_their_route(method: str, path: str, access: Access, exempt: bool) -> None:
    found = rule_book(ENDPOINTS).find(method, path)
    assert (found.access, found.exempt) == (access, exempt)


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/jobs", MAX_BODY_BYTES),
        ("/execute/stream", MAX_BODY_BYTES),
        ("/jobs/x/input", MAX_TYPED_BYTES),
        ("/session", MAX_SMALL_BYTES),
        ("/jobs/x/cancel", MAX_SMALL_BYTES),
        ("/jobs/x/lease", MAX_SMALL_BYTES),
        ("/jobs/x", MAX_SMALL_BYTES),
        ("/jobs/", MAX_SMALL_BYTES),
        ("/nowhere", MAX_SMALL_BYTES),
    ],
)
def test_a_body_is_as_large_as_its_route_needs(path: str, most: int) -> None:
    assert rule_book(ENDPOINTS).find("POST", path).max_body_bytes == most


def test_the_description_names_what_the_table_holds(document: dict[str, Any]) -> None:
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(each.method, each.documented_path) for each in ENDPOINTS if each.group}
    for endpoint in ENDPOINTS:
        if endpoint.group:
            entry = document["paths"][endpoint.documented_path][endpoint.method.lower()]
            assert entry.get("x-scope") == (str(endpoint.access) if endpoint.access.needs_token else None)
            assert ("401" in entry["responses"]) == (
                endpoint.access.needs_token or Kind.UNAUTHORIZED in endpoint.problems
            )


def test_the_description_is_the_same_each_time(document: dict[str, Any]) -> None:
    """Problems that share a status are in the order of their names, and not in that of a set's hashes."""
    for path, methods in document["paths"].items():
        for entry in methods.values():
            for answer in entry["responses"].values():
                kinds = [kind for kind in re.findall(r"`([a-z-]+)`: ", answer["description"]) if kind in set(Kind)]
                assert kinds == sorted(kinds), path
    assert len(SHAPES) == len(Kind)
