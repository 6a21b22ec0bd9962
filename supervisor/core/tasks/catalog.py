"""The available tasks, and the check of inputs against their schemas.

Task modules are users' code: only child processes import them, and send back names and JSON Schemas. Inputs are checked
against the schema here, without coercion, so that a mistake is reported before a process starts.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from jsonschema.exceptions import SchemaError
from pydantic import TypeAdapter

from supervisor.core.jobs.model import Json
from supervisor.core.tasks.input_schema import InputSchema
from supervisor.core.tasks.pace import TooCostly
from supervisor.engine.order import ModuleDescription
from supervisor.errors import InvalidRequest, NotReady

BUILT_IN = ("runner.tasks.shell", "runner.tasks.agent", "runner.tasks.browse", "runner.tasks.demo")
WRITTEN_DOWN = Path(__file__).with_name("built_in_tasks.json")
"""A file that tests/support/built_in_tasks.py creates. A test compares it with the tasks."""
RETRY_AFTER_S = 1
AT_MOST_S = 1.0
"""CPU time limit for checking an input."""


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
    schema: InputSchema


def built_in() -> list[ModuleDescription]:
    """Return the stored descriptions of the built-in tasks, so that they can run before a child has described any."""
    return TypeAdapter(list[ModuleDescription]).validate_json(WRITTEN_DOWN.read_bytes())


class Catalog:
    """The tasks of the built-in modules and of those named in TASKS."""

    def __init__(self, modules: tuple[str, ...], *, switched_off: tuple[str, ...] = ()) -> None:
        self._switched_off = frozenset(switched_off)
        self._never_seen = set(switched_off)
        own = tuple(module for module in modules if module not in BUILT_IN)
        self.modules = (BUILT_IN[0], *own)
        """The modules that children describe. The first is that of the self-test, and already known."""
        self._pending = set(own)
        self.described = asyncio.Event()
        """Set once no module is pending."""
        self._entries: dict[str, _Entry] = {}
        self.errors: dict[str, str] = {}
        """Module → why it, or one of its tasks, cannot be used."""
        self.tracebacks: dict[str, str] = {}
        """Module → traceback of its failed import."""

        for known in built_in():
            self._take(known)
        self._after_description()

    @property
    def pending(self) -> frozenset[str]:
        return frozenset(self._pending)

    def add(self, described: ModuleDescription) -> None:
        """Add a child's description of a module."""
        self._pending.discard(described.module)
        self._take(described)
        self._after_description()

    def _take(self, described: ModuleDescription) -> None:
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
                    continue  # one module imports the task from the other
                self.errors[described.module] = f"task {task.name!r} is already defined in {known.module}"
                continue
            try:
                schema = InputSchema(task.input_schema)
            except SchemaError as exc:
                self.errors[described.module] = f"task {task.name!r} has no valid schema: {exc.message}"
                continue
            description = TaskDescription(task.name, task.description, task.input_schema)
            self._entries[task.name] = _Entry(described.module, task.origin, description, schema)

    def _after_description(self) -> None:
        if self._pending:
            return
        self.described.set()
        if self._never_seen:
            # A task was to be switched off, but is still on.
            self.errors["DEADSTOP_TASKS_OFF"] = f"there is no task {', '.join(map(repr, sorted(self._never_seen)))}"

    def tasks(self) -> list[TaskDescription]:
        """Return the tasks, sorted by name. Raise NotReady while modules are still being described."""
        if self._pending:
            raise NotReady("cannot list the tasks yet: task modules are still being described", RETRY_AFTER_S)
        return [entry.description for _, entry in sorted(self._entries.items())]

    def check(self, task: str, values: dict[str, Json], *, allowance_s: float | None = None) -> str:
        """Return the module of `task` if `values` fit it. Raise InvalidRequest, or NotReady if it may yet be described.

        Raise TooCostly if the check takes more CPU time than the allowance. Without one it is rejected after AT_MOST_S.
        """
        if task in self._switched_off:
            raise InvalidRequest.at("task", f"task {task!r} is switched off on this server (DEADSTOP_TASKS_OFF)")
        entry = self._entries.get(task)
        if entry is None:
            if self._pending:
                raise NotReady(f"cannot run {task!r} yet: task modules are still being described", RETRY_AFTER_S)
            known = ", ".join(sorted(self._entries))
            raise InvalidRequest.at("task", f"there is no task {task!r}; this server has: {known}")
        try:
            errors, more = entry.schema.errors(values, AT_MOST_S if allowance_s is None else allowance_s)
        except TooCostly:
            if allowance_s is not None:
                raise
            raise InvalidRequest.at("input", "takes too long to check against the task's schema") from None
        if errors:
            raise InvalidRequest(errors, more=None if more else 0)
        return entry.module
