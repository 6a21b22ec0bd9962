"""The names for task modules: `from runner import Context, task`. Each name is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.context import Context
    from runner.errors import CommandEnded, JobCancelled, TaskFailed
    from runner.loading import task
else:
    _MODULES = {
        "CommandEnded": "runner.errors",
        "Context": "runner.context",
        "JobCancelled": "runner.errors",
        "TaskFailed": "runner.errors",
        "task": "runner.loading",
    }

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value


__all__ = ["CommandEnded", "Context", "JobCancelled", "TaskFailed", "task"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
