"""Which tasks there are, and whether an input fits one.

Task modules are user code: they are imported in children only, which send back names and JSON Schemas. Inputs are
checked here against the schema, without coercion, so that a mistake is answered before anything starts.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError

from runner.protocol import Described
from supervisor.core.formats import format_checker
from supervisor.core.model import Json
from supervisor.errors import FieldError, InvalidRequest, NotReady

BUILT_IN = ("runner.tasks.shell", "runner.tasks.agent", "runner.tasks.browse", "runner.tasks.demo")
RETRY_AFTER_S = 1
MAX_ERRORS = 20
FORMATS = format_checker()


@dataclass(frozen=True, slots=True)
class TaskDescription:
    name: str
    description: str
    input_schema: dict[str, Json]


@dataclass(frozen=True, slots=True)
class _Entry:
    module: str
    origin: str
    description: TaskDescription
    validator: Any


class Catalog:
    """The tasks of the built-in modules and of those named in TASKS."""

    def __init__(self, modules: tuple[str, ...], *, switched_off: tuple[str, ...] = ()) -> None:
        self._switched_off = frozenset(switched_off)
        self._never_seen = set(switched_off)
        self.modules = (*BUILT_IN, *(module for module in modules if module not in BUILT_IN))
        self._pending = set(self.modules)
        self.described = asyncio.Event()
        """Set when nothing is pending any more."""
        self._entries: dict[str, _Entry] = {}
        self.errors: dict[str, str] = {}
        """Module → why it offers less than it should."""
        self.tracebacks: dict[str, str] = {}
        """Module → where its import failed."""

    @property
    def pending(self) -> frozenset[str]:
        return frozenset(self._pending)

    def add(self, described: Described) -> None:
        """Take what a child said about its module."""
        self._pending.discard(described.module)
        if described.error is not None:
            self.errors[described.module] = described.error
        if described.traceback is not None:
            self.tracebacks[described.module] = described.traceback
        for task in described.tasks:
            if task.name in self._switched_off:
                self._never_seen.discard(task.name)
                continue
            known = self._entries.get(task.name)
            if known is not None and known.module != described.module:
                if known.origin and known.origin == task.origin:
                    continue  # one of them imports it from the other
                self.errors[described.module] = f"task {task.name!r} is already defined in {known.module}"
                continue
            try:
                Draft202012Validator.check_schema(task.input_schema)
            except SchemaError as exc:
                self.errors[described.module] = f"task {task.name!r} has no valid schema: {exc.message}"
                continue
            description = TaskDescription(task.name, task.description, task.input_schema)
            self._entries[task.name] = _Entry(
                described.module,
                task.origin,
                description,
                Draft202012Validator(task.input_schema, format_checker=FORMATS),
            )
        self._after_description()

    def give_up(self, module: str, why: str) -> None:
        """A module whose child never answered."""
        self._pending.discard(module)
        self.errors[module] = why
        self._after_description()

    def _after_description(self) -> None:
        if self._pending:
            return
        self.described.set()
        if self._never_seen:
            # Somebody meant to switch something off, and it is on.
            self.errors["TASKS_OFF"] = f"there is no task {', '.join(map(repr, sorted(self._never_seen)))}"

    def tasks(self) -> list[TaskDescription]:
        """Sorted by name. Raises NotReady while modules are still being described."""
        if self._pending:
            raise NotReady("cannot list the tasks yet: task modules are still being described", RETRY_AFTER_S)
        return [entry.description for _, entry in sorted(self._entries.items())]

    def check(self, task: str, values: dict[str, Json]) -> str:
        """The module of `task`, if `values` fit it. Raises InvalidRequest, or NotReady while it may still come."""
        if task in self._switched_off:
            raise InvalidRequest.at("task", f"task {task!r} is switched off on this server (TASKS_OFF)")
        entry = self._entries.get(task)
        if entry is None:
            if self._pending:
                raise NotReady(f"cannot run {task!r} yet: task modules are still being described", RETRY_AFTER_S)
            known = ", ".join(sorted(self._entries))
            raise InvalidRequest.at("task", f"there is no task {task!r}; this server has: {known}")
        errors = sorted(entry.validator.iter_errors(values), key=lambda error: [str(part) for part in error.path])
        if errors:
            found = [explained for error in errors[:MAX_ERRORS] for explained in _explain(error)]
            raise InvalidRequest(list(dict.fromkeys(found)))
        return entry.module


def _explain(error: ValidationError) -> list[FieldError]:
    """Say it in terms of fields, for people who never saw the schema."""
    where = ".".join(["input", *(str(part) for part in error.absolute_path)])
    expected: Any = error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    match error.validator:
        case "required":
            missing = [name for name in expected if name not in instance]
            return [FieldError(f"{where}.{name}", "is required") for name in missing]
        case "additionalProperties" if isinstance(instance, dict):
            known = schema.get("properties", {})
            extra = [name for name in instance if name not in known]
            hint = f"; known fields: {', '.join(known)}" if known else ""
            return [FieldError(f"{where}.{name}", f"is not a field of this task{hint}") for name in extra]
        case "type":
            return [FieldError(where, f"must be {_types(expected)}, not {_short(instance)}")]
        case "anyOf" | "oneOf":
            return _explain_choice(error, where)
        case "format":
            return [FieldError(where, f"is no {expected}: {error.cause}")]
        case "enum":
            return [FieldError(where, f"must be one of {', '.join(map(_short, expected))}")]
        case "const":
            return [FieldError(where, f"must be {_short(expected)}")]
        case _:
            return [FieldError(where, error.message if len(error.message) < 300 else f"fails {error.validator}")]


def _explain_choice(error: ValidationError, where: str) -> list[FieldError]:
    expected: Any = error.validator_value
    keys = [choice.get("required", [None])[0] for choice in expected]
    if all(keys) and isinstance(error.instance, dict):
        # Alternatives that differ by the field that must be there: shell's command or argv.
        given = [key for key in keys if error.instance.get(key) is not None]
        if len(given) != 1:
            named = " and ".join(given) or "none"
            return [
                FieldError(
                    f"{where}.{given[0] if given else keys[0]}", f"give exactly one of {', '.join(keys)}; got {named}"
                )
            ]
    wanted = [choice.get("type") for choice in expected]
    if all(isinstance(name, str) for name in wanted) and all(
        sub.validator == "type" and not sub.relative_path for sub in error.context or []
    ):
        return [FieldError(where, f"must be {_types(wanted)}, not {_short(error.instance)}")]
    # Otherwise the alternative that got furthest says it best.
    furthest = max(error.context or [], key=lambda sub: (len(sub.absolute_path), sub.validator != "type"), default=None)
    return [FieldError(where, error.message)] if furthest is None else _explain(furthest)


def _types(value: str | list[str]) -> str:
    return value if isinstance(value, str) else " or ".join(value)


def _short(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
