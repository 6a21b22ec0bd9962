"""A pool of attempt sets in the test's own process, without jobs."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from supervisor.engine.containment import Level
from supervisor.guardian.environment import passed_environment
from supervisor.node.workers.pool import WorkerPool
from supervisor.node.workers.starter import START_TIMEOUT_S, Starter
from supervisor.node.workers.worker import Worker
from tests.support.core import until

BOUND_S = 10.0


@asynccontextmanager
async def pool_of(
    size: int = 0, *, start_timeout_s: float = START_TIMEOUT_S, first_pause_s: float = 0.01
) -> AsyncIterator[WorkerPool]:
    made = Starter(passed_environment(), start_timeout_s)
    pool = WorkerPool(made, size, Level.SUBREAPER, first_pause_s=first_pause_s)
    try:
        pool.fill()
        yield pool
    finally:
        await pool.close()
        made.close()


async def served(pool: WorkerPool) -> Worker:
    return await asyncio.wait_for(pool.request(Level.SUBREAPER), BOUND_S)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def at_rest(pool: WorkerPool) -> int:
    """Wait until the number of descriptors of this process no longer changes, and return it."""
    seen = -1
    while seen != (seen := descriptors()) or pool.retired or pool._starter._retired:
        gc.collect()
        await asyncio.sleep(0.02)
    return seen


async def settled(pool: WorkerPool, expected: int) -> None:
    """Wait until retired workers have been closed and this process has as many descriptors as before."""

    def same() -> bool:
        gc.collect()
        return not pool.retired and descriptors() == expected

    try:
        await until(same, BOUND_S)
    except TimeoutError:
        pytest.fail(f"{descriptors()} descriptors where there were {expected}")
