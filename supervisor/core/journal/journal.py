"""The event loop's interface to the journal. Only coroutines wait for the disk.

All changes of one turn of the loop go to the writer as one batch. When a batch is written, its events are released to
their readers. If it cannot be written, or the disk does not answer, they are released unwritten: a full disk must delay
neither a stream nor the proof of a job's end. Only new jobs are then rejected.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from supervisor.core.jobs.event_log import Event, Gap
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.journal import reader
from supervisor.core.journal.batch import Batch, Report
from supervisor.core.journal.open import FILE, Contents, open_journal, suspect
from supervisor.core.journal.reader import Reader, Wanted
from supervisor.core.journal.retention import Forgotten, Limits
from supervisor.core.journal.rows import EarlyRow, JobRow
from supervisor.core.journal.turn import Turn
from supervisor.core.journal.unanswered import HANGS_AFTER_S, Unanswered
from supervisor.core.journal.write_state import WriteStates
from supervisor.core.journal.writer import Writer
from supervisor.errors import StorageFull

ACCEPT_BOUND_S = 5.0
"""Time limit for writing the row of a new job."""
CLOSE_BOUND_S = 0.7
MAX_BACKLOG_BYTES = 32 * 1024 * 1024
"""Limit for unwritten events. Beyond it output is dropped before it gets a number. Everything else is written late."""
MAX_PAGE_BYTES = 4 * 1024 * 1024

log = structlog.get_logger()


class Journal:
    """Only for use on the event loop. `on_forgotten` gets jobs that retention has removed from the file, `on_released`
    every event that readers may now see, and `on_refused` jobs that could not be accepted."""

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        *,
        on_forgotten: Callable[[Forgotten], None],
        on_released: Callable[[LiveJob, Event], None],
        on_refused: Callable[[LiveJob], None],
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._on_forgotten = on_forgotten
        self._standings = WriteStates(on_released, on_refused)
        self._unanswered = Unanswered(
            self._standings.release_late,
            on_hang=lambda: self._tell(f"the disk does not answer for {HANGS_AFTER_S:g} s"),
        )
        self._last_seq = 0
        self.error = ""
        """Why nothing can be written at present; empty if writing works."""
        self.damaged: Path | None = None
        """The path to which a damaged journal was moved at the start."""

    async def open(self) -> Contents:
        """Open or create the file, and start the threads. Raise StartupError if the file cannot be used."""
        self._loop = asyncio.get_running_loop()
        self._turn = Turn(self._loop, self._standings, self._hand_over)
        opened = await asyncio.to_thread(open_journal, self._folder)
        if opened.set_aside is not None:
            self.damaged = opened.set_aside
            log.error("journal_set_aside", path=str(opened.set_aside), damage=opened.damage)
        self._last_seq = opened.contents.last_seq
        self._writer = Writer(
            opened.connection,
            self._limits,
            place=opened.place,
            on_report=lambda report: self._call(self._reported, report),
            on_forgotten=lambda jobs: self._call(self._forgotten, jobs),
            on_damage=partial(suspect, self._folder),
        )
        self._reader = Reader(self._folder / FILE)
        self._writer.start()
        self._reader.start()
        return opened.contents

    async def close(self) -> None:
        """Write the remaining batches and stop the threads, in a bounded time."""
        self._turn.end()
        self._writer.close()
        self._reader.close()
        deadline = time.monotonic() + CLOSE_BOUND_S
        while (self._writer.is_alive() or self._reader.is_alive()) and time.monotonic() < deadline:  # noqa: ASYNC110
            # to_thread is not used here, because its executor would be joined for ever if a disk hangs.
            await asyncio.sleep(0.002)
        self._unanswered.close()
        if self._writer.is_alive():
            log.error("journal_not_closed", error="the disk does not answer")

    # --- writing

    def next_seq(self) -> int:
        self._last_seq += 1
        return self._last_seq

    def add(self, record: LiveJob, *, new: bool) -> None:
        """Record a job from now on: a new one with its first event, one of an earlier server when it changes."""
        self._standings.add(record, new=new)

    def note(self, record: LiveJob, event: Event | None = None) -> None:
        """Note a change of the job: a new event, or only a new version of its row."""
        standing = self._standings.get(record.seq)
        if standing is None or standing.refusal is not None:
            # The job is in memory only, and the journal no longer records it.
            self._standings.release(record, record.log.last_id)
            if record.job.state.terminal:
                self._standings.drop(record.seq)
            return
        self._turn.note(record.seq, event)
        if standing.state is not record.job.state:
            standing.state = record.job.state
            self._turn.batch.durable = True
        self._turn.end_soon()

    async def accepted(self, record: LiveJob) -> None:
        """Wait until the job's row is on the disk. Raise StorageFull if it cannot be written: the job is rejected."""
        standing = self._standings.get(record.seq)
        if standing is not None:
            await standing.accepted(ACCEPT_BOUND_S)

    async def begins(self, record: LiveJob) -> None:
        """Wait until the file records that the job has started, so that no later server starts it again.

        The wait has no limit: while nothing can be written, no job starts.
        """
        standing = self._standings.get(record.seq)
        if standing is not None:
            standing.begins = self._turn.batch.prompt = True
            self.note(record)
            await standing.begun.wait()

    def not_begun(self, record: LiveJob) -> None:
        """Withdraw the record that the job has started."""
        standing = self._standings.get(record.seq)
        if standing is not None:
            standing.begins = False
            self.note(record)

    async def written(self) -> None:
        """Wait until everything noted so far is on the disk. Raise StorageFull if it cannot be written."""
        self._turn.batch.durable = self._turn.batch.asked = True
        self._turn.end_soon()
        try:
            await asyncio.wait_for(self._turn.written(), ACCEPT_BOUND_S)
        except TimeoutError:
            raise StorageFull("cannot write the journal: the disk of DEADSTOP_STATE_DIR does not answer") from None

    def is_written(self, record: LiveJob) -> bool:
        """Return whether the job is completely in the file, so that it may be dropped from memory."""
        standing = self._standings.get(record.seq)
        if standing is None or self._turn.touches(record.seq):
            return False
        return not standing.new and standing.written_version == standing.version

    def drop(self, record: LiveJob) -> None:
        """Stop recording a job that was dropped from memory."""
        self._standings.drop(record.seq)

    def forget(self, seq: int) -> None:
        """Remove a finished job from the file."""
        self._turn.forget(seq)
        if not self._standings.forget(seq):
            return
        self._turn.batch.forgotten.append(seq)
        self._turn.batch.durable = True
        self._turn.end_soon()

    def keep_early(self, row: EarlyRow) -> None:
        self._turn.batch.early.append(row)
        self._turn.batch.durable = True
        self._turn.end_soon()

    def take_early(self, token: str, job_id: str) -> None:
        self._turn.batch.early = [row for row in self._turn.batch.early if (row.token, row.id) != (token, job_id)]
        self._turn.batch.early_taken.append((token, job_id))
        self._turn.end_soon()

    @property
    def congested(self) -> bool:
        """Whether too much is unwritten, so that callers should drop events that are not essential."""
        return self._writer.backlog_bytes > MAX_BACKLOG_BYTES

    # --- reading

    async def events(self, seq: int, job_id: str, after: int, until: int) -> list[Event | Gap]:
        """Return the job's events after number `after` up to `until`, or the first of them."""
        return await self._reader.ask(reader.events, seq, job_id, after, until)

    async def job(self, job_id: str) -> JobRow | None:
        return await self._reader.ask(reader.job, job_id)

    async def jobs(self, wanted: Wanted) -> tuple[list[JobRow], bool]:
        """Return finished jobs, newest first, and whether there may be more."""
        return await self._reader.ask(reader.jobs, wanted, MAX_PAGE_BYTES)

    # --- between the loop and the writer

    def _hand_over(self, batch: Batch) -> None:
        self._unanswered.add(batch)
        self._writer.put(batch)

    def _call(self, callback: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop was closed before a hanging disk answered
            self._loop.call_soon_threadsafe(callback, *args)

    def _reported(self, report: Report) -> None:
        """Handle the writer's report about batches."""
        self._unanswered.answered(report.batches)
        for batch in report.batches:
            self._standings.settle(batch, report)
        self._turn.answer(report)
        self._tell(report.error)

    def _tell(self, error: str) -> None:
        if self.error != error:
            self.error = error
            log.error("journal_cannot_write", error=error) if error else log.info("journal_writes_again")

    def _forgotten(self, jobs: list[Forgotten]) -> None:
        for job in jobs:
            self._standings.drop(job.seq)
            self._on_forgotten(job)
