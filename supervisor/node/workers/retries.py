"""What fails again and again: tried with growing pauses, logged when it changes, and told with since when."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 4.0
"""Pauses double between these, so that a machine out of processes is not asked in a tight loop."""


class Retries:
    """One thing that is tried until it works, perhaps several times at once."""

    def __init__(self, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self.failures = 0
        """In a row; those that come together, before the pause after the first of them is over, are one."""
        self.words: str | None = None
        """Why it failed last; None when it works."""
        self._first_pause_s = first_pause_s
        self._paused_until = -math.inf
        self._since = datetime.now(UTC)

    def failed(self, words: str, now: float) -> tuple[float, bool]:
        """Take note of a failure at `now` (monotonic). Return the pause in seconds, and whether these words are new."""
        news = self.words is None or _without_numbers(words) != _without_numbers(self.words)
        self.words = words
        if now >= self._paused_until:
            if self.failures == 0:
                self._since = datetime.now(UTC)
            self._paused_until = now + min(self._first_pause_s * 2 ** min(self.failures, 16), LONGEST_PAUSE_S)
            self.failures += 1
        return self._paused_until - now, news

    def succeeded(self) -> int:
        """It works. After how many failures in a row."""
        failures, self.failures, self.words = self.failures, 0, None
        self._paused_until = -math.inf
        return failures

    def told(self, what: str) -> str | None:
        """For a person: since when `what` could not be done, and why. None when it can."""
        if self.words is None:
            return None
        tries = "once" if self.failures == 1 else f"{self.failures} times"
        return f"{what} since {self._since:%Y-%m-%dT%H:%M:%SZ} (tried {tries}): {self.words}"


def _without_numbers(words: str) -> str:
    """Without what is different each time although it is the same: the number of a process or of a cgroup."""
    return re.sub(r"[0-9]+", "0", words)
