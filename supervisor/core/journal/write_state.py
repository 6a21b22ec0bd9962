"""The progress of writing each job, as known to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from supervisor.core.jobs.event_log import Event
from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.journal.batch import Batch, Change, Report
from supervisor.core.journal.rows import JobRow
from supervisor.errors import StorageFull


class WriteState:
    """The progress of one job. `new` means that the writer does not know it yet."""

    def __init__(self, record: LiveJob, *, new: bool) -> None:
        self.record = record
        self.new = new
        self.state = None if new else record.job.state
        """The state that was last noted. A new state must be on the disk before readers see it."""
        self.version = 0
        self.written_version = 0
        self.settled = asyncio.Event()
        """Set when the job's first row was written or rejected."""
        self.refusal: str | None = None
        self.begins = False
        """Whether the job is about to start, which the file must record first."""
        self.begun = asyncio.Event()
        """Set when the file has recorded the start."""
        if not new:
            self.settled.set()

    async def accepted(self, bound_s: float) -> None:
        """Wait until the first row is on the disk. Raise StorageFull if it cannot be."""
        try:
            await asyncio.wait_for(self.settled.wait(), bound_s)
        except TimeoutError:
            # The row may still be written, so the job stays, and ends with the error that its client gets now.
            self.settled.set()
            raise StorageFull("cannot keep the job: the disk of DEADSTOP_STATE_DIR does not answer") from None
        if self.refusal is not None:
            raise StorageFull(f"cannot keep the job: {self.refusal}")

    def change(self, events: list[Event]) -> Change:
        """Return the change that is to be written now."""
        record, job, new = self.record, self.record.job, self.new
        if self.begins and job.state is State.QUEUED:
            job = replace(job, state=State.STARTING)
        self.version += 1
        self.new = False
        row = JobRow(record.seq, record.token, record.digest, job, record.held, record.log.last_id)
        return Change(row, new, self.version, events)


class WriteStates:
    """The progress of all jobs that may still change. `on_released` and `on_refused` are as in the journal."""

    def __init__(self, on_released: Callable[[LiveJob, Event], None], on_refused: Callable[[LiveJob], None]) -> None:
        self._on_released = on_released
        self._on_refused = on_refused
        self._by_seq: dict[int, WriteState] = {}

    def add(self, record: LiveJob, *, new: bool) -> None:
        self._by_seq[record.seq] = WriteState(record, new=new)

    def get(self, seq: int) -> WriteState | None:
        return self._by_seq.get(seq)

    def drop(self, seq: int) -> None:
        """Remove a job that will not change any more."""
        self._by_seq.pop(seq, None)

    def forget(self, seq: int) -> bool:
        """Remove a job that is to be deleted from the file. Return False if the writer has never got it."""
        standing = self._by_seq.pop(seq, None)
        if standing is None:
            return True
        # Notify readers and waiters now, because the journal will not report the job's end any more.
        standing.settled.set()
        self.release(standing.record, standing.record.log.last_id)
        return not standing.new

    def release(self, record: LiveJob, until: int) -> None:
        """Release the job's events up to number `until`."""
        for event in record.release(until):
            self._on_released(record, event)

    def release_late(self, batch: Batch) -> None:
        """Release a batch whose write takes too long. New jobs continue to wait: they may still be accepted."""
        for seq, change in batch.changes.items():
            standing = self._by_seq.get(seq)
            if standing is not None and standing.settled.is_set():
                self.release(standing.record, change.row.last_event_id)

    def settle(self, batch: Batch, report: Report) -> None:
        """Handle the result of a batch."""
        for seq, change in batch.changes.items():
            standing = self._by_seq.get(seq)
            if standing is None:
                continue
            if seq in report.refused:
                self._refuse(standing, report.error)
            else:
                if report.written:
                    self._written(standing, change)
                self.release(standing.record, change.row.last_event_id)
                if report.written:
                    # Only written events may be dropped from memory, so that a slow reader finds them in the file.
                    standing.record.log.written(change.row.last_event_id)

    def _written(self, standing: WriteState, change: Change) -> None:
        standing.written_version = change.version
        standing.settled.set()
        if standing.begins and change.row.job.state is not State.QUEUED:
            standing.begun.set()

    def _refuse(self, standing: WriteState, error: str) -> None:
        standing.refusal = error
        standing.settled.set()
        record = standing.record
        if record.job.state is State.QUEUED:
            # No reader has seen its first event. Its streams get the rejection instead.
            record.log.withdraw()
        else:
            self.release(record, record.log.last_id)
        if record.log.closed:
            self.drop(record.seq)
        self._on_refused(record)
