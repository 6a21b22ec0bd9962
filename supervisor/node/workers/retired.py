"""Workers that are used up or damaged, each until its guardian has ended and nothing of it is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import structlog

from supervisor.node.cleanup.kill_round import SweepTarget, reap
from supervisor.node.workers.starter import START_TIMEOUT_S
from supervisor.node.workers.worker import Worker

log = structlog.get_logger()


class RetiredWorkers:
    """Belongs to the event loop. `on_disposed` is called with each worker once nothing of it is left."""

    def __init__(
        self, spawn: Callable[[Coroutine[None, None, None]], None], on_disposed: Callable[[Worker], None]
    ) -> None:
        self._spawn = spawn
        self._on_disposed = on_disposed
        self._leaving: dict[Worker, asyncio.TimerHandle] = {}
        self._left = asyncio.Event()
        self._damaged: set[Worker] = set()
        self.clear: Callable[[SweepTarget], Awaitable[bool]] | None = None
        """A callback that ends the processes of a guardian that was killed while it had no job."""

    def __len__(self) -> int:
        return len(self._leaving)

    def add(self, used: Worker, *, damaged: bool = False) -> None:
        """Dispose of a worker whose guardian has ended or is about to. A damaged one ended while it had no job, but not
        because the pool ended it.
        """
        if damaged:
            self._damaged.add(used)
        used.disconnect()
        # A stopped guardian does not notice the end of its lifeline.
        self._leaving[used] = asyncio.get_running_loop().call_later(START_TIMEOUT_S, used.guardian.kill)
        used.watch_exit(used.guardian, lambda: self._guardian_ended(used))

    async def wait(self) -> None:
        """Wait until all are disposed of, at most START_TIMEOUT_S; then kill the rest."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while self._leaving:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            for stopped in [*self._leaving]:
                stopped.guardian.kill()
                self._dispose(stopped)

    def _guardian_ended(self, used: Worker) -> None:
        if used in self._damaged and self.clear is not None:
            self._spawn(self._clear_and_dispose(used, self.clear))
        else:
            self._dispose(used)

    async def _clear_and_dispose(self, used: Worker, clear: Callable[[SweepTarget], Awaitable[bool]]) -> None:
        try:
            if not await clear(SweepTarget(used.guardian, used.started.plan.leaf)):
                log.warning("idle_set_not_cleared", guardian=used.guardian.pid)
        except Exception:
            log.exception("idle_set_not_cleared", guardian=used.guardian.pid)
        finally:
            self._dispose(used)

    def _dispose(self, used: Worker) -> None:
        self._damaged.discard(used)
        self._leaving.pop(used).cancel()
        self._left.set()
        used.close()
        reap(used.guardian.pid)  # it is a child of this process only if the forkserver died first
        self._on_disposed(used)
