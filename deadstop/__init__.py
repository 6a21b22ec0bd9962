"""The public names of Deadstop: `from deadstop import Context, task`. A name is loaded when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner import CommandEnded, Context, JobCancelled, TaskFailed, task
else:
    from runner.lazy_names import lazy_names

    __getattr__ = lazy_names(
        globals(), dict.fromkeys(("CommandEnded", "Context", "JobCancelled", "TaskFailed", "task"), "runner")
    )


__all__ = ["CommandEnded", "Context", "JobCancelled", "TaskFailed", "task"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
