"""Make workers until it works: start one, wait for the guardian's Hello, and retry if either fails."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future

import structlog

from supervisor.engine.containment import Level
from supervisor.node.workers.retries import Retries
from supervisor.node.workers.spawned_worker import SpawnedWorker, StartFailed
from supervisor.node.workers.starter import START_TIMEOUT_S, Starter
from supervisor.node.workers.worker import Worker

log = structlog.get_logger()


class WorkerMaker:
    """Starts one worker at a time for each caller. Belongs to the event loop.

    `on_ready` is called with each worker that has reported; if it raises, the start has failed.
    """

    def __init__(self, starter: Starter, on_ready: Callable[[Worker], None], first_pause_s: float) -> None:
        self._starter = starter
        self._on_ready = on_ready
        self._retries: defaultdict[Level, Retries] = defaultdict(lambda: Retries(first_pause_s))

    def fails(self, level: Level) -> bool:
        """Return whether the last start at this level failed."""
        return self._retries[level].reason is not None

    def forget(self, level: Level) -> None:
        """Forget failures at this level, when no job waits for it any more."""
        self._retries.pop(level, None)

    @property
    def last_error(self) -> str | None:
        """Why the last start at some level failed; None if none did."""
        return next((retries.reason for retries in self._retries.values() if retries.reason is not None), None)

    @property
    def trouble(self) -> str | None:
        """Since when no worker could be started, and why, for a person."""
        descriptions = (retries.describe("no worker could be started") for retries in self._retries.values())
        return next((reason for reason in descriptions if reason is not None), None)

    async def make(self, level: Level) -> Worker | None:
        """Return a worker that is ready, or None after a failure and a pause that grows with each failure in a row."""
        try:
            made = await self._start_and_connect(level)
        except StartFailed as exc:
            await self._failed(level, str(exc))
            return None
        except OSError as exc:
            await self._failed(level, f"cannot start a worker: {type(exc).__name__}: {exc}")
            return None
        except Exception as exc:
            # This is a bug. It must not end the task that starts workers for waiting requests.
            log.exception("start_failed_unexpectedly", containment=str(level))
            await self._failed(level, f"cannot start a worker: {type(exc).__name__}: {exc}")
            return None
        failures = self._retries[level].succeeded()
        if failures:
            log.info("start_works_again", containment=str(level), failures=failures)
        return made

    async def _failed(self, level: Level, reason: str) -> None:
        pause_s, is_new = self._retries[level].failed(reason, time.monotonic())
        if is_new:
            log.warning("start_failed", error=reason, containment=str(level))
        await asyncio.sleep(pause_s)

    async def _start_and_connect(self, level: Level) -> Worker:
        future = self._starter.start_worker(level)
        try:
            started = await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            future.add_done_callback(self._discard_late)  # the thread may be working on it
            raise
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                met = await Worker.connect_to(started)
            try:
                self._on_ready(met)
            except BaseException:
                met.close()
                raise
            return met
        except TimeoutError:
            self._starter.retire(started)
            raise StartFailed(f"cannot start a guardian: no hello within {START_TIMEOUT_S} s") from None
        except BaseException:
            self._starter.retire(started)
            raise

    def _discard_late(self, future: Future[SpawnedWorker]) -> None:
        if not future.cancelled() and future.exception() is None:
            future.result().discard()
            self._starter.retire(future.result())
