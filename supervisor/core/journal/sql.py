"""Connections and transactions, the same for every thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUSY_BOUND_S = 1.0
"""There is only one writer, so normally no wait is needed. But a person may have the file open in a tool."""
MAX_WAL_BYTES = 16 * 1024 * 1024


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection in autocommit mode: transactions are explicit. Raise sqlite3.Error if opening fails.

    It may be created on one thread and used on another, but not by both at the same time.
    """
    connection = sqlite3.connect(path, timeout=BUSY_BOUND_S, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA journal_size_limit = {MAX_WAL_BYTES}")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block in a transaction, which is rolled back if the block or the commit fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors, such as a full disk, SQLite has already rolled it back.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def is_damage(error: Exception) -> bool:
    """Return whether the error means that the file is damaged."""
    return isinstance(error, sqlite3.Error) and _code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def explain(error: Exception) -> str:
    """Return the error in words, with what a person can do about it."""
    if is_damage(error):
        return f"{error}; start the server again, and the file is set aside"
    if isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_FULL:
        return f"{error}; make room in DEADSTOP_STATE_DIR"
    return str(error)


def _code(error: sqlite3.Error) -> int:
    # The lower byte is the primary code. Errors of the Python module itself have no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
