"""The events of all jobs in one stream, for dashboards. A slow reader loses the oldest ones, and learns how many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from supervisor.core.jobs.event_log import Event
from supervisor.core.jobs.model import SERVER, Caller

MAX_BUFFERED = 2_000
MAX_BUFFERED_BYTES = 4 * 1024 * 1024
"""The limit for one reader. Events have up to 32 KiB, so a limit on their number would not be enough."""


class Subscription:
    """One reader's buffer. It gets the events of jobs that `caller` may see."""

    def __init__(self, caller: Caller, max_buffered: int, max_bytes: int, on_drop: Callable[[int], None]) -> None:
        self.caller = caller
        self._buffer: deque[Event] = deque()
        self._max_buffered = max_buffered
        self._max_bytes = max_bytes
        self._on_drop = on_drop
        self._wake = asyncio.Event()
        self._closed = False
        self.size_bytes = 0
        self.dropped = 0
        """The number of events dropped since the reader last reset it, after reporting it to its client."""

    def put(self, event: Event) -> None:
        self._buffer.append(event)
        self.size_bytes += len(event.data)
        while len(self._buffer) > self._max_buffered or self.size_bytes > self._max_bytes:
            self._take()
            self.dropped += 1
            self._on_drop(1)
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._buffer:
                yield self._take()
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()

    def _take(self) -> Event:
        event = self._buffer.popleft()
        self.size_bytes -= len(event.data)
        return event


class Feed:
    """Distributes events to readers. Only for use on the event loop."""

    def __init__(
        self,
        on_drop: Callable[[int], None] = lambda _: None,
        *,
        max_buffered: int = MAX_BUFFERED,
        max_bytes: int = MAX_BUFFERED_BYTES,
    ) -> None:
        """`on_drop` is called with the number of events that a reader has lost."""
        self._subscriptions: set[Subscription] = set()
        self._on_drop = on_drop
        self._max_buffered = max_buffered
        self._max_bytes = max_bytes

    def publish(self, token: str, event: Event) -> None:
        """Distribute an event of a job that was created with the token of this name."""
        for subscription in self._subscriptions:
            if subscription.caller.sees(token):
                subscription.put(event)

    def subscribe(self, caller: Caller = SERVER) -> Subscription:
        """Return a buffer for events from now on. Pass it to `unsubscribe` at the end."""
        subscription = Subscription(caller, self._max_buffered, self._max_bytes, self._on_drop)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every reader after its buffered events."""
        for subscription in self._subscriptions:
            subscription.close()
