"""The journal's one writer: a thread that turns what the event loop hands over into transactions.

Group commit: whatever has come while one transaction is written goes into the next. Batches with a new job or a new
state are written at once and synced to the disk; batches with nothing but output wait a few milliseconds for company
and are synced with the next that are. Both are safe against the death of this process as soon as they are committed.

When a transaction fails (a full disk), new jobs in it are refused, and everything else is kept and tried again, in
order, until it works: what is in the file never has a hole.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from supervisor.core.event_log import Event
from supervisor.core.journal.retention import Limits, Retention, doom
from supervisor.core.journal.rows import EarlyRow, JobRow, encode_outcome, encode_request, pack
from supervisor.core.journal.sql import transaction
from supervisor.core.model import Job

LINGER_S = 0.008
"""How long output waits for company after the commit before."""
RETRY_S = 0.5
ASKED_RETRY_S = 0.05
"""How soon a failed write is tried again: by itself, and when somebody waits for the answer."""
RETENTION_EVERY_S = 1.0
MAX_TRANSACTION_BYTES = 8 * 1024 * 1024

log = structlog.get_logger()


@dataclass(slots=True)
class Change:
    """What became of one job: its newest row, and the events since the last one. `new`: it has no row yet."""

    row: JobRow
    new: bool
    version: int
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """What one turn of the event loop hands over. It is written as a whole or not at all."""

    changes: dict[int, Change] = field(default_factory=dict)
    forgotten: list[int] = field(default_factory=list)
    early: list[EarlyRow] = field(default_factory=list)
    early_taken: list[tuple[str, str]] = field(default_factory=list)
    durable: bool = False
    """Sync to the disk, and soon."""
    prompt: bool = False
    """Soon, but it need not survive more than the death of this process."""
    asked: bool = False
    """Somebody waits for the answer, also for a no."""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What came of batches. `written` False: they are kept for another try, except for `refused` new jobs."""

    batches: list[Batch]
    written: bool
    refused: frozenset[int] = frozenset()
    error: str = ""


