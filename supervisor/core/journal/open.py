"""Open the journal: reject a newer version, set a damaged file aside, and read the content.

This blocks, so it runs on the writer's thread before that starts to write.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from supervisor.core.jobs.model import State
from supervisor.core.journal.rows import EarlyRow, JobRow, JobSummary, decode_job
from supervisor.core.journal.schema import MIGRATIONS, Migration, NewerSchema, prepare
from supervisor.core.journal.sql import connect
from supervisor.errors import StartupError

FILE = "journal.sqlite3"
CHECKED_BYTES = 256 * 1024 * 1024
"""Up to this size every page is checked, which takes some 0.3 ms a MiB. Of larger files only the pages that the start
reads are checked."""
_BESIDE = ("", "-wal", "-shm")
_SUSPECT = f"{FILE}.suspect"
"""While this file exists, every page is checked, regardless of the size."""

log = structlog.get_logger()


class Misplaced(ValueError):
    """Raised if the file was removed or replaced, so that further writes would be lost."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The path of the journal, and the identity of the file that was opened there."""

    path: Path
    identity: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> Slot:
        status = path.stat()
        return cls(path, (status.st_dev, status.st_ino))

    def check(self) -> None:
        """Raise Misplaced if the file is no longer in its place."""
        try:
            status = self.path.stat()
        except OSError as exc:
            raise Misplaced(
                f"it is not in its place ({exc.strerror}); put it back, or start the server again"
            ) from None
        if (status.st_dev, status.st_ino) != self.identity:
            raise Misplaced("another file is in its place; put the old one back, or start the server again")


@dataclass(frozen=True, slots=True)
class Contents:
    """The content of a journal when it was opened. `unfinished` is in the order of creation."""

    entries: list[JobSummary]
    unfinished: list[JobRow]
    early: list[EarlyRow]
    last_seq: int


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened journal. `set_aside` is the new path of a damaged file, and `damage` describes the damage."""

    connection: sqlite3.Connection
    contents: Contents
    place: Slot
    set_aside: Path | None = None
    damage: str = ""


def suspect(folder: Path) -> None:
    """Let the next start check the whole file, because damage was found while the server ran."""
    try:
        (folder / _SUSPECT).touch(0o600)
    except OSError as exc:
        log.warning("journal_not_marked", error=str(exc))


def open_journal(
    folder: Path, *, migrations: Sequence[Migration] = MIGRATIONS, checked_bytes: int = CHECKED_BYTES
) -> Opened:
    """Open the journal. Raise StartupError if it cannot be used and must not be replaced: newer, unreadable, locked."""
    path, suspected = folder / FILE, folder / _SUSPECT
    try:
        opened = _open(path, migrations, math.inf if suspected.exists() else checked_bytes)
    except NewerSchema as exc:
        raise StartupError(
            f"cannot use {path}: a newer version of deadstop wrote it ({exc}); start that version, "
            "or name another DEADSTOP_STATE_DIR"
        ) from None
    except sqlite3.OperationalError as exc:
        # A lock, a missing permission, a full disk or an I/O error does not mean that the content is damaged.
        raise StartupError(f"cannot open {path}: {exc}") from None
    except (sqlite3.DatabaseError, ValueError) as exc:
        set_aside = _set_aside(path)
        try:
            opened = _open(path, migrations, checked_bytes)
        except sqlite3.Error as again:
            raise StartupError(f"cannot make {path}: {again}") from None
        opened = replace(opened, set_aside=set_aside, damage=str(exc))
    suspected.unlink(missing_ok=True)
    return opened


def _open(path: Path, migrations: Sequence[Migration], checked_bytes: float) -> Opened:
    connection = connect(path)
    try:
        path.chmod(0o600)
        prepare(connection, migrations)
        if path.stat().st_size <= checked_bytes:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
        return Opened(connection, _read(connection), Slot.of(path))
    except BaseException:
        connection.close()
        raise


def _read(connection: sqlite3.Connection) -> Contents:
    entries = [
        JobSummary(seq, id_, token, key, digest, State(state), last)
        for seq, id_, token, key, digest, state, last in connection.execute(
            "SELECT seq, id, token, key, digest, state, last_event_id FROM jobs ORDER BY seq"
        )
    ]
    unfinished = [
        JobRow(seq, token, digest, decode_job(request, outcome), bool(held), last)
        for seq, token, digest, request, outcome, held, last in connection.execute(
            "SELECT seq, token, digest, request, outcome, held, last_event_id FROM jobs JOIN requests USING (seq) "
            "WHERE finished_at IS NULL ORDER BY seq"
        )
    ]
    early = [EarlyRow(*row) for row in connection.execute("SELECT token, id, expires_at, cause FROM early")]
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
    return Contents(entries, unfinished, early, 0 if row is None else row[0])


def _set_aside(path: Path) -> Path:
    """Rename the file and those that belong to it. Raise StartupError if that fails."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 0
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    try:
        for suffix in _BESIDE:
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(target.with_name(target.name + suffix))
    except OSError as exc:
        raise StartupError(f"cannot set the damaged {path} aside: {exc.strerror}") from None
    return target
