"""Periodic maintenance of the pool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NoReturn

import structlog

from supervisor.node.cleanup.strangers import Strangers
from supervisor.node.workers import server_forkserver, server_tracker
from supervisor.node.workers.retries import Retries
from supervisor.node.workers.starter import Starter

EVERY_S = 1.0

log = structlog.get_logger()


async def keep_up(starter: Starter, is_guardian: Callable[[int], bool]) -> NoReturn:
    """Maintain the starter's threads, dispose of processes that ended late, and reap zombies, until cancelled."""
    failing = Retries()
    strangers = Strangers(lambda pid: is_guardian(pid) or pid in {server_forkserver.pid(), server_tracker.pid()})
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            starter.tend()
            strangers.reap()
            failing.succeeded()
        except Exception as exc:
            # For example there are no descriptors. The next round may succeed, so the loop goes on.
            _, news = failing.failed(str(exc), time.monotonic())
            if news:
                log.exception("upkeep_failed", error=str(exc))
