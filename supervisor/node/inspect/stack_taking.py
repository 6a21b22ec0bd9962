"""A job's Python stacks at one moment, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from supervisor.core.running.controller import JobController
from supervisor.node.inspect.stacks import NoStack


@dataclass(frozen=True, slots=True)
class Stack:
    """`text` is None when the runner could not write one, and `note` says why."""

    text: str | None
    taken_at: datetime
    note: str | None = None


async def take_stack(owner: JobController, *, native: bool = False) -> Stack:
    """Bounded. Does not disturb the job, unless it is to be with `native` frames: that stops it for a moment."""
    taken_at = datetime.now(UTC)
    try:
        return Stack(await owner.stack(native=native), taken_at)
    except NoStack as exc:
        return Stack(None, taken_at, str(exc))
