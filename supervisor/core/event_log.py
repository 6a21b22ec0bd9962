"""A job's numbered events, and the readers that follow them.

Kept in memory, bounded per job by count and bytes; the oldest go first and a reader who asks for them is told
with a `Gap`. A reader never holds up the job: it has a cursor, not a queue, and what was trimmed before it came
is a gap too. Sequence numbers start at 1 and have no holes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from supervisor.core.model import Json

MAX_EVENTS = 10_000
MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One numbered event. `data` is the whole line that clients get: ASCII JSON with id, job_id, type and at."""

    id: int
    job_id: str
    type: str
    data: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Events `first` to `last` (inclusive) are no longer kept."""

    first: int
    last: int


class EventLog:
    """The events of one job. Not thread-safe: it belongs to the event loop."""

    def __init__(
        self,
        job_id: str,
        *,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
        on_append: Callable[[Event], None] | None = None,
    ) -> None:
        self._job_id = job_id
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._on_append = on_append
        self._events: deque[Event] = deque()
        self._changed = asyncio.Event()
        self.size_bytes = 0
        self.last_id = 0
        self.closed = False

    def append(self, type_: str, fields: dict[str, Json], *, at: datetime | None = None) -> Event:
        """Number and keep one event. Raises RuntimeError after `close`: a terminal event is always the last."""
        if self.closed:
            raise RuntimeError(f"cannot append {type_} to job {self._job_id}: its terminal event was written")
        self.last_id += 1
        when = (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"id": self.last_id, "job_id": self._job_id, "type": type_, "at": when}
        # ensure_ascii and one line: nothing that a job writes can break out of the SSE field.
        event = Event(self.last_id, self._job_id, type_, json.dumps(head | fields, ensure_ascii=True))
        self._events.append(event)
        self.size_bytes += len(event.data)
        while len(self._events) > self._max_events or self.size_bytes > self._max_bytes:
            self.size_bytes -= len(self._events.popleft().data)
        if self._on_append is not None:
            self._on_append(event)
        self._wake()
        return event

    def close(self) -> None:
        """No more events will come. Readers end after the last one."""
        self.closed = True
        self._wake()

    def drop_kept(self) -> None:
        """Forget every kept event to give the memory back; readers get a gap."""
        self._events.clear()
        self.size_bytes = 0

    def read(self, after: int, limit: int = 500) -> list[Event | Gap]:
        """What is kept behind event number `after`, at most `limit` items, a Gap first if some are gone."""
        first_kept = self._events[0].id if self._events else self.last_id + 1
        items: list[Event | Gap] = []
        if after + 1 < first_kept and after < self.last_id:
            items.append(Gap(after + 1, first_kept - 1))
            after = first_kept - 1
        start = max(0, after - first_kept + 1)
        items.extend(itertools.islice(self._events, start, start + limit))
        return items

    async def wait_beyond(self, after: int) -> bool:
        """Wait until there is an event behind number `after`. False: closed, and there never will be."""
        while self.last_id <= after:
            if self.closed:
                return False
            await self._changed.wait()
        return True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
