"""The pool of workers that are ready before a job needs them. Each is used once, and replaced when it is taken.

A worker takes some 40 ms to start, and no time when it is taken.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Coroutine

import structlog

from supervisor.engine.containment import Level
from supervisor.guardian.handle import Handle, Identity
from supervisor.node.cleanup.upkeep import keep_up
from supervisor.node.workers.helper_thread import HelperThread
from supervisor.node.workers.maker import WorkerMaker
from supervisor.node.workers.retired import RetiredWorkers
from supervisor.node.workers.retries import FIRST_PAUSE_S
from supervisor.node.workers.starter import Starter
from supervisor.node.workers.worker import Worker

MAX_STARTING = 8

log = structlog.get_logger()


class WorkerPool:
    """Keeps `size` workers ready and starts more for requests that wait. Belongs to the event loop."""

    def __init__(self, starter: Starter, size: int, level: Level, *, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self._starter = starter
        self._size = size
        self._level = level
        self._ready: deque[Worker] = deque()
        self._waiting: deque[asyncio.Future[Worker]] = deque()
        self._starting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.retired = RetiredWorkers(self._spawn, self._on_disposed)
        self.guardians: dict[Identity, Handle] = {}
        """Every guardian that has reported and was not yet disposed of, idle or not."""
        self._maker = WorkerMaker(starter, self._on_ready, first_pause_s)
        self._cold: Counter[Level] = Counter()
        """The number of requests that wait for a worker of another level."""
        self._keeping = False

    @property
    def ready(self) -> int:
        return len(self._ready)

    @property
    def last_error(self) -> str | None:
        """Why the last start failed; None if it did not."""
        return self._maker.last_error

    @property
    def trouble(self) -> str | None:
        """Since when no worker could be started, and why, for a person; None if that works."""
        return self._maker.trouble

    @property
    def thread(self) -> HelperThread:
        return self._starter.thread

    def request(self, level: Level) -> asyncio.Future[Worker]:
        """Return the next worker, in order. Cancel the future to give up. Workers of another level are started on
        request.
        """
        future: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        if self._closed:
            future.cancel()
            return future
        if level is not self._level:
            self._spawn(self._start_cold(level, future))
            return future
        usable = self._next_healthy()
        if usable is not None:
            future.set_result(usable)
        else:
            self._waiting.append(future)
        self.fill()
        return future

    def _next_healthy(self) -> Worker | None:
        while self._ready:
            ready = self._ready.popleft()
            if ready.healthy:
                return ready
            log.warning("idle_set_unfit", guardian=ready.guardian.pid)
            self.retired.add(ready, damaged=True)
        return None

    async def take(self) -> Worker:
        """Return the next worker of the server's level. After a cancellation it goes back to the pool."""
        future = self.request(self._level)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.return_unused(future.result())
            raise

    def return_unused(self, unused: Worker) -> None:
        """Return a worker that never had a job."""
        if not unused.healthy or unused.level is not self._level:
            self.retire(unused)
        else:
            self._deliver(unused)

    def fill(self) -> None:
        """Start missing workers. While starts fail, one is tried at a time, even if none is missing any more."""
        if self._closed:
            return
        if not self._keeping:
            self._keeping = True
            self._spawn(keep_up(self._starter, self._has_guardian))
        self._waiting = deque(future for future in self._waiting if not future.done())
        missing = self._size + len(self._waiting) - len(self._ready) - self._starting
        at_once = MAX_STARTING
        if self._maker.fails(self._level):
            missing, at_once = max(missing, 1), 1
        for _ in range(min(missing, at_once - self._starting)):
            self._starting += 1
            self._spawn(self._start_warm())

    def _spawn(self, start: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(start)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start_warm(self) -> None:
        try:
            ready = await self._maker.make(self._level)
            if ready is not None:
                self._deliver(ready)
        finally:
            self._starting -= 1
        self.fill()

    async def _start_cold(self, level: Level, future: asyncio.Future[Worker]) -> None:
        self._cold[level] += 1
        try:
            while not future.done():
                ready = await self._maker.make(level)
                if ready is None:
                    continue
                if future.done():
                    self._lost(ready)
                else:
                    future.set_result(ready)
        finally:
            future.cancel()  # no effect on one that is done
            self._cold[level] -= 1
            if not self._cold[level]:
                self._maker.forget(level)

    def _has_guardian(self, pid: int) -> bool:
        return any(guardian.pid == pid for guardian in self.guardians)

    def _on_ready(self, fresh: Worker) -> None:
        fresh.watch_exit(fresh.guardian, lambda: self._lost(fresh))
        self.guardians[fresh.guardian.identity] = fresh.guardian

    def _deliver(self, ready: Worker) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(ready)
                return
        if self._closed:
            self._lost(ready)
        else:
            self._ready.append(ready)

    def _lost(self, idle: Worker) -> None:
        # The idle guardian was killed, or the pool is closing. Its runner dies with it.
        was_ready = idle in self._ready
        if was_ready:
            self._ready.remove(idle)
        self.retired.add(idle, damaged=was_ready)
        if not self._closed:
            self.fill()

    def retire(self, used: Worker) -> None:
        """Dispose of a worker whose guardian has ended or is about to."""
        self.retired.add(used)

    def _on_disposed(self, used: Worker) -> None:
        self.guardians.pop(used.guardian.identity, None)
        self._starter.retire(used.started)

    async def close(self) -> None:
        """End the idle workers, and wait for them at most START_TIMEOUT_S."""
        self._closed = True
        self.retired.clear = None
        for future in self._waiting:
            future.cancel()
        starting = list(self._tasks)
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        while self._ready:
            self.retire(self._ready.popleft())
        await self.retired.wait()
