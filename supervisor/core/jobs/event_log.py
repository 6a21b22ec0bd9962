"""A job's numbered events, and the readers that follow them.

The log keeps the newest events, limited per job by count and bytes, and those that are not in the journal yet. The
journal has the rest: a `Gap` says which events to read there. A reader never delays the job, because it has a cursor
and not a queue. Sequence numbers start at 1 and have no gaps.

A gated log shows an event only after its release. The journal releases events once they are written, so that an event
which a reader has seen keeps its number after the server is killed. If the disk fails, the journal releases unwritten
events; the log then keeps them until `written` is called.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import to_json

from supervisor.core.jobs.model import Json

MAX_EVENTS = 4_000
MAX_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One numbered event. `data` is the complete line for clients: ASCII JSON with id, job_id, type and at."""

    id: int
    job_id: str
    type: str
    data: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Events `first` to `last` (inclusive) are not in the log. In a journal's answer they are no longer kept at all."""

    first: int
    last: int


class EventLog:
    """The events of one job. Only for use on the event loop."""

    def __init__(
        self,
        job_id: str,
        *,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
        on_append: Callable[[Event], None] | None = None,
        gated: bool = False,
        last_id: int = 0,
    ) -> None:
        """`last_id` is the number of the last earlier event. It and all before it count as released."""
        self.job_id = job_id
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._on_append = on_append
        self._gated = gated
        self._events: deque[Event] = deque()
        self._changed = asyncio.Event()
        self.size_bytes = 0
        self.last_id = last_id
        self.released_id = last_id
        """The number of the last event that readers see."""
        self._written_id = last_id
        self.closed = False

    @property
    def ended(self) -> bool:
        """Whether the last event was appended and released, so that readers need not wait for more."""
        return self.closed and self.released_id == self.last_id

    def append(self, type_: str, fields: Mapping[str, Json], *, at: datetime | None = None) -> Event:
        """Number and keep an event. Raise RuntimeError after `close`, because a terminal event is always the last."""
        if self.closed:
            raise RuntimeError(f"cannot append {type_} to job {self.job_id}: its terminal event was written")
        self.last_id += 1
        when = (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"id": self.last_id, "job_id": self.job_id, "type": type_, "at": when}
        # The data is ASCII and one line, so a job's text cannot break out of the SSE field.
        event = Event(self.last_id, self.job_id, type_, _line(head | dict(fields)))
        self._events.append(event)
        self.size_bytes += len(event.data)
        if not self._gated:
            self.written(self.last_id)
            self.release(self.last_id)
        if self._on_append is not None:
            self._on_append(event)
        return event

    def release(self, until: int) -> list[Event]:
        """Release events up to number `until`. Return those that are newly released and kept here."""
        first = self.released_id + 1
        if until < first:
            return []
        self.released_id = until
        self._wake()
        new: list[Event] = []
        for event in reversed(self._events):
            if event.id < first:
                break
            if event.id <= until:
                new.append(event)
        new.reverse()
        return new

    def written(self, until: int) -> None:
        """Note that events up to number `until` are in the journal, so that the oldest may be dropped at the limits."""
        self._written_id = until
        while len(self._events) > self._max_events or self.size_bytes > self._max_bytes:
            if self._events[0].id > until:
                return
            self.size_bytes -= len(self._events.popleft().data)

    def withdraw(self) -> None:
        """Remove the unreleased events, and free their numbers."""
        while self._events and self._events[-1].id > self.released_id:
            self.size_bytes -= len(self._events.pop().data)
        self.last_id = self.released_id

    def close(self) -> None:
        """End the log. Readers stop after its last event."""
        self.closed = True
        self._wake()

    def read(self, after: int, limit: int = 500) -> list[Event | Gap]:
        """Return released events after number `after`, at most `limit` items. A Gap comes first if some are missing."""
        if after >= self.released_id:
            return []
        first_kept = self._events[0].id if self._events else self.last_id + 1
        items: list[Event | Gap] = []
        if after + 1 < first_kept:
            last_missing = min(first_kept - 1, self.released_id)
            items.append(Gap(after + 1, last_missing))
            after = last_missing
        start = max(0, after - first_kept + 1)
        end = min(start + limit, self.released_id - first_kept + 1)
        # A deque finds indexes near its ends quickly, and most readers are near the end.
        items.extend(self._events[index] for index in range(start, end))
        return items

    async def wait_beyond(self, after: int) -> bool:
        """Wait until an event after number `after` is released. Return False if there will never be one."""
        while self.released_id <= after:
            if self.ended:
                return False
            await self._changed.wait()
        return True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _line(fields: dict[str, Json]) -> str:
    result = fields.get("result")
    if isinstance(result, list | dict):
        # A result may be a thousand times as long as the rest, and the other encoder is ten times as fast.
        raw = to_json(result)
        if raw.isascii():
            rest = json.dumps({name: value for name, value in fields.items() if name != "result"}, ensure_ascii=True)
            return f'{rest[:-1]}, "result": {raw.decode("ascii")}}}'
    return json.dumps(fields, ensure_ascii=True)
