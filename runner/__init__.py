"""The names for task modules: `from runner import Context, task`. Each name is loaded when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.context import Context
    from runner.errors import CommandEnded, JobCancelled, TaskFailed
    from runner.loading import task
else:
    from runner.lazy_names import lazy_names

    __getattr__ = lazy_names(
        globals(),
        {
            "CommandEnded": "runner.errors",
            "Context": "runner.context",
            "JobCancelled": "runner.errors",
            "TaskFailed": "runner.errors",
            "task": "runner.loading",
        },
    )


__all__ = ["CommandEnded", "Context", "JobCancelled", "TaskFailed", "task"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
