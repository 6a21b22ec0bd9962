"""Measure the lag of the event loop: how much later than planned it wakes up."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

TICK_S = 0.1
WINDOW_S = 30.0
"""Longer than the 15 s or so between two queries of a monitoring system, so that it misses no lag."""


class LoopLag:
    """The longest lag of the last WINDOW_S seconds. `on_change` is called whenever it changes."""

    def __init__(self, on_change: Callable[[float], object]) -> None:
        self._on_change = on_change
        self._peaks: deque[tuple[float, float]] = deque()
        """Pairs of time and lag. Each lag is smaller than the one before it, so the first is the longest."""

    @property
    def longest_s(self) -> float:
        return self._peaks[0][1] if self._peaks else 0.0

    async def run(self) -> None:
        """Measure, for ever."""
        while True:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            self.seen(now, max(0.0, now - due))

    def seen(self, now: float, lag_s: float) -> None:
        """Record a wake-up that came `lag_s` too late."""
        while self._peaks and self._peaks[-1][1] <= lag_s:
            self._peaks.pop()
        self._peaks.append((now, lag_s))
        while self._peaks[0][0] < now - WINDOW_S:
            self._peaks.popleft()
        self._on_change(self._peaks[0][1])
