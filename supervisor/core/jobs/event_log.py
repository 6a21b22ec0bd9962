"""A job's numbered events, and the readers that follow them.

What is kept here is the newest part, bounded per job by count and bytes, and what is not in the journal yet. It has the
rest, and a `Gap` says what to look for there. A reader never holds up the job: it has a cursor, not a queue. Sequence
numbers start at 1 and have no holes.

A gated log shows an event only once it was released, which the journal does when the event is written: what a reader
has seen is still there after the server was killed, under the same number. In trouble the journal releases events that
are not written; such a log lets none go before `written` says that it may.
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
    """One numbered event. `data` is the whole line that clients get: ASCII JSON with id, job_id, type and at."""

    id: int
    job_id: str
    type: str
    data: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Events `first` to `last` (inclusive) are not here; when the journal says so, they are no longer kept."""

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
        gated: bool = False,
        last_id: int = 0,
    ) -> None:
        """`last_id`: the log goes on behind this number, whose event and those before it are released."""
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
        """Readers see events up to this one."""
        self._written_id = last_id
        self.closed = False

    @property
    def ended(self) -> bool:
        """The last event was written and released: there is nothing to wait for."""
        return self.closed and self.released_id == self.last_id

    def append(self, type_: str, fields: Mapping[str, Json], *, at: datetime | None = None) -> Event:
        """Number and keep one event. Raises RuntimeError after `close`: a terminal event is always the last."""
        if self.closed:
            raise RuntimeError(f"cannot append {type_} to job {self.job_id}: its terminal event was written")
        self.last_id += 1
        when = (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"id": self.last_id, "job_id": self.job_id, "type": type_, "at": when}
        # ASCII and one line: nothing that a job writes can break out of the SSE field.
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
        """Let readers see events up to number `until`. Those of them that are new and kept here."""
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
        """Events up to number `until` are kept elsewhere, so past the bounds the oldest of them go."""
        self._written_id = until
        while len(self._events) > self._max_events or self.size_bytes > self._max_bytes:
            if self._events[0].id > until:
                return
            self.size_bytes -= len(self._events.popleft().data)

    def withdraw(self) -> None:
        """Take back what nobody has seen, numbers and all."""
        while self._events and self._events[-1].id > self.released_id:
            self.size_bytes -= len(self._events.pop().data)
        self.last_id = self.released_id

    def close(self) -> None:
        """No more events will come. Readers end after the last one."""
        self.closed = True
        self._wake()

    def read(self, after: int, limit: int = 500) -> list[Event | Gap]:
        """What is released behind event number `after`, at most `limit` items, a Gap first if some are not here."""
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
        # By index: a deque finds those near either end at once, and most readers are near the end.
        items.extend(self._events[index] for index in range(start, end))
        return items

    async def wait_beyond(self, after: int) -> bool:
        """Wait until readers see an event behind number `after`. False: there never will be one."""
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
        # It may be a thousand times as long as all else, and the other encoder is ten times as fast.
        raw = to_json(result)
        if raw.isascii():
            rest = json.dumps({name: value for name, value in fields.items() if name != "result"}, ensure_ascii=True)
            return f'{rest[:-1]}, "result": {raw.decode("ascii")}}}'
    return json.dumps(fields, ensure_ascii=True)
