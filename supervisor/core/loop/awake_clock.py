"""One clock for what is expected of others: it stands still while the server itself sleeps.

A client renews its lease, a runner sends its heartbeat, a reader takes what was sent: the server can see that only
while it runs. When it was stopped (SIGSTOP), suspended with its machine or held up by a disk, nothing that was due in
that time is held against them. Wall time, which people set, is not used. The timeout of a job is not measured by this
clock: its processes run on while the server sleeps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

TICK_S = 0.1
"""How often the loop shows that it runs."""
STALL_S = 0.5
"""A longer pause between two ticks counts as sleep."""


class AwakeTimer:
    """Calls back once, when the server has been awake for so long. Made by `AwakeClock.call_later`."""

    def __init__(self, clock: AwakeClock, delay_s: float, callback: Callable[..., object], *arguments: Any) -> None:
        self._clock = clock
        self._due = clock.now() + delay_s
        self._callback = callback
        self._arguments = arguments
        self._handle = asyncio.get_running_loop().call_later(delay_s, self._look)

    def cancel(self) -> None:
        """Do not call back. Again is harmless, also after the call."""
        self._handle.cancel()

    @property
    def due_at(self) -> float:
        """When it was due, on the monotonic clock: the loop may have come to it later."""
        return time.monotonic() - max(0.0, self._clock.now() - self._due)

    def _look(self) -> None:
        left_s = self._due - self._clock.now()
        if left_s > 0:
            self._handle = asyncio.get_running_loop().call_later(left_s, self._look)
        else:
            self._callback(*self._arguments)


class AwakeClock:
    """Belongs to the event loop; `run` must run on it. `monotonic` is in seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen_at = monotonic()
        self._slept_s = 0.0

    def now(self) -> float:
        """Return seconds since some moment, without those that the server slept through."""
        now = self._monotonic()
        pause_s = now - self._seen_at
        self._seen_at = now
        if pause_s > STALL_S:
            # Whatever asks first after a sleep sees it, so it does not matter which callback the loop runs first.
            self._slept_s += pause_s - TICK_S
        return now - self._slept_s

    async def run(self) -> None:
        """Keep the clock going. Never returns."""
        while True:
            self.now()
            await asyncio.sleep(TICK_S)

    def call_later(self, delay_s: float, callback: Callable[..., object], *arguments: Any) -> AwakeTimer:
        """Call `callback` when the server has been awake for `delay_s` from now on."""
        return AwakeTimer(self, delay_s, callback, *arguments)

    async def wait_any(self, waiting: list[Awaitable[object]], bound_s: float) -> None:
        """Return when one of these has come, or the server has been awake for `bound_s`. The others are cancelled."""
        over = asyncio.Event()
        timer = self.call_later(bound_s, over.set)
        tasks = [asyncio.ensure_future(each) for each in (*waiting, over.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            for task in tasks:
                task.cancel()
