"""The journal's only writer: a thread that writes the event loop's batches in transactions.

It uses group commit: batches that arrive while a transaction is written go into the next one. Batches with a new job or
a new state are written at once and synced to the disk. Batches with only output wait a few milliseconds for others, and
are synced with the next synced batch. Both survive the death of this process as soon as they are committed.

If a transaction fails (a full disk), new jobs in it are rejected. Everything else is kept and tried again, in order,
until it works, so the file never has gaps.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable

import structlog

from supervisor.core.journal.batch import Batch, Report, runs
from supervisor.core.journal.open import Misplaced, Slot
from supervisor.core.journal.retention import Forgotten, Limits, Retention
from supervisor.core.journal.sql import explain, is_damage, transaction
from supervisor.core.journal.tables import Tables

LINGER_S = 0.008
"""How long output waits for further batches after the previous commit."""
RETRY_S = 0.5
ASKED_RETRY_S = 0.05
"""Delays before a failed write is tried again: normally, and if a caller waits for the result."""
RETENTION_EVERY_S = 1.0
MAX_TRANSACTION_BYTES = 8 * 1024 * 1024

log = structlog.get_logger()


class Writer(threading.Thread):
    """Owns the writing connection from `start` to the end of the thread.

    It calls `on_report`, `on_forgotten` and `on_damage` on this thread.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        limits: Limits,
        *,
        place: Slot,
        on_report: Callable[[Report], None],
        on_forgotten: Callable[[list[Forgotten]], None],
        on_damage: Callable[[], None],
    ) -> None:
        super().__init__(name="deadstop-journal", daemon=True)
        self._connection = connection
        self._place = place
        self._misplaced = ""
        self._retention = Retention(connection, limits)
        self._on_report = on_report
        self._on_forgotten = on_forgotten
        self._on_damage = on_damage
        self._condition = threading.Condition()
        self._waiting: list[Batch] = []
        self._urgent = False
        self._asked = False
        self._closing = False
        self._pending: list[Batch] = []
        """Batches that are taken but not written: they did not fit in the last transaction, or failed."""
        self._refused: set[int] = set()
        self._tables = Tables(connection)
        self._synchronous = ""
        self._committed_at = 0.0
        self._retention_due = 0.0
        self.backlog_bytes = 0
        """Size of the events that were handed over and are not written yet."""

    # --- for the event loop

    def put(self, batch: Batch) -> None:
        """Hand a batch over, without waiting for the disk."""
        with self._condition:
            self._waiting.append(batch)
            self.backlog_bytes += batch.size_bytes
            self._urgent = self._urgent or batch.durable or batch.prompt
            self._asked = self._asked or batch.asked
            self._condition.notify()

    def close(self) -> None:
        """Try once to write the remaining batches, then end the thread."""
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
        except Exception as exc:
            log.exception("journal_writer_failed")
            self._on_report(Report([], written=False, error=f"its writer has failed: {exc!r}"))
            raise
        finally:
            self._connection.close()

    def _take(self) -> bool:
        """Wait for work, or for the time of the next retry or round. Return False if the thread is to end."""
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
        """Wait after a failure. Batches without a waiting caller do not shorten the wait, to save CPU time."""
        self._condition.wait_for(lambda: self._closing, ASKED_RETRY_S)
        self._condition.wait_for(lambda: self._asked or self._closing, RETRY_S)

    def _write(self) -> None:
        """Write all pending batches, transaction by transaction, until one fails."""
        while self._pending:
            batches = self._some()
            try:
                self._commit(batches)
            except (sqlite3.Error, ValueError) as exc:
                if is_damage(exc):
                    self._on_damage()
                self._fail(explain(exc))
                return
            del self._pending[: len(batches)]
            self._forget_size(batches)
            self._committed_at = time.monotonic()
            if not self._pending:
                # Later changes of these jobs find no row, and are ignored.
                self._refused.clear()
            self._on_report(Report(batches, written=True))

    def _some(self) -> list[Batch]:
        size = 0
        for number, batch in enumerate(self._pending, 1):
            size += batch.size_bytes
            if size >= MAX_TRANSACTION_BYTES:
                return self._pending[:number]
        return list(self._pending)

    def _fail(self, error: str) -> None:
        """Reject new jobs, because they were not accepted yet. Keep the changes of other jobs."""
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
        self._place.check()
        self._set_synchronous("FULL" if any(batch.durable for batch in batches) else "NORMAL")
        with transaction(self._connection):
            written = [self._tables.write(run, self._refused) for run in runs(batches)]
        for jobs in written:
            self._tables.remember(jobs)

    def _set_synchronous(self, level: str) -> None:
        if level != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous = {level}")
            self._synchronous = level

    def _look_after_place(self) -> None:
        """Report when the file disappears from its path and when it is back, even while nothing is written."""
        try:
            self._place.check()
        except Misplaced as exc:
            misplaced = str(exc)
        else:
            misplaced = ""
        if misplaced != self._misplaced:
            self._misplaced = misplaced
            self._on_report(Report([], written=not misplaced, error=misplaced))

    def _retain(self) -> None:
        """Run steps of retention until a batch is waiting for a commit."""
        if self._pending or time.monotonic() < self._retention_due:
            return
        self._look_after_place()
        try:
            self._set_synchronous("NORMAL")  # rows that come back after a power failure are deleted again
            forgotten, more = self._retention.step(time.time())
        except sqlite3.Error as exc:
            log.warning("journal_retention_failed", error=str(exc))
            forgotten, more = [], False
        self._retention_due = time.monotonic() + (LINGER_S if more else RETENTION_EVERY_S)
        if forgotten:
            self._on_forgotten(forgotten)
