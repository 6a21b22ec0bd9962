"""When what the event loop reports has happened: not when the loop came to it, if it was busy before.

The loop asks the kernel for events once in each turn. One that is reported at once may have waited there since the last
time it was asked; one that the loop had to wait for has just come, unless the process was stopped while it waited. So
the lateness of the loop counts, for instance against the budget of a cancel, and not as if the client had left later.
"""

from __future__ import annotations

import asyncio
import selectors
import time

WAITED_S = 0.001
"""An answer of the kernel that took longer was waited for."""

OVERSLEPT_S = 0.1
"""A wait that ends so much later than it should have, at the latest, means that the process was stopped in it."""


class PollClock(selectors.EpollSelector):
    """The loop's selector, which notes when it was asked. All times are monotonic seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._answered = self.since = self.since_before = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        asked = time.monotonic()
        events = super().select(timeout)
        seen = now = time.monotonic()
        if timeout is not None and now - asked > max(timeout, 0.0) + OVERSLEPT_S:
            seen = asked + max(timeout, 0.0)  # what came later may have come while the process was stopped
        self.since_before = self.since
        self.since = seen if seen - asked > WAITED_S else self._answered
        self._answered = seen
        return events


class ClockedLoop(asyncio.SelectorEventLoop):
    """An event loop that knows how long its events may have waited for it."""

    def __init__(self) -> None:
        self.clock = PollClock()
        super().__init__(self.clock)


def event_since(loop: asyncio.AbstractEventLoop) -> float:
    """The earliest moment at which an event that is reported in this turn of the loop can have happened."""
    return loop.clock.since if isinstance(loop, ClockedLoop) else time.monotonic()


def callback_since(loop: asyncio.AbstractEventLoop) -> float:
    """The same for an event of the turn before, whose consequence was put off until this one."""
    return loop.clock.since_before if isinstance(loop, ClockedLoop) else time.monotonic()
