"""The shape of what is said about a route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from supervisor.api.guard.problems import Kind

JSON = "application/json"
SSE = "text/event-stream"
ANY = "*/*"
FLAG = {"anyOf": [{"type": "boolean"}, {"const": ""}]}
"""A bare `?name` is a yes."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or header. `schema` is JSON Schema."""

    name: str
    schema: dict[str, Any]
    about: str
    where: str = "query"


@dataclass(frozen=True, slots=True)
class Answer:
    """One status and what comes with it: a type of `answers`, or a media type that JSON Schema does not describe."""

    status: int
    about: str
    model: Any = None
    media_type: str = JSON

    @property
    def models(self) -> tuple[Any, ...]:
        """The types that `model` may be, for pages that name them."""
        return get_args(self.model) or ((self.model,) if self.model else ())


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    group: str
    summary: str
    about: str
    answers: tuple[Answer, ...]
    body: Any = None
    body_required: bool = True
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[Kind, ...] = ()
    open: bool = False
    example: str = ""
