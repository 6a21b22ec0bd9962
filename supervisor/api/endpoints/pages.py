"""The endpoints for browsers: the session, and pages, which /openapi.json leaves out."""

from __future__ import annotations

from supervisor.api.endpoint import Answer, Endpoint
from supervisor.api.guard.problems import Kind
from supervisor.api.guard.rules import Access
from supervisor.api.handlers import pages
from supervisor.api.schemas import bodies

PAGE_ENDPOINTS = (
    Endpoint(
        "POST",
        "/session",
        pages.sign_in,
        Access.PUBLIC,
        group="Browser",
        summary="Sign in",
        about="Sets the cookie that replaces the token in a browser.",
        answers=(Answer(204, "Signed in."),),
        body=bodies.SessionBody,
        problems=(Kind.UNAUTHORIZED, Kind.INVALID),
    ),
    Endpoint(
        "DELETE",
        "/session",
        pages.sign_out,
        Access.PUBLIC,
        group="Browser",
        summary="Sign out",
        about="Removes the cookie.",
        answers=(Answer(204, "Signed out."),),
    ),
    Endpoint("GET", "/", pages.home, Access.ANY_SCOPE, page=True, summary="The dashboard"),
    Endpoint("GET", "/docs", pages.docs, Access.ANY_SCOPE, page=True, summary="The API's description, for people"),
    Endpoint("GET", "/problems/{name}", pages.problem, Access.ANY_SCOPE, summary="What a problem's `type` leads to"),
    Endpoint("GET", "/assets/{name}", pages.asset, Access.PUBLIC, summary="A file of the dashboard"),
)
