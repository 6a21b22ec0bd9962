"""Write batches to the tables. Only for use on the writer's thread, inside its transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from supervisor.core.jobs.model import Job
from supervisor.core.journal.batch import Batch, Change, merged
from supervisor.core.journal.retention import doom
from supervisor.core.journal.rows import JobRow, encode_outcome, encode_request, pack


class Tables:
    """Keeps the last written version of each unfinished job: most changes are output, and leave the job as it was."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._last_jobs: dict[int, Job] = {}

    def write(self, run: list[Batch], refused: Collection[int]) -> dict[int, Job]:
        """Write a run of batches without rejected jobs. Return the written jobs. Raise sqlite3.Error if it fails."""
        doom(self._connection, [seq for batch in run for seq in batch.forgotten])
        changes = [change for change in merged(run) if change.row.seq not in refused]
        written = {change.row.seq: change.row.job for change in changes if self._write_change(change)}
        for batch in run:
            self._write_early(batch)
        return written

    def remember(self, written: dict[int, Job]) -> None:
        """Keep the written versions after the transaction was committed."""
        for seq, job in written.items():
            if job.state.terminal:
                self._last_jobs.pop(seq, None)
            else:
                self._last_jobs[seq] = job

    def _write_change(self, change: Change) -> bool:
        """Write a change. Return False if the job has no row because it was rejected."""
        row, job = change.row, change.row.job
        if change.new:
            self._insert(row)
        finished_at = None if job.finished_at is None else job.finished_at.timestamp()
        size = sum(len(event.data) for event in change.events)
        outcome = None if self._last_jobs.get(row.seq) is job else encode_outcome(job)
        found = self._connection.execute(
            "UPDATE jobs SET state = ?, held = ?, finished_at = ?, last_event_id = ?, event_bytes = event_bytes + ?, "
            "outcome = coalesce(?, outcome) WHERE seq = ?",
            (job.state, row.held, finished_at, row.last_event_id, size, outcome, row.seq),
        )
        if not found.rowcount:
            return False
        for first, last, lines in pack(change.events):
            self._connection.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (row.seq, first, last, lines))
        return True

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

    def _write_early(self, batch: Batch) -> None:
        self._connection.executemany("DELETE FROM early WHERE token = ? AND id = ?", batch.early_taken)
        self._connection.executemany(
            "INSERT OR REPLACE INTO early VALUES (?, ?, ?, ?)",
            [(early.token, early.id, early.expires_at, early.cause) for early in batch.early],
        )