class Writer(threading.Thread):
    """Owns the writing connection from `start` to the end of the thread.

    `on_report` and `on_removed` are called on this thread.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        limits: Limits,
        *,
        on_report: Callable[[Report], None],
        on_removed: Callable[[list[str]], None],
    ) -> None:
        super().__init__(name="deadstop-journal", daemon=True)
        self._connection = connection
        self._retention = Retention(connection, limits)
        self._on_report = on_report
        self._on_removed = on_removed
        self._condition = threading.Condition()
        self._waiting: list[Batch] = []
        self._urgent = False
        self._asked = False
        self._closing = False
        self._pending: list[Batch] = []
        """Taken, and not written yet: more than one transaction's worth, or failed before."""
        self._refused: set[int] = set()
        self._last_jobs: dict[int, Job] = {}
        self._synchronous = ""
        self._committed_at = 0.0
        self._retention_due = 0.0
        self.backlog_bytes = 0
        """Events that were handed over and are not written yet."""

    # --- for the event loop

    def put(self, batch: Batch) -> None:
        """Hand a batch over. Never blocks for longer than it takes to append to a list."""
        with self._condition:
            self._waiting.append(batch)
            self.backlog_bytes += batch.size_bytes
            self._urgent = self._urgent or batch.durable or batch.prompt
            self._asked = self._asked or batch.asked
            self._condition.notify()

    def close(self) -> None:
        """Write what there is, once, and end."""
        with self._condition:
            self._closing = True
            self._condition.notify()

    # --- the thread

    def run(self) -> None:
        try:
            while self._take():
                self._write()
                self._retain()
            self._write()
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as exc:
            log.warning("journal_not_tidied", error=str(exc))
        except Exception:
            log.exception("journal_writer_failed")
            raise
        finally:
            self._connection.close()

    def _take(self) -> bool:
        """Wait for work, or for the time of the next try or round. False: it is to end."""
        with self._condition:
            if self._pending:
                self._wait_to_retry()
            else:
                patience_s = max(0.0, self._retention_due - time.monotonic())
                self._condition.wait_for(lambda: self._waiting or self._closing, patience_s)
                linger_s = self._committed_at + LINGER_S - time.monotonic()
                if self._waiting and linger_s > 0:
                    self._condition.wait_for(lambda: self._urgent or self._closing, linger_s)
            self._pending += self._waiting
            self._waiting = []
            self._urgent = self._asked = False
            return not self._closing

    def _wait_to_retry(self) -> None:
        """After a failure. What nobody waits for does not hurry it: a full disk is not to cost a core as well."""
        self._condition.wait_for(lambda: self._closing, ASKED_RETRY_S)
        self._condition.wait_for(lambda: self._asked or self._closing, RETRY_S)

    def _write(self) -> None:
        """Write everything pending, transaction by transaction, until one fails."""
        while self._pending:
            batches = self._some()
            try:
                self._commit(batches)
            except (sqlite3.Error, ValueError) as exc:
                self._fail(str(exc))
                return
            del self._pending[: len(batches)]
            self._forget_size(batches)
            self._committed_at = time.monotonic()
            self._on_report(Report(batches, written=True))

    def _some(self) -> list[Batch]:
        size = 0
        for number, batch in enumerate(self._pending, 1):
            size += batch.size_bytes
            if size >= MAX_TRANSACTION_BYTES:
                return self._pending[:number]
        return list(self._pending)

    def _fail(self, error: str) -> None:
        """Refuse new jobs: they were not accepted yet. What the others said is kept."""
        refused = {seq for batch in self._pending for seq, change in batch.changes.items() if change.new}
        self._refused |= refused
        told = list(self._pending)
        self._pending = [batch for batch in told if not self._is_empty(batch)]
        self._forget_size([batch for batch in told if self._is_empty(batch)])
        self._on_report(Report(told, written=False, refused=frozenset(refused), error=error))

    def _forget_size(self, batches: list[Batch]) -> None:
        with self._condition:
            self.backlog_bytes -= sum(batch.size_bytes for batch in batches)

    def _is_empty(self, batch: Batch) -> bool:
        if batch.forgotten or batch.early or batch.early_taken:
            return False
        return self._refused.issuperset(batch.changes)

    def _commit(self, batches: list[Batch]) -> None:
        self._set_synchronous("FULL" if any(batch.durable for batch in batches) else "NORMAL")
        written: dict[int, Job] = {}
        with transaction(self._connection):
            for change in self._merged(batches):
                self._write_change(change, written)
            for batch in batches:
                self._write_rest(batch)
        for seq, job in written.items():
            if job.state.terminal:
                self._last_jobs.pop(seq, None)
            else:
                self._last_jobs[seq] = job

    def _merged(self, batches: list[Batch]) -> list[Change]:
        """One change a job: its newest row and all its events."""
        merged: dict[int, Change] = {}
        for batch in batches:
            for seq, change in batch.changes.items():
                if seq in self._refused:
                    continue
                known = merged.get(seq)
                if known is None:
                    merged[seq] = Change(change.row, change.new, change.version, list(change.events))
                else:
                    known.row = change.row
                    known.events += change.events
        return list(merged.values())

    def _write_change(self, change: Change, written: dict[int, Job]) -> None:
        row, job = change.row, change.row.job
        if change.new:
            self._insert(row)
        for first, last, lines in pack(change.events):
            self._connection.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (row.seq, first, last, lines))
        size = sum(len(event.data) for event in change.events)
        finished_at = None if job.finished_at is None else job.finished_at.timestamp()
        values = (job.state, row.held, finished_at, row.last_event_id, size)
        # Most changes are output, and leave the job itself as it was.
        outcome = None if self._last_jobs.get(row.seq) is job else encode_outcome(job)
        self._connection.execute(
            "UPDATE jobs SET state = ?, held = ?, finished_at = ?, last_event_id = ?, event_bytes = event_bytes + ?, "
            "outcome = coalesce(?, outcome) WHERE seq = ?",
            (*values, outcome, row.seq),
        )
        written[row.seq] = job

    def _insert(self, row: JobRow) -> None:
        request = row.job.request
        self._connection.execute(
            "INSERT INTO jobs (seq, id, token, key, digest, state, held, last_event_id, event_bytes, outcome) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, '')",
            (row.seq, row.job.id, row.token, request.idempotency_key, row.digest, row.job.state, row.held),
        )
        self._connection.execute("INSERT INTO requests VALUES (?, ?)", (row.seq, encode_request(request)))
        labels = [(key, value, row.seq) for key, value in request.labels.items()]
        self._connection.executemany("INSERT INTO labels VALUES (?, ?, ?)", labels)

    def _write_rest(self, batch: Batch) -> None:
        doom(self._connection, batch.forgotten)
        self._connection.executemany("DELETE FROM early WHERE token = ? AND id = ?", batch.early_taken)
        self._connection.executemany(
            "INSERT OR REPLACE INTO early VALUES (?, ?, ?, ?)",
            [(early.token, early.id, early.expires_at, early.cause) for early in batch.early],
        )
        if batch.early:
            self._connection.execute("DELETE FROM early WHERE expires_at < ?", (time.time(),))

    def _set_synchronous(self, level: str) -> None:
        if level != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous = {level}")
            self._synchronous = level

    def _retain(self) -> None:
        """Steps of retention, while nobody waits for a commit."""
        if self._pending or time.monotonic() < self._retention_due:
            return
        try:
            forgotten, more = self._retention.step(time.time())
        except sqlite3.Error as exc:
            log.warning("journal_retention_failed", error=str(exc))
            forgotten, more = [], False
        self._retention_due = time.monotonic() + (LINGER_S if more else RETENTION_EVERY_S)
        if forgotten:
            self._on_removed(forgotten)
