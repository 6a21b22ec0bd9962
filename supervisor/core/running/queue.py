"""Admission: at most `max_running` jobs run, at most `max_queued` wait in a FIFO queue, and more are rejected.

A token may have lower limits. Its jobs wait when it reaches them, even if slots are free, and do not block jobs of
other tokens behind them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Mapping

from supervisor.errors import QueueFull
from supervisor.tokens import TokenLimits

RETRY_AFTER_S = 1
_NO_LIMITS = TokenLimits()


class Queue:
    """Slots and the queue for them. Only for use on the event loop."""

    def __init__(self, max_running: int, max_queued: int, limits: Mapping[str, TokenLimits] | None = None) -> None:
        self._free = max_running
        self._max_queued = max_queued
        self._limits = limits or {}
        self._running: Counter[str] = Counter()
        self._queues: dict[str, deque[Slot]] = {}
        """One queue for each token with waiting jobs. The numbers of the places give the order between queues."""
        self._numbers = itertools.count()
        self._closed = False

    def close(self) -> None:
        """Admit no more jobs. Those that wait are left to the next server."""
        self._closed = True

    @property
    def waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    def enter(self, token: str = "", *, again: bool = False) -> Slot:
        """Return a slot or a place in the queue. Raise QueueFull if it is full; `again` means admitted before."""
        place = Slot(self, token, next(self._numbers))
        if self._free > 0 and token not in self._queues and not self._closed and self._may_run(token):
            self._admit(place)
            return place
        if not again:
            self._check_room(token)
        self._queues.setdefault(token, deque()).append(place)
        return place

    def _check_room(self, token: str) -> None:
        limit = self._limits.get(token, _NO_LIMITS).max_queued
        queue = self._queues.get(token)
        if limit is not None and len(queue or ()) >= limit:
            raise QueueFull(
                f"cannot take the job: {limit} jobs of token {token!r} already wait, its limit; try again later",
                RETRY_AFTER_S,
            )
        if self.waiting >= self._max_queued:
            raise QueueFull(
                f"cannot take the job: {self.waiting} jobs already wait (DEADSTOP_MAX_QUEUED); try again later",
                RETRY_AFTER_S,
            )

    def leave(self, place: Slot) -> None:
        """Release a slot, or a place in the queue."""
        if not place.admitted.is_set():
            self._queues[place.token].remove(place)
            self._drop_if_empty(place.token)
            return
        self._free += 1
        self._running[place.token] -= 1
        following = self._next()
        if following is not None:
            self._queues[following.token].popleft()
            self._drop_if_empty(following.token)
            self._admit(following)

    def _may_run(self, token: str) -> bool:
        limit = self._limits.get(token, _NO_LIMITS).max_running
        return limit is None or self._running[token] < limit

    def _next(self) -> Slot | None:
        """Return the oldest place whose token may run one more job."""
        if self._closed:
            return None
        heads = (queue[0] for token, queue in self._queues.items() if self._may_run(token))
        return min(heads, key=lambda place: place.number, default=None)

    def _admit(self, place: Slot) -> None:
        self._free -= 1
        self._running[place.token] += 1
        place.admitted.set()

    def _drop_if_empty(self, token: str) -> None:
        if not self._queues[token]:
            del self._queues[token]


class Slot:
    """One job's place. Use `with`, which leaves it exactly once."""

    def __init__(self, admission: Queue, token: str, number: int) -> None:
        self._admission = admission
        self.token = token
        self.number = number
        self.admitted = asyncio.Event()

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *_: object) -> None:
        self._admission.leave(self)
