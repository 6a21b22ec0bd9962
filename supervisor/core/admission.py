"""Who may run: at most `max_running` jobs at once, then a FIFO queue of at most `max_queued`, then a refusal."""

from __future__ import annotations

import asyncio
from collections import deque

from supervisor.errors import QueueFull

RETRY_AFTER_S = 1


class Admission:
    """Slots and the queue for them. Belongs to the event loop; nothing here blocks but `turn`."""

    def __init__(self, max_running: int, max_queued: int) -> None:
        self._free = max_running
        self._max_queued = max_queued
        self._queue: deque[Place] = deque()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def enter(self) -> Place:
        """A slot or a place in the queue, at once. Raises QueueFull."""
        place = Place(self)
        if self._free > 0 and not self._queue:
            self._free -= 1
            place.admit()
        elif len(self._queue) >= self._max_queued:
            raise QueueFull(
                f"cannot take the job: {len(self._queue)} jobs already wait (MAX_QUEUED); try again later",
                RETRY_AFTER_S,
            )
        else:
            self._queue.append(place)
        return place

    def leave(self, place: Place) -> None:
        """Give up a slot, or a place in the queue."""
        if not place.admitted.is_set():
            self._queue.remove(place)
            return
        self._free += 1
        if self._queue:
            self._free -= 1
            self._queue.popleft().admit()


class Place:
    """One job's place. Leave it exactly once, by `with`."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.admitted = asyncio.Event()

    def admit(self) -> None:
        self.admitted.set()

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self._admission.leave(self)
