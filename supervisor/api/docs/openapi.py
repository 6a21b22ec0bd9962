"""The OpenAPI document, made from the table of endpoints and the schemas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import TypeAdapter

import supervisor
from supervisor.api.docs.event_types import FRAME_SCHEMA
from supervisor.api.endpoint import ANY, JSON, SSE, Answer, Endpoint
from supervisor.api.guard.problems import MEDIA_TYPE, SHAPES, Kind
from supervisor.api.guard.rules import SAFE_METHODS, Access
from supervisor.api.schemas import bodies
from supervisor.api.schemas.answers import ProblemJson

REF = "#/components/schemas/{model}"
Mode = Literal["validation", "serialization"]


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document for those endpoints that have a group."""
    documented = [endpoint for endpoint in endpoints if endpoint.group]
    references, schemas = _schemas(documented)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in documented:
        paths.setdefault(endpoint.documented_path, {})[endpoint.method.lower()] = _operation(endpoint, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Deadstop",
            "version": supervisor.__version__,
            "summary": "The job server where cancel means stopped.",
            "description": "Every job runs in a process tree of its own. When it is cancelled, times out or its "
            "client hangs up, everything it started is gone within the budget, and the answer carries the proof.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _schemas(endpoints: list[Endpoint]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """Return how to refer to each type, and the definitions that are referred to."""
    models = {model: None for e in endpoints for model in (e.body, *(a.model for a in e.answers)) if model}
    inputs: list[tuple[Any, Mode, TypeAdapter[Any]]] = [
        (model, "validation", TypeAdapter(model)) for model in (*models, ProblemJson)
    ]
    references, definitions = TypeAdapter.json_schemas(inputs, ref_template=REF)
    return {model: reference for (model, _), reference in references.items()}, definitions["$defs"]


def _operation(endpoint: Endpoint, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "tags": [endpoint.group],
        "summary": endpoint.summary,
        "description": endpoint.about,
        "parameters": _parameters(endpoint),
        "responses": _answers(endpoint, references) | _rejections(endpoint, references),
    }
    if endpoint.body is not None:
        content = {"application/json": {"schema": references[endpoint.body]}}
        described["requestBody"] = {"required": endpoint.body_required, "content": content}
    if endpoint.access.needs_token:
        described["x-scope"] = str(endpoint.access)
    else:
        described["security"] = []
    return described


def _operation_id(endpoint: Endpoint) -> str:
    words = [word.strip("{}").replace(".", "_") for word in endpoint.documented_path.split("/") if word]
    return "_".join([endpoint.method.lower(), *words])


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    if "{id}" in endpoint.documented_path:
        schema = {"type": "string", "pattern": bodies.JOB_ID_PATTERN}
        parameters.append({"name": "id", "in": "path", "required": True, "schema": schema})
    if "{path}" in endpoint.documented_path:
        about = "The file's path, with slashes as they are."
        parameters.append(
            {"name": "path", "in": "path", "required": True, "schema": {"type": "string"}, "description": about}
        )
    parameters.extend(
        {
            "name": parameter.name,
            "in": parameter.where,
            "required": False,
            "schema": parameter.schema,
            "description": parameter.about,
        }
        | ({"style": "form", "explode": False} if parameter.schema.get("type") == "array" else {})
        for parameter in endpoint.parameters
    )
    return parameters


def _problems(endpoint: Endpoint) -> list[Kind]:
    """Return the problems that the endpoint names, and those of the checks in front of it."""
    kinds = set(endpoint.problems) | {Kind.HEADERS_TOO_LARGE}
    if endpoint.access is not Access.PROBE:
        kinds.add(Kind.WRONG_HOST)
    if endpoint.access.needs_token:
        kinds.add(Kind.UNAUTHORIZED)
        if endpoint.access.scope is not None:
            kinds.add(Kind.MISSING_SCOPE)
        if not endpoint.exempt:
            kinds.add(Kind.TOO_MANY_REQUESTS)
    if endpoint.method not in SAFE_METHODS:
        kinds |= {Kind.FORBIDDEN_ORIGIN, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.TOO_LARGE, Kind.REQUEST_TIMEOUT}
    return sorted(kinds, key=lambda kind: (SHAPES[kind].status, kind))


def _answers(endpoint: Endpoint, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """Return the answer for each status. If a status has several media types, each is described."""
    found: dict[str, Any] = {}
    for answer in endpoint.answers:
        described = _answer(answer, references)
        known = found.setdefault(str(answer.status), described)
        if known is not described:
            known["description"] += f" {described['description']}"
            known["content"] |= described["content"]
    return found


def _answer(answer: Answer, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.about}
    if answer.media_type == SSE:
        described["content"] = {SSE: {"schema": FRAME_SCHEMA}}
    elif answer.media_type == ANY:
        described["content"] = {ANY: {"schema": {"type": "string", "format": "binary"}}}
    elif answer.media_type != JSON:
        described["content"] = {answer.media_type: {"schema": {"type": "string"}}}
    elif answer.model is not None:
        described["content"] = {answer.media_type: {"schema": references[answer.model]}}
    return described


def _rejections(endpoint: Endpoint, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """Return the problems for each status. Those that share a status differ in their `type`."""
    meanings: dict[str, list[str]] = {}
    for kind in _problems(endpoint):
        meanings.setdefault(str(SHAPES[kind].status), []).append(f"`{kind}`: {SHAPES[kind].meaning}")
    content = {MEDIA_TYPE: {"schema": references[ProblemJson]}}
    return {status: {"description": " ".join(words), "content": content} for status, words in meanings.items()}
