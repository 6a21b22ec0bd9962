"""A thread beside the event loop, for computations that would delay every client there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from supervisor.errors import NotReady

MAX_WAITING = 32
RETRY_AFTER_S = 1

T = TypeVar("T")


class SideThread:
    """Runs one piece of work after the other. Only for use on the event loop. The thread is started at once."""

    def __init__(self, name: str, *, max_waiting: int = MAX_WAITING) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._executor.submit(int)  # starts the thread now, because it may not be possible later
        self._max_waiting = max_waiting
        self._waiting = 0

    async def run(self, work: Callable[[], T], *, patient: bool = False) -> T:
        """Run the work and return its result. Raise NotReady if too much is waiting, unless it is `patient`."""
        if self._waiting >= self._max_waiting and not patient:
            raise NotReady(f"cannot check the request yet: {self._waiting} large ones wait; try again", RETRY_AFTER_S)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Start nothing more, and wait for the work in progress."""
        self._executor.shutdown(cancel_futures=True)
