"""One thread beside the event loop, for computing that would hold up every client there."""

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
    """Does one piece of work after the other. Belongs to the event loop; the thread exists from the beginning."""

    def __init__(self, name: str, *, max_waiting: int = MAX_WAITING) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._executor.submit(int)  # starts the thread, which later may not be possible any more
        self._max_waiting = max_waiting
        self._waiting = 0

    async def run(self, work: Callable[[], T], *, patient: bool = False) -> T:
        """What the work returns or raises. Raises NotReady when too much waits already, unless it is `patient`."""
        if self._waiting >= self._max_waiting and not patient:
            raise NotReady(f"cannot check the request yet: {self._waiting} large ones wait; try again", RETRY_AFTER_S)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Begin nothing more, and wait for what is being done."""
        self._executor.shutdown(cancel_futures=True)
