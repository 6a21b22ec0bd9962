"""Connections and transactions, the same for every thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUSY_BOUND_S = 1.0
"""One writer, so nobody ever waits for another; but a person may have the file open in a tool."""
MAX_WAL_BYTES = 16 * 1024 * 1024


def connect(path: Path) -> sqlite3.Connection:
    """In autocommit mode: transactions begin and end where they are written. Raises sqlite3.Error.

    Made on one thread and used on another, one after the other, never at once.
    """
    connection = sqlite3.connect(path, timeout=BUSY_BOUND_S, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA journal_size_limit = {MAX_WAL_BYTES}")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, also when the commit itself fails. Raises sqlite3.Error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Some errors, a full disk among them, have rolled it back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def is_damage(error: Exception) -> bool:
    """Whether the file is not what it should be."""
    return isinstance(error, sqlite3.Error) and _code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def explain(error: Exception) -> str:
    """What went wrong, and what somebody can do about it."""
    if is_damage(error):
        return f"{error}; start the server again, and the file is set aside"
    if isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_FULL:
        return f"{error}; make room in DEADSTOP_STATE_DIR"
    return str(error)


def _code(error: sqlite3.Error) -> int:
    # The lower byte: the rest says more exactly where. Errors of the module's own have none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
