"""The public names of Deadstop: `from deadstop import Context, task`. A name is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner import CommandEnded, Context, JobCancelled, TaskFailed, task
else:
    _MODULES = dict.fromkeys(("CommandEnded", "Context", "JobCancelled", "TaskFailed", "task"), "runner")

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value


__all__ = ["CommandEnded", "Context", "JobCancelled", "TaskFailed", "task"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
