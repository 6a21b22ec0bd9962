"""The built-in tasks as the server has them on file. `python -m tests.support.built_in_tasks` regenerates the file."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import TypeAdapter

from runner.loading import load
from runner.protocol import DescribedTask
from supervisor.core.tasks.catalog import BUILT_IN, WRITTEN_DOWN
from supervisor.engine.order import ModuleDescription, ModuleTask


def module_description(module: str, tasks: Iterable[DescribedTask]) -> ModuleDescription:
    """Return the description that a server builds from a child's report about its module."""
    found = (ModuleTask(task.name, task.description, task.input_schema, task.origin) for task in tasks)
    return ModuleDescription(module, tuple(found))


def described() -> list[ModuleDescription]:
    return [module_description(module, [task.describe() for task in load(module).values()]) for module in BUILT_IN]


if __name__ == "__main__":
    text = TypeAdapter(list[ModuleDescription]).dump_json(described(), indent=1)
    WRITTEN_DOWN.write_bytes(text + b"\n")
