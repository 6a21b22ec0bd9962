"""Task functions: mark them, describe them as JSON Schema, and call them with validated input.

The signature is the schema: every parameter after the first becomes a field of a pydantic model that is strict and
accepts no extra fields.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from runner.errors import TaskFailed
from runner.protocol import DescribedTask

Function = TypeVar("Function", bound=Callable[..., Any])

_MARK = "__deadstop_task__"
_FIELD = "input_"
"""A prefix for the names of parameters, so that names such as `schema`, `copy` and `_x` can be fields of a model
too.
"""


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    function: Callable[..., Any]
    description: str
    model: type[BaseModel]

    def describe(self) -> DescribedTask:
        origin = f"{self.function.__module__}:{self.function.__qualname__}"
        return DescribedTask(self.name, self.description, self.model.model_json_schema(), origin)

    def bind(self, values: dict[str, Any]) -> dict[str, Any]:
        """Validate `values` and return the keyword arguments of the call. Raise TaskFailed (kind load), which names the
        field.
        """
        try:
            # As JSON and not as Python values, so that strict mode still takes "2026-01-01" for a date.
            checked = self.model.model_validate_json(json.dumps(values), strict=True)
        except ValidationError as exc:
            problem = exc.errors(include_url=False, include_input=False)[0]
            where = ".".join(["input", *(str(part) for part in problem["loc"])])
            raise TaskFailed("load", f"cannot call {self.name}: {where}: {problem['msg']}") from None
        return {name.removeprefix(_FIELD): getattr(checked, name) for name in self.model.model_fields}


@overload
def task(function: Function) -> Function: ...
@overload
def task(*, json_schema_extra: dict[str, Any] | None = None) -> Callable[[Function], Function]: ...
def task(
    function: Function | None = None, *, json_schema_extra: dict[str, Any] | None = None
) -> Function | Callable[[Function], Function]:
    """Mark a function as a task: `@task def thumbnails(ctx, folder: str, width: int = 320) -> dict`.

    The first parameter receives the Context; every other one needs a type hint. The docstring's first paragraph is the
    description. `json_schema_extra` adds to the schema, e.g. `{"oneOf": [...]}`. The function can still be called as it
    is. Raise TypeError if the signature cannot be a schema.
    """

    def mark(target: Function) -> Function:
        setattr(target, _MARK, _make_task(target, json_schema_extra))
        return target

    return mark if function is None else mark(function)


def _make_task(function: Callable[..., Any], json_schema_extra: dict[str, Any] | None) -> Task:
    name = function.__name__
    if inspect.isasyncgenfunction(function):
        raise TypeError(f"cannot make {name} a task: an async generator has no result; return a list")
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
        raise TypeError(f"cannot make {name} a task: its first parameter must take the Context")
    hints = _hints(function, {parameter.name for parameter in parameters[1:]})
    fields: dict[str, Any] = {}
    for parameter in parameters[1:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"cannot make {name} a task: {parameter} has no name in a JSON object")
        if parameter.name not in hints:
            raise TypeError(f"cannot make {name} a task: parameter {parameter.name} needs a type hint")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[_FIELD + parameter.name] = (hints[parameter.name], default)
    config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra=json_schema_extra,
        alias_generator=lambda field: field.removeprefix(_FIELD),
    )
    model: type[BaseModel] = create_model(name, __config__=config, **fields)
    model.model_json_schema()  # raises at import if a type has no JSON Schema
    text = inspect.getdoc(function) or ""
    return Task(name, function, " ".join(text.split("\n\n")[0].split()), model)


def _hints(function: Callable[..., Any], wanted: set[str]) -> dict[str, Any]:
    """Return the types of these parameters. The types of the Context and the result need not exist at run time."""

    def bare() -> None: ...

    bare.__annotations__ = {name: hint for name, hint in function.__annotations__.items() if name in wanted}
    names = getattr(inspect.unwrap(function), "__globals__", {})
    return get_type_hints(bare, globalns=names, include_extras=True)


def load(module_name: str) -> dict[str, Task]:
    """Import a module and return its tasks by name. Exceptions of the import are passed on."""
    return find_tasks(importlib.import_module(module_name))


def find_tasks(module: ModuleType) -> dict[str, Task]:
    marked = (getattr(value, _MARK, None) for value in vars(module).values())
    return {found.name: found for found in marked if isinstance(found, Task)}
