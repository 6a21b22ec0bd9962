"""When to sweep a tree again. It forks while it is read, so it is never read completely. Pure: the caller passes the
time.

A round that found new processes is soon followed by the next one, because there may be more. A round that found only
processes that have had their signal is followed after a pause that doubles: they are ending, and the end of a child
wakes the guardian anyway. A hundred guardians that check every few milliseconds would take the time that the ends need.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class SweepPacing:
    """Seconds: `after_newcomers_s`, and the first and longest pause without new processes. The first round is due at
    once.
    """

    after_newcomers_s: float
    first_pause_s: float
    longest_pause_s: float
    due: float = 0.0
    _pause_s: float = 0.0

    @classmethod
    def of_terminate(cls) -> SweepPacing:
        return cls(after_newcomers_s=0.02, first_pause_s=0.02, longest_pause_s=0.16)

    @classmethod
    def of_kill(cls) -> SweepPacing:
        """Return short pauses, because a fork storm needs a sweep that is faster."""
        return cls(after_newcomers_s=0.0, first_pause_s=0.002, longest_pause_s=0.032)

    def made(self, now: float, *, newcomers: bool) -> None:
        """Schedule the next round after one that was made at `now`."""
        if newcomers:
            self._pause_s = 0.0
            self.due = now + self.after_newcomers_s
        else:
            self._pause_s = min(self._pause_s * 2 or self.first_pause_s, self.longest_pause_s)
            self.due = now + self._pause_s
