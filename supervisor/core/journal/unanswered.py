"""Batches that the writer has not answered for yet, and what is done when that takes too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from supervisor.core.journal.batch import Batch

STALL_BOUND_S = 0.5
"""Past this a write counts as stuck: events are released unwritten."""
HANGS_AFTER_S = 2.0
"""Past this the disk counts as one that does not answer, until it does: then nothing is waited for any more."""


class Unanswered:
    """Belongs to the event loop. `release` is called with each batch that has waited too long, perhaps again and again;
    `on_hang` once, each time that the disk begins to hang."""

    def __init__(self, release: Callable[[Batch], None], on_hang: Callable[[], None]) -> None:
        self._release = release
        self._on_hang = on_hang
        self._batches: dict[int, tuple[float, Batch]] = {}
        """By the batch's identity, oldest first, with the time since when it waits."""
        self._hangs = False
        self._look: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, batch: Batch) -> None:
        """The batch was handed over."""
        self._batches[id(batch)] = (time.monotonic(), batch)
        if self._hangs:
            self._release(batch)
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(STALL_BOUND_S, self._look_for_stall)

    def answered(self, batches: list[Batch]) -> None:
        """They were written, or could not be: either way the disk answers."""
        self._hangs = False
        for batch in batches:
            self._batches.pop(id(batch), None)

    def close(self) -> None:
        if self._look is not None:
            self._look.cancel()

    def _look_for_stall(self) -> None:
        """Release what has waited too long. New jobs wait on: they may still be accepted."""
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
