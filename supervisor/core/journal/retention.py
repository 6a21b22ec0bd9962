"""Limit the journal by age, number and size, without delaying commits.

This runs on the writer's thread between two commits, in steps of a few milliseconds: first the rows of jobs are
deleted, then their events, some rows at a time, and then free pages are returned to the file system, some at a time.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from supervisor.core.journal.sql import transaction

JOBS_A_STEP = 50
EVENT_ROWS_A_STEP = 256
EVENT_BYTES_A_STEP = 1024 * 1024
PAGES_A_STEP = 128
"""Commits wait for a step, which takes a few milliseconds."""
SPARE_PAGES = 1024
"""This many free pages stay in the file, for the next events."""
JOB_SHARE = 4
"""One job's events may take a quarter of the bytes. Beyond that its oldest are deleted, even while it runs. If
unfinished jobs use up all bytes, the oldest events of the largest one are deleted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for the number and age of finished jobs, and for the bytes of the whole journal."""

    jobs: int
    age_s: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A job that retention has removed from the file. Its ID may be in use again by now; `seq` is never reused."""

    seq: int
    id: str


class Retention:
    """Only for use on the writer's thread, outside transactions."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._shrunk = False
        (self._page_bytes,) = connection.execute("PRAGMA page_size").fetchone()

    def step(self, now: float) -> tuple[list[Forgotten], bool]:
        """Do one step. Return the jobs that were forgotten, and whether there is more to do.

        `now` is wall time in seconds. Raise sqlite3.Error if the step fails.
        """
        forgotten = self._forget(now)
        removed = self._remove_events() or self._shorten()
        vacuumed = not removed and self._give_back()
        return forgotten, bool(forgotten) or removed or vacuumed

    def _forget(self, now: float) -> list[Forgotten]:
        chosen = self._too_old(now) or self._too_many() or self._too_large()
        if chosen:
            with transaction(self._connection):
                doom(self._connection, [job.seq for job in chosen])
        return chosen

    def _too_old(self, now: float) -> list[Forgotten]:
        return self._oldest("AND finished_at < ?", now - self._limits.age_s, JOBS_A_STEP)

    def _too_many(self) -> list[Forgotten]:
        (count,) = self._connection.execute("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL").fetchone()
        excess = count - self._limits.jobs
        return self._oldest("AND ?", 1, min(excess, JOBS_A_STEP)) if excess > 0 else []

    def _too_large(self) -> list[Forgotten]:
        if not self._is_too_large() or self._doomed() is not None:
            # Data of forgotten jobs must be removed first: only then the size of the rest is known.
            return []
        return self._oldest("AND ?", 1, 1)

    def _oldest(self, condition: str, value: float, limit: int) -> list[Forgotten]:
        rows = self._connection.execute(
            f"SELECT seq, id FROM jobs WHERE finished_at IS NOT NULL {condition} ORDER BY finished_at LIMIT ?",  # noqa: S608
            (value, limit),
        )
        return [Forgotten(seq, id_) for seq, id_ in rows]

    def _remove_events(self) -> bool:
        seq = self._doomed()
        if seq is None:
            return False
        with transaction(self._connection):
            if not self._delete_oldest_events(seq):
                self._connection.execute("DELETE FROM doomed WHERE seq = ?", (seq,))
        return True

    def _shorten(self) -> bool:
        """Delete the oldest events of the largest job, if it exceeds its share or no finished job is left to delete."""
        row = self._connection.execute("SELECT seq, event_bytes FROM jobs ORDER BY event_bytes DESC LIMIT 1").fetchone()
        if row is None or row[1] == 0:
            return False
        seq, before = row
        if before <= self._limits.size_bytes // JOB_SHARE and not self._is_too_large():
            return False
        with transaction(self._connection):
            # Do not delete all at once: this job's newer events matter more than the oldest of the next largest job.
            removed = self._delete_oldest_events(seq, min(EVENT_BYTES_A_STEP, before // 2))
            left = max(0, before - removed) if removed else 0
            self._connection.execute("UPDATE jobs SET event_bytes = ? WHERE seq = ?", (left, seq))
        return True

    def _delete_oldest_events(self, seq: int, wanted_bytes: int = EVENT_BYTES_A_STEP) -> int:
        """Delete the job's oldest rows until `wanted_bytes` are reached. Return how many bytes were deleted."""
        oldest = "SELECT rowid, length(lines) FROM events WHERE seq = ? ORDER BY last LIMIT ?"
        rowids: list[tuple[int]] = []
        removed = 0
        with closing(self._connection.execute(oldest, (seq, EVENT_ROWS_A_STEP))) as rows:
            for rowid, size in rows:
                rowids.append((rowid,))
                removed += size
                if removed >= wanted_bytes:
                    break
        self._connection.executemany("DELETE FROM events WHERE rowid = ?", rowids)
        return removed

    def _give_back(self) -> bool:
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        if free <= SPARE_PAGES:
            if self._shrunk:
                self._shrunk = False
                # Without a checkpoint the file on the disk keeps its old size.
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            return False
        self._shrunk = True
        # One page a step of the statement, and the module takes a second step only of what returns columns; of a script
        # it takes all.
        self._connection.executescript(f"PRAGMA incremental_vacuum({PAGES_A_STEP})")
        return True

    def _doomed(self) -> int | None:
        row = self._connection.execute("SELECT seq FROM doomed LIMIT 1").fetchone()
        return None if row is None else int(row[0])

    def _is_too_large(self) -> bool:
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        return int((pages - free) * self._page_bytes) > self._limits.size_bytes


def doom(connection: sqlite3.Connection, seqs: list[int]) -> None:
    """Hide jobs from now on, in the caller's transaction. Their events are deleted later."""
    each = [(seq,) for seq in seqs]
    connection.executemany("INSERT OR IGNORE INTO doomed (seq) VALUES (?)", each)
    for table in ("labels", "requests", "jobs"):
        connection.executemany(f"DELETE FROM {table} WHERE seq = ?", each)  # noqa: S608
