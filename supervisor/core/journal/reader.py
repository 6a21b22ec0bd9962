"""The journal's reader: a thread with a connection of its own, so that reading never waits for writing (WAL).

Every query has a limit, so that a large one does not delay the others.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from supervisor.core.jobs.event_log import Event, Gap
from supervisor.core.jobs.model import State
from supervisor.core.journal.rows import JobRow, decode_job, unpack
from supervisor.core.journal.sql import connect
from supervisor.errors import NotReady

MAX_READ_BYTES = 512 * 1024
READ_BOUND_S = 10.0
RETRY_AFTER_S = 5

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page of the list: which jobs, created before which, and how many. `token` None means jobs of all tokens.

    `stuck` only applies to unfinished jobs: a finished job is never stuck.
    """

    states: frozenset[State] | None = None
    labels: tuple[tuple[str, str], ...] = ()
    stuck: bool | None = None
    token: str | None = None
    before: int | None = None
    limit: int = 50


class Reader(threading.Thread):
    """Runs one query after the other. `close` ends the thread."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="deadstop-journal-reader", daemon=True)
        self._path = path
        self._questions: queue.SimpleQueue[Callable[[sqlite3.Connection], None] | None] = queue.SimpleQueue()

    async def ask(self, query: Callable[..., Answer], *args: Any) -> Answer:
        """Run one of the functions below, and return its answer. Raise NotReady if the journal cannot be read."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()

        def work(connection: sqlite3.Connection) -> None:
            answer: Answer | None = None
            error: Exception | None = None
            try:
                answer = query(connection, *args)
            except Exception as exc:
                error = exc
            with suppress(RuntimeError):  # the loop was closed before a hanging disk answered
                loop.call_soon_threadsafe(_settle, future, answer, error)

        self._questions.put(work)
        try:
            return await asyncio.wait_for(future, READ_BOUND_S)
        except TimeoutError:
            raise NotReady(
                "cannot read the journal: the disk of DEADSTOP_STATE_DIR does not answer", RETRY_AFTER_S
            ) from None
        except (sqlite3.Error, ValueError) as exc:
            raise NotReady(f"cannot read the journal: {exc}", RETRY_AFTER_S) from exc

    def close(self) -> None:
        self._questions.put(None)

    def run(self) -> None:
        connection = connect(self._path)
        try:
            connection.execute("PRAGMA query_only = ON")
            while (question := self._questions.get()) is not None:
                question(connection)
        finally:
            connection.close()


def _settle(future: asyncio.Future[Any], answer: Any, error: Exception | None) -> None:
    if future.done():  # the caller was cancelled
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)


# --- queries


def events(connection: sqlite3.Connection, seq: int, job_id: str, after: int, until: int) -> list[Event | Gap]:
    """Return the job's events after number `after` up to `until`, limited to one answer, with a Gap for lost ones."""
    found: list[Event | Gap] = []
    size, seen = 0, after
    rows = connection.execute(
        "SELECT first, last, lines FROM events WHERE seq = ? AND last > ? AND first <= ? ORDER BY last",
        (seq, after, until),
    )
    for first, last, lines in rows:
        if first > seen + 1:
            found.append(Gap(seen + 1, first - 1))
        found += [event for event in unpack(job_id, first, lines) if after < event.id <= until]
        seen = last
        size += len(lines)
        if size >= MAX_READ_BYTES:
            return found
    if seen < until:
        found.append(Gap(seen + 1, until))
    return found


_JOB_COLUMNS = "jobs.seq, token, digest, request, outcome, held, last_event_id"


def job(connection: sqlite3.Connection, job_id: str) -> JobRow | None:
    row = connection.execute(
        f"SELECT {_JOB_COLUMNS} FROM jobs JOIN requests USING (seq) WHERE id = ?",  # noqa: S608
        (job_id,),
    ).fetchone()
    return None if row is None else _job_row(row)


def jobs(connection: sqlite3.Connection, wanted: Wanted, max_bytes: int) -> tuple[list[JobRow], bool]:
    """Return finished jobs, newest first, and whether there may be more. Stop early beyond `max_bytes`."""
    conditions, values = ["finished_at IS NOT NULL"], list[Any]()
    if wanted.before is not None:
        conditions.append("jobs.seq < ?")
        values.append(wanted.before)
    if wanted.token is not None:
        conditions.append("token = ?")
        values.append(wanted.token)
    if wanted.states is not None:
        conditions.append(f"state IN ({', '.join('?' * len(wanted.states))})")
        values += sorted(wanted.states)
    for key, value in wanted.labels:
        conditions.append("EXISTS (SELECT 1 FROM labels WHERE labels.seq = jobs.seq AND key = ? AND value = ?)")
        values += [key, value]
    rows = connection.execute(
        f"SELECT {_JOB_COLUMNS} FROM jobs JOIN requests USING (seq) "  # noqa: S608
        f"WHERE {' AND '.join(conditions)} ORDER BY jobs.seq DESC LIMIT ?",
        (*values, wanted.limit),
    )
    found: list[JobRow] = []
    size = 0
    for row in rows:
        found.append(_job_row(row))
        size += len(row[3]) + len(row[4])
        if size >= max_bytes:
            return found, True
    return found, len(found) == wanted.limit


def _job_row(row: tuple[Any, ...]) -> JobRow:
    seq, token, digest, request, outcome, held, last = row
    return JobRow(seq, token, digest, decode_job(request, outcome), bool(held), last)
