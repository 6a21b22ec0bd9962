"""A clock that a test moves, and the server's awake clock on top of it."""

from __future__ import annotations

from supervisor.core.loop.awake_clock import TICK_S, AwakeClock


class SteppedClock:
    """`step` adds time in which the server is awake, `sleep` adds time in which it is suspended, both in seconds."""

    def __init__(self) -> None:
        self._now = 100.0
        self.awake = AwakeClock(lambda: self._now)

    def step(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        for _ in range(round(seconds / TICK_S)):
            self._now += TICK_S
            self.awake.now()

    def sleep(self, seconds: float) -> None:
        """Let time pass unseen."""
        self._now += seconds
