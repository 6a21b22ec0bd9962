"""What a task module imports: `from runner import Context, task`."""

from __future__ import annotations

from runner.cancellation import JobCancelled
from runner.context import Context
from runner.errors import CommandEnded, TaskFailed
from runner.loading import task

__all__ = ["CommandEnded", "Context", "JobCancelled", "TaskFailed", "task"]
