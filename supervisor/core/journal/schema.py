"""The journal's tables, and the migrations from older versions.

    jobs      one row a job, in the order of their creation (`seq`, never used twice)
    requests  the jobs' requests; separate, because a request is written once and may be large
    labels    for the list's filter
    events    one row for many events: those of one job between two commits, one line each
    doomed    forgotten jobs whose events are still to be removed in small steps
    early     cancels that arrived before their job

`user_version` counts the migrations that a file has seen. Each runs in one transaction together with its number, so
that a crash in the middle leaves the old version.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from supervisor.core.journal.sql import transaction

APPLICATION_ID = 0x64656164
"""Identifies the file as a journal ("dead"), for the command `file` and for us."""

Migration = Sequence[str]

MIGRATIONS: tuple[Migration, ...] = (
    (
        """
        CREATE TABLE jobs (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            token TEXT NOT NULL,
            key TEXT,
            digest BLOB NOT NULL,
            state TEXT NOT NULL,
            held INTEGER NOT NULL,
            finished_at REAL,
            last_event_id INTEGER NOT NULL,
            event_bytes INTEGER NOT NULL,
            outcome TEXT NOT NULL
        )
        """,
        "CREATE INDEX jobs_by_state ON jobs (state, seq)",
        "CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL",
        "CREATE TABLE requests (seq INTEGER PRIMARY KEY, request TEXT NOT NULL)",
        "CREATE TABLE labels (key TEXT, value TEXT, seq INTEGER, PRIMARY KEY (key, value, seq)) WITHOUT ROWID",
        "CREATE INDEX labels_by_job ON labels (seq)",
        """
        CREATE TABLE events (
            seq INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, lines TEXT NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX events_by_job ON events (seq, last)",
        "CREATE TABLE doomed (seq INTEGER PRIMARY KEY)",
        """
        CREATE TABLE early (
            token TEXT, id TEXT, expires_at REAL NOT NULL, cause TEXT NOT NULL, PRIMARY KEY (token, id)
        ) WITHOUT ROWID
        """,
    ),
    # The index finds the largest job without a scan of all jobs.
    ("CREATE INDEX jobs_by_event_bytes ON jobs (event_bytes)",),
)


class NewerSchema(Exception):
    """Raised if a newer version of this program wrote the file."""

    def __init__(self, found: int, known: int) -> None:
        self.found = found
        self.known = known
        super().__init__(f"schema {found}, this version knows {known}")


def prepare(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the file to the newest schema. `connection` is in autocommit mode.

    Raise NewerSchema, or sqlite3.DatabaseError if the file is not a journal or is damaged.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if tables and application != APPLICATION_ID:
        raise sqlite3.DatabaseError("the file is a database of another program")
    if version > len(migrations):
        raise NewerSchema(version, len(migrations))
    if not tables:
        # The pragma only works on an empty file. Later it would need a full VACUUM, which takes long.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA journal_mode = WAL")
    for number in range(version, len(migrations)):
        with transaction(connection):
            for statement in migrations[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
