"""End all jobs at an orderly shutdown: queued ones are left to the next server, the others are stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from supervisor.core.jobs.model import Cause, Reason, State
from supervisor.core.running.controller import JobController

BEGUN = frozenset({State.STARTING, State.RUNNING, State.CANCELLING})
"""The states in which a job has processes, or may have."""
MARGIN_S = 0.5
"""How much longer than the budget the shutdown waits for the ends of jobs."""


async def end_all(owners: Iterable[JobController], budget_s: float, *, force: bool) -> list[str]:
    """End all jobs, in a bounded time. Return the IDs of jobs that did not end in it."""
    stopped: dict[asyncio.Future[object], JobController] = {}
    for owner in owners:
        if owner.record.job.state is State.QUEUED:
            owner.put_off()
        else:
            owner.cancel(Cause(Reason.SHUTDOWN, time.monotonic(), datetime.now(UTC), force=force))
            stopped[asyncio.ensure_future(owner.record.finished.wait())] = owner
    if not stopped:
        return []
    _, late = await asyncio.wait(stopped, timeout=budget_s + MARGIN_S)
    for end in late:
        end.cancel()
    return [stopped[end].record.job.id for end in late]
