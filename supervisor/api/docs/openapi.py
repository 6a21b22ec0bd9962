"""The OpenAPI document, made from the operations and the schemas. Nothing in it is written twice."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import TypeAdapter

import supervisor
from supervisor.api.access import SAFE_METHODS, is_never_limited, needed_scope
from supervisor.api.docs.event_types import FRAME_SCHEMA
from supervisor.api.guard.problems import MEDIA_TYPE, SHAPES, Kind
from supervisor.api.operation import ANY, JSON, SSE, Answer, Operation
from supervisor.api.operations import OPERATIONS
from supervisor.api.schemas import bodies
from supervisor.api.schemas.answers import ProblemJson

REF = "#/components/schemas/{model}"
Mode = Literal["validation", "serialization"]


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    references, schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, references)
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


def _schemas() -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """Type → how to refer to it, and the definitions that are referred to."""
    models = {model: None for o in OPERATIONS for model in (o.body, *(a.model for a in o.answers)) if model}
    inputs: list[tuple[Any, Mode, TypeAdapter[Any]]] = [
        (model, "validation", TypeAdapter(model)) for model in (*models, ProblemJson)
    ]
    references, definitions = TypeAdapter.json_schemas(inputs, ref_template=REF)
    return {model: reference for (model, _), reference in references.items()}, definitions["$defs"]


def _operation(operation: Operation, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _operation_id(operation),
        "tags": [operation.group],
        "summary": operation.summary,
        "description": operation.about,
        "parameters": _parameters(operation),
        "responses": _answers(operation, references) | _refusals(operation, references),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": references[operation.body]}}
        described["requestBody"] = {"required": operation.body_required, "content": content}
    if operation.open:
        described["security"] = []
    else:
        scope = needed_scope(operation.method, operation.path)
        described["x-scope"] = "any" if scope is None else str(scope)
    return described


def _operation_id(operation: Operation) -> str:
    words = [word.strip("{}").replace(".", "_") for word in operation.path.split("/") if word]
    return "_".join([operation.method.lower(), *words])


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    if "{id}" in operation.path:
        schema = {"type": "string", "pattern": bodies.JOB_ID_PATTERN}
        parameters.append({"name": "id", "in": "path", "required": True, "schema": schema})
    if "{path}" in operation.path:
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
        for parameter in operation.parameters
    )
    return parameters


def _problems(operation: Operation) -> list[Kind]:
    """Those that the operation names, and those of the doors that it stands behind."""
    kinds = set(operation.problems) | {Kind.HEADERS_TOO_LARGE}
    if not operation.path.endswith(("/livez", "/readyz")):
        kinds.add(Kind.WRONG_HOST)
    if not operation.open:
        kinds.add(Kind.UNAUTHORIZED)
        if needed_scope(operation.method, operation.path) is not None:
            kinds.add(Kind.MISSING_SCOPE)
        if not is_never_limited(operation.path):
            kinds.add(Kind.TOO_MANY_REQUESTS)
    if operation.method not in SAFE_METHODS:
        kinds |= {Kind.FORBIDDEN_ORIGIN, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.TOO_LARGE, Kind.REQUEST_TIMEOUT}
    return sorted(kinds, key=lambda kind: SHAPES[kind].status)


def _answers(operation: Operation, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """Status → what comes. Where one status has several media types, each is described."""
    found: dict[str, Any] = {}
    for answer in operation.answers:
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


def _refusals(operation: Operation, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """Status → problem. Where two problems share a status, their `type` tells them apart."""
    meanings: dict[str, list[str]] = {}
    for kind in _problems(operation):
        meanings.setdefault(str(SHAPES[kind].status), []).append(f"`{kind}`: {SHAPES[kind].meaning}")
    content = {MEDIA_TYPE: {"schema": references[ProblemJson]}}
    return {status: {"description": " ".join(words), "content": content} for status, words in meanings.items()}
