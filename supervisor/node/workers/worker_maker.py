"""Making attempt sets until it works: a start, the guardian's hello, and what is done when either fails."""

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


class SetMaker:
    """Starts one set at a time for each caller. Belongs to the event loop.

    `on_met` is called with each set that has said hello; what it raises makes the start one that failed.
    """

    def __init__(self, starter: Starter, on_met: Callable[[Worker], None], first_pause_s: float) -> None:
        self._starter = starter
        self._on_met = on_met
        self._retries: defaultdict[Level, Retries] = defaultdict(lambda: Retries(first_pause_s))

    def fails(self, level: Level) -> bool:
        """Whether the last start at this level failed."""
        return self._retries[level].words is not None

    def forget(self, level: Level) -> None:
        """What failed at this level is of no interest: no job waits for it any more."""
        self._retries.pop(level, None)

    @property
    def last_error(self) -> str | None:
        """Why the last start at some level failed; None when none did."""
        return next((retries.words for retries in self._retries.values() if retries.words is not None), None)

    @property
    def trouble(self) -> str | None:
        """Since when no set could be started, and why, for a person."""
        told = (retries.told("no worker could be started") for retries in self._retries.values())
        return next((words for words in told if words is not None), None)

    async def make(self, level: Level) -> Worker | None:
        """A set that is ready; None after a failure and a pause, which grows with each failure in a row."""
        try:
            made = await self._start_and_meet(level)
        except StartFailed as exc:
            await self._failed(level, str(exc))
            return None
        except OSError as exc:
            await self._failed(level, f"cannot start a worker: {type(exc).__name__}: {exc}")
            return None
        except Exception as exc:
            # A bug. It must not end the task that starts sets for those who wait.
            log.exception("start_failed_unexpectedly", containment=str(level))
            await self._failed(level, f"cannot start a worker: {type(exc).__name__}: {exc}")
            return None
        failures = self._retries[level].succeeded()
        if failures:
            log.info("start_works_again", containment=str(level), failures=failures)
        return made

    async def _failed(self, level: Level, words: str) -> None:
        pause_s, news = self._retries[level].failed(words, time.monotonic())
        if news:
            log.warning("start_failed", error=words, containment=str(level))
        await asyncio.sleep(pause_s)

    async def _start_and_meet(self, level: Level) -> Worker:
        future = self._starter.start_set(level)
        try:
            started = await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            future.add_done_callback(self._discard_late)  # the thread may be in the middle of it
            raise
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                met = await Worker.meet(started)
            try:
                self._on_met(met)
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
