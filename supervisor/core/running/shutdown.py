"""What an orderly end of the server does to its jobs: the queued are left to the next start, the others are stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from supervisor.core.jobs.model import Cause, Reason, State
from supervisor.core.running.controller import JobController

BEGUN = frozenset({State.STARTING, State.RUNNING, State.CANCELLING})
"""A job in one of these states has processes, or may have."""
MARGIN_S = 0.5
"""How much longer than a budget the ends of jobs are waited for."""


async def end_all(owners: Iterable[JobController], budget_s: float, *, force: bool) -> list[str]:
    """Bounded. The ids of jobs that did not end in that time."""
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
