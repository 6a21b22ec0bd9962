"""One entry of the table of endpoints, and its parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, compile_path

from supervisor.api.guard.problems import Kind
from supervisor.api.guard.request_body import MAX_SMALL_BYTES
from supervisor.api.guard.rules import Access, Rules

JSON = "application/json"
SSE = "text/event-stream"
ANY = "*/*"
FLAG = {"anyOf": [{"type": "boolean"}, {"const": ""}]}
"""A `?name` without a value means true."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or header. `schema` is JSON Schema."""

    name: str
    schema: dict[str, Any]
    about: str
    where: str = "query"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and its body: a type from `schemas`, or a media type that JSON Schema does not describe."""

    status: int
    about: str
    model: Any = None
    media_type: str = JSON

    @property
    def models(self) -> tuple[Any, ...]:
        """The types that `model` may be, for pages that name them."""
        return get_args(self.model) or ((self.model,) if self.model else ())


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path: what runs, who may call it, and what the API's description says about it."""

    method: str
    path: str
    """In Starlette's form, which may have convertors."""
    handler: Callable[[Request], Awaitable[Response]]
    access: Access
    exempt: bool = False
    """Never rejected for load: see `Rules`."""
    max_body_bytes: int = MAX_SMALL_BYTES
    page: bool = False
    """A browser without a session gets the sign-in page instead of a problem document."""
    group: str = ""
    """The chapter of the API's description. Endpoints without one are not described there."""
    summary: str = ""
    about: str = ""
    answers: tuple[Answer, ...] = ()
    body: Any = None
    body_required: bool = True
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[Kind, ...] = ()
    """Those of the handler. The guard's follow from the fields above."""
    example: str = ""

    @property
    def documented_path(self) -> str:
        """The path without convertors, as OpenAPI wants it."""
        return compile_path(self.path)[1]

    @property
    def rules(self) -> Rules:
        """The guard's rules for requests to this endpoint."""
        return Rules(self.access, self.exempt, self.max_body_bytes, self.page)

    def route(self) -> Route:
        return Route(self.path, self.handler, methods=[self.method])
