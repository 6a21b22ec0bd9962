"""The sins as tasks, committed inside the runner itself: TASKS=tests.children.tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner import Context, task
from tests.children import SINS, commit
from tests.children.stage import Stage


def _task_for(sin: str) -> Callable[..., dict[str, Any]]:
    def run(ctx: Context, beacon: str) -> dict[str, Any]:
        commit(sin, Stage(beacon, cancelled=lambda: ctx.cancelled))
        return {"sin": sin}

    run.__name__ = sin
    run.__doc__ = f"Commit the sin {sin} inside the runner."
    return task(run)


for _sin in SINS:
    globals()[_sin] = _task_for(_sin)
