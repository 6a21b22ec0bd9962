"""Collect the changes of one turn of the event loop in one batch, so a state and its events are written together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from supervisor.core.jobs.event_log import Event
from supervisor.core.journal.batch import Batch, Report
from supervisor.core.journal.write_state import WriteStates
from supervisor.errors import StorageFull


class Turn:
    """The current turn. `hand_over` is called with its batch once the turn is over."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, states: WriteStates, hand_over: Callable[[Batch], None]
    ) -> None:
        self._loop = loop
        self._states = states
        self._hand_over = hand_over
        self.batch = Batch()
        self._touched: dict[int, list[Event]] = {}
        self._ends_soon = False
        self._waiters: list[tuple[Batch, asyncio.Future[None]]] = []

    def touches(self, seq: int) -> bool:
        return seq in self._touched

    def note(self, seq: int, event: Event | None) -> None:
        """Include the job, as it is when the turn ends, and the event."""
        events = self._touched.setdefault(seq, [])
        if event is not None:
            events.append(event)
            self.batch.size_bytes += len(event.data)

    def forget(self, seq: int) -> None:
        """Drop the changes of a job."""
        self._touched.pop(seq, None)

    def end_soon(self) -> None:
        """Hand the batch over once the loop has run the callbacks that are ready now."""
        if not self._ends_soon:
            self._ends_soon = True
            self._loop.call_soon(self.end)

    def end(self) -> None:
        self._ends_soon = False
        batch, self.batch = self.batch, Batch()
        touched, self._touched = self._touched, {}
        for seq, events in touched.items():
            standing = self._states.get(seq)
            if standing is not None:
                batch.asked = batch.asked or standing.new
                batch.changes[seq] = standing.change(events)
        self._hand_over(batch)

    def written(self) -> asyncio.Future[None]:
        """Return a future that is done when this turn's batch is written, or fails with StorageFull."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append((self.batch, future))
        return future

    def answer(self, report: Report) -> None:
        """Resolve the futures of the batches in the report."""
        done = {id(batch) for batch in report.batches}
        for batch, future in self._waiters:
            if id(batch) in done and not future.done():
                if report.written:
                    future.set_result(None)
                else:
                    future.set_exception(StorageFull(f"cannot write the journal: {report.error}"))
        self._waiters = [waiter for waiter in self._waiters if id(waiter[0]) not in done]
