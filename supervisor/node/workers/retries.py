"""Retries of an operation that keeps failing: with growing pauses, and with a log line only when the reason changes."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 4.0
"""Pauses double between these, so that a machine without free processes is not tried in a tight loop."""


class Retries:
    """One operation that is tried until it works, perhaps several times at once."""

    def __init__(self, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self.failures = 0
        """Failures in a row. Failures during the pause after the first of them count as one."""
        self.reason: str | None = None
        """Why it failed last; None if it works."""
        self._first_pause_s = first_pause_s
        self._paused_until = -math.inf
        self._since = datetime.now(UTC)

    def failed(self, reason: str, now: float) -> tuple[float, bool]:
        """Record a failure at `now` (monotonic). Return the pause in seconds, and whether the reason is new."""
        is_new = self.reason is None or _without_numbers(reason) != _without_numbers(self.reason)
        self.reason = reason
        if now >= self._paused_until:
            if self.failures == 0:
                self._since = datetime.now(UTC)
            self._paused_until = now + min(self._first_pause_s * 2 ** min(self.failures, 16), LONGEST_PAUSE_S)
            self.failures += 1
        return self._paused_until - now, is_new

    def succeeded(self) -> int:
        """Record a success. Return the number of failures in a row before it."""
        failures, self.failures, self.reason = self.failures, 0, None
        self._paused_until = -math.inf
        return failures

    def describe(self, what: str) -> str | None:
        """Return, for a person, since when and why `what` could not be done. Return None if it works."""
        if self.reason is None:
            return None
        tries = "once" if self.failures == 1 else f"{self.failures} times"
        return f"{what} since {self._since:%Y-%m-%dT%H:%M:%SZ} (tried {tries}): {self.reason}"


def _without_numbers(reason: str) -> str:
    """Leave out the numbers of processes or cgroups, which differ each time although the reason is the same."""
    return re.sub(r"[0-9]+", "0", reason)
