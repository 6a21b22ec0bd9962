"""Concurrent tasks on the event loop. An exception in one of them ends only that one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from supervisor.faults import Faults

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
"""The longest pause before a failed watch is started again. Pauses double up to it."""


class BackgroundTasks:
    """Use `start` for a task that ends by itself, such as a job's controller, and `keep` for an endless watch."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._tasks: set[asyncio.Task[None]] = set()
        self._watches: set[asyncio.Task[None]] = set()

    def start(self, life: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a coroutine as a task of its own. An exception from it is noted as a fault."""
        task = asyncio.get_running_loop().create_task(life, name=name)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, name))
        return task

    def keep(self, name: str, watch: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a watch that never returns, and start it again, after a pause, whenever it fails."""
        self._watches.add(self.start(self._keep(name, watch), name))

    async def _keep(self, name: str, watch: Callable[[], Coroutine[Any, Any, None]]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await watch()
            except Exception as exc:
                self._faults.note(name, exc)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._watches.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._faults.note(name, error)

    def stop_watches(self) -> None:
        """Cancel every watch. The other tasks go on."""
        for watch in self._watches:
            watch.cancel()

    async def close(self) -> None:
        """Stop the watches and wait until every task has ended. The caller must set a time limit."""
        self.stop_watches()
        while self._tasks:
            await asyncio.wait(self._tasks)
