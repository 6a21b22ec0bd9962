"""What is kept for how long, and how the rest goes without anybody waiting for it.

Everything here runs on the writer's thread between two commits, in steps of a few milliseconds each: jobs go first,
as rows; their events follow some rows at a time; then the file gives back some pages at a time.
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
"""A step takes a few milliseconds, and commits wait for it."""
SPARE_PAGES = 1024
"""So many free pages stay in the file: the next events need them."""
JOB_SHARE = 4
"""One job's events may take a quarter of the bytes; past that its oldest go, also while it runs. When the living have
all of the bytes, the oldest go of the one that has the most."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept of finished jobs: so many, so long, and so many bytes for everything."""

    jobs: int
    age_s: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A job that retention has taken out of the file. Its id may be another job's by now, `seq` never is."""

    seq: int
    id: str


class Retention:
    """Belongs to the writer's thread, and is called outside transactions."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._shrunk = False
        (self._page_bytes,) = connection.execute("PRAGMA page_size").fetchone()

    def step(self, now: float) -> tuple[list[Forgotten], bool]:
        """One step. `now` is wall time in seconds. The jobs that were forgotten, and whether more is to do.

        Raises sqlite3.Error.
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
            # What was forgotten already is still to be removed: only then it shows what is left.
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
        """Take the oldest events from the job with the most: it has more than its share, or nobody else can give."""
        row = self._connection.execute("SELECT seq, event_bytes FROM jobs ORDER BY event_bytes DESC LIMIT 1").fetchone()
        if row is None or row[1] == 0:
            return False
        seq, before = row
        if before <= self._limits.size_bytes // JOB_SHARE and not self._is_too_large():
            return False
        with transaction(self._connection):
            # Not all at once: its newest are wanted more than the oldest of the job that has the most by then.
            removed = self._delete_oldest_events(seq, min(EVENT_BYTES_A_STEP, before // 2))
            left = max(0, before - removed) if removed else 0
            self._connection.execute("UPDATE jobs SET event_bytes = ? WHERE seq = ?", (left, seq))
        return True

    def _delete_oldest_events(self, seq: int, wanted_bytes: int = EVENT_BYTES_A_STEP) -> int:
        """How many bytes went: so many as are wanted, to the next row, or fewer."""
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
                # Until then the file on the disk has its old size.
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
    """Forget jobs: from now on nobody sees them. Their events go later. Inside the caller's transaction."""
    each = [(seq,) for seq in seqs]
    connection.executemany("INSERT OR IGNORE INTO doomed (seq) VALUES (?)", each)
    for table in ("labels", "requests", "jobs"):
        connection.executemany(f"DELETE FROM {table} WHERE seq = ?", each)  # noqa: S608
