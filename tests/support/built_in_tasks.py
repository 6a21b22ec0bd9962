"""The built-in tasks as the server has them in writing. `python -m tests.support.built_in_tasks` writes that anew."""

from __future__ import annotations

from pydantic import TypeAdapter

from runner.loading import load
from runner.protocol import Described
from supervisor.core.tasks.catalog import BUILT_IN, WRITTEN_DOWN


def described() -> list[Described]:
    return [Described(module, [task.describe() for task in load(module).values()]) for module in BUILT_IN]


if __name__ == "__main__":
    text = TypeAdapter(list[Described]).dump_json(described(), indent=1)
    WRITTEN_DOWN.write_bytes(text + b"\n")
