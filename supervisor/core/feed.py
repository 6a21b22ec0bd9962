"""All jobs' events in one stream, for dashboards. A slow reader loses the oldest and is told how many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from supervisor.core.event_log import Event

MAX_BUFFERED = 2_000


class Subscription:
    """One reader's buffer."""

    def __init__(self, max_buffered: int) -> None:
        self._buffer: deque[Event] = deque()
        self._max_buffered = max_buffered
        self._wake = asyncio.Event()
        self._closed = False
        self.dropped = 0
        """Events lost since the reader last asked; it resets this when it has told its client."""

    def put(self, event: Event) -> None:
        if len(self._buffer) >= self._max_buffered:
            self._buffer.popleft()
            self.dropped += 1
        self._buffer.append(event)
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._buffer:
                yield self._buffer.popleft()
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()


class Feed:
    """Fans events out. Belongs to the event loop."""

    def __init__(self, max_buffered: int = MAX_BUFFERED) -> None:
        self._subscriptions: set[Subscription] = set()
        self._max_buffered = max_buffered

    def publish(self, event: Event) -> None:
        for subscription in self._subscriptions:
            subscription.put(event)

    def subscribe(self) -> Subscription:
        """From now on. Give it back with `unsubscribe`."""
        subscription = Subscription(self._max_buffered)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every reader after what it has buffered."""
        for subscription in self._subscriptions:
            subscription.close()
