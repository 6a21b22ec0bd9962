"""Batches whose result the writer has not reported yet, and the reaction if that takes too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from supervisor.core.journal.batch import Batch

STALL_BOUND_S = 0.5
"""After this time a write counts as stuck, and its events are released unwritten."""
HANGS_AFTER_S = 2.0
"""After this time the disk counts as hanging until it answers, and nothing waits for it any more."""


class Unanswered:
    """Only for use on the event loop. `release` is called with each batch that has waited too long, perhaps repeatedly.
    `on_hang` is called once each time that the disk starts to hang."""

    def __init__(self, release: Callable[[Batch], None], on_hang: Callable[[], None]) -> None:
        self._release = release
        self._on_hang = on_hang
        self._batches: dict[int, tuple[float, Batch]] = {}
        """Batches by identity, oldest first, with the time when each began to wait."""
        self._hangs = False
        self._look: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, batch: Batch) -> None:
        """Add a batch that was handed to the writer."""
        self._batches[id(batch)] = (time.monotonic(), batch)
        if self._hangs:
            self._release(batch)
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(STALL_BOUND_S, self._look_for_stall)

    def answered(self, batches: list[Batch]) -> None:
        """Remove batches that were written, or failed: in both cases the disk answers."""
        self._hangs = False
        for batch in batches:
            self._batches.pop(id(batch), None)

    def close(self) -> None:
        if self._look is not None:
            self._look.cancel()

    def _look_for_stall(self) -> None:
        """Release batches that have waited too long. New jobs continue to wait: they may still be accepted."""
        self._look = None
        now = time.monotonic()
        next_s = STALL_BOUND_S
        for since, batch in self._batches.values():
            if now - since >= HANGS_AFTER_S and not self._hangs:
                self._hangs = True
                self._on_hang()
            if now - since < STALL_BOUND_S and not self._hangs:
                next_s = since + STALL_BOUND_S - now
                break
            self._release(batch)
        if self._batches:
            self._look = asyncio.get_running_loop().call_later(next_s, self._look_for_stall)
