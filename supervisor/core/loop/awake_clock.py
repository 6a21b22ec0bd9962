"""The clock for deadlines of clients and runners: it stands still while the server itself sleeps.

The server can notice a renewed lease, a heartbeat or a reading client only while it runs. If it was stopped (SIGSTOP),
suspended with its machine or blocked by a disk, that time does not count against the others. The clock does not depend
on wall time, which people can set. A job's timeout uses another clock, because the job's processes continue to run
while the server sleeps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

TICK_S = 0.1
"""Time between two ticks of the loop."""
STALL_S = 0.5
"""A longer pause between two ticks counts as sleep."""


class AwakeTimer:
    """Calls back once the server has been awake for the delay. Created by `AwakeClock.call_later`."""

    def __init__(self, clock: AwakeClock, delay_s: float, callback: Callable[..., object], *arguments: Any) -> None:
        self._clock = clock
        self._due = clock.now() + delay_s
        self._callback = callback
        self._arguments = arguments
        self._handle = asyncio.get_running_loop().call_later(delay_s, self._look)

    def cancel(self) -> None:
        """Do not call back. It may be called repeatedly, and after the callback."""
        self._handle.cancel()

    @property
    def due_at(self) -> float:
        """The monotonic time when the callback was due. The loop may have run it later."""
        return time.monotonic() - max(0.0, self._clock.now() - self._due)

    def _look(self) -> None:
        left_s = self._due - self._clock.now()
        if left_s > 0:
            self._handle = asyncio.get_running_loop().call_later(left_s, self._look)
        else:
            self._callback(*self._arguments)


class AwakeClock:
    """Only for use on the event loop, where `run` must run. `monotonic` is in seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen_at = monotonic()
        self._slept_s = 0.0

    def now(self) -> float:
        """Return the seconds since an arbitrary moment in which the server was awake."""
        now = self._monotonic()
        pause_s = now - self._seen_at
        self._seen_at = now
        if pause_s > STALL_S:
            # The first call after a sleep detects it, so the order of the callbacks does not matter.
            self._slept_s += pause_s - TICK_S
        return now - self._slept_s

    async def run(self) -> None:
        """Keep the clock running, for ever."""
        while True:
            self.now()
            await asyncio.sleep(TICK_S)

    def call_later(self, delay_s: float, callback: Callable[..., object], *arguments: Any) -> AwakeTimer:
        """Call `callback` once the server has been awake for `delay_s` from now on."""
        return AwakeTimer(self, delay_s, callback, *arguments)

    async def wait_any(self, waiting: list[Awaitable[object]], bound_s: float) -> None:
        """Wait until one of these is done or the server has been awake for `bound_s`. Cancel the others."""
        over = asyncio.Event()
        timer = self.call_later(bound_s, over.set)
        tasks = [asyncio.ensure_future(each) for each in (*waiting, over.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            for task in tasks:
                task.cancel()
