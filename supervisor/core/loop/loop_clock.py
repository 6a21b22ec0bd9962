"""Determine when an event happened, which is earlier than its handling if the event loop was busy.

The loop asks the kernel for events once in each turn. An event that is there at once may have waited since the last
time the loop asked. An event that the loop had to wait for has just happened, unless the process was stopped meanwhile.
So a delay of the loop counts, for example, against the budget of a cancel.
"""

from __future__ import annotations

import asyncio
import selectors
import time

WAITED_S = 0.001
"""If the kernel's answer took longer, the loop had to wait for an event."""

OVERSLEPT_S = 0.1
"""If a wait ends this much after its timeout, the process was stopped while it waited."""


class PollClock(selectors.EpollSelector):
    """The loop's selector, which notes when it is called. All times are monotonic seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._answered = self.since = self.since_before = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        asked = time.monotonic()
        events = super().select(timeout)
        seen = now = time.monotonic()
        if timeout is not None and now - asked > max(timeout, 0.0) + OVERSLEPT_S:
            seen = asked + max(timeout, 0.0)  # later events may have come while the process was stopped
        self.since_before = self.since
        self.since = seen if seen - asked > WAITED_S else self._answered
        self._answered = seen
        return events


class ClockedLoop(asyncio.SelectorEventLoop):
    """An event loop that knows how long its events may have waited."""

    def __init__(self) -> None:
        self.clock = PollClock()
        super().__init__(self.clock)


def event_since(loop: asyncio.AbstractEventLoop) -> float:
    """Return the earliest moment at which an event that is reported in this turn of the loop can have happened."""
    return loop.clock.since if isinstance(loop, ClockedLoop) else time.monotonic()


def callback_since(loop: asyncio.AbstractEventLoop) -> float:
    """Return the same for an event of the previous turn that is handled in this one."""
    return loop.clock.since_before if isinstance(loop, ClockedLoop) else time.monotonic()
