"""Opening an existing journal file: a newer one, an older one, a damaged one, or one of another program."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.core.jobs.event_log import Event
from supervisor.core.jobs.model import State
from supervisor.core.journal.open import FILE, Opened, open_journal, suspect
from supervisor.core.journal.reader import Wanted
from supervisor.core.journal.rows import digest_of
from supervisor.core.journal.schema import MIGRATIONS, prepare
from supervisor.core.journal.sql import is_damage
from supervisor.errors import StartupError, StorageFull
from tests.support.journals import book

pytestmark = pytest.mark.anyio

FIRST_VERSION = Path(__file__).parents[1] / "fixtures" / "journal-1.sqlite3"
"""As the first version left it when it was stopped: kept as it is, whatever later versions write."""
ADDED = ("ALTER TABLE jobs ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'",)


@contextmanager
def opened(folder: Path, **more: object) -> Iterator[Opened]:
    made = open_journal(folder, **more)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.connection.close()


@contextmanager
def by_hand(folder: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(folder / FILE)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


async def a_journal(folder: Path) -> None:
    async with book(folder) as kept:
        for number in range(30):
            await kept.finished(f"job-{number}", text="x" * 2000)


async def test_a_newer_one_is_refused_and_left_alone(tmp_path: Path) -> None:
    await a_journal(tmp_path)
    with by_hand(tmp_path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StartupError, match=r"newer version of deadstop wrote it \(schema 99, this version knows 2\)"):
        open_journal(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    with by_hand(tmp_path) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (30,)


async def test_an_older_one_is_brought_up(tmp_path: Path) -> None:
    await a_journal(tmp_path)
    with opened(tmp_path, migrations=(*MIGRATIONS, ADDED)) as found:
        assert found.set_aside is None
        assert len(found.contents.entries) == 30
        assert found.connection.execute("SELECT DISTINCT colour FROM jobs").fetchall() == [("grey",)]
        assert found.connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)


async def test_a_file_that_the_first_version_wrote_is_brought_up_with_all_that_is_in_it(tmp_path: Path) -> None:
    shutil.copy(FIRST_VERSION, tmp_path / FILE)
    async with book(tmp_path) as kept:
        states = {entry.id: (entry.state, entry.last_event_id) for entry in kept.contents.entries}
        assert states == {
            "done": (State.SUCCEEDED, 52),
            "running": (State.RUNNING, 3),
            "held": (State.QUEUED, 1),
            "queued": (State.QUEUED, 1),
        }
        done = kept.contents.entries[0]
        assert (done.token, done.key) == ("t", "once")
        assert await kept.journal.jobs(Wanted(labels=(("team", "a"),))) == ([await kept.journal.job("done")], False)
        events = await kept.journal.events(done.seq, "done", 0, 52)
        assert [event.id for event in events if isinstance(event, Event)] == list(range(1, 53))
        waiting = {row.job.id: row for row in kept.contents.unfinished}
        assert (waiting["held"].held, waiting["held"].job.request.reconnect_grace_s) == (True, 1.0)
        assert waiting["queued"].digest == digest_of(waiting["queued"].job.request), "its client can still attach"
        assert [(early.token, early.id) for early in kept.contents.early] == [("t", "early")]
        new = kept.new("new")
        await kept.journal.accepted(new)
        assert new.seq == 6, "no number is used twice, not even of what was forgotten"
    with by_hand(tmp_path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        fresh = sqlite3.connect(":memory:", isolation_level=None)
        prepare(fresh)
        schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
        assert connection.execute(schema).fetchall() == fresh.execute(schema).fetchall()
        fresh.close()


async def test_a_migration_that_fails_half_way_leaves_the_old_version(tmp_path: Path) -> None:
    await a_journal(tmp_path)
    with pytest.raises(StartupError):
        open_journal(tmp_path, migrations=(*MIGRATIONS, (*ADDED, "DROP TABLE no_such_table")))
    with opened(tmp_path) as found:
        assert len(found.contents.entries) == 30
        columns = [row[1] for row in found.connection.execute("PRAGMA table_info(jobs)")]
        assert "colour" not in columns


@pytest.mark.parametrize("how", ["scribbled", "cut", "no database", "row"])
async def test_a_damaged_one_is_set_aside_whole(tmp_path: Path, how: str) -> None:
    await a_journal(tmp_path)
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    match how:
        case "scribbled":
            data[8192:24576] = bytes(range(256)) * 64
        case "cut":
            del data[len(data) // 2 :]
        case "no database":
            data[:] = b"not a database at all, but long enough to be taken for one" * 100
        case "row":
            with by_hand(tmp_path) as connection:
                connection.execute("UPDATE jobs SET state = 'dreaming'")
            data = bytearray(path.read_bytes())
    path.write_bytes(data)
    with opened(tmp_path) as found:
        assert found.set_aside is not None
        assert found.damage
        assert found.set_aside.read_bytes() == data
        assert found.contents.entries == []
    with opened(tmp_path) as again:
        assert again.set_aside is None


async def test_a_large_one_is_looked_at_whole_after_damage_was_met_in_it(tmp_path: Path) -> None:
    await a_journal(tmp_path)
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    with by_hand(tmp_path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchone()
    data[(page - 1) * 4096 : page * 4096] = bytes(4096)
    path.write_bytes(data)
    with opened(tmp_path, checked_bytes=0) as found:
        assert found.set_aside is None, "too large to look at all of it each time"
        with pytest.raises(sqlite3.DatabaseError) as caught:
            found.connection.execute("SELECT count(*) FROM events WHERE lines > ''").fetchone()
        assert is_damage(caught.value)
    suspect(tmp_path)
    with opened(tmp_path, checked_bytes=0) as found:
        assert found.set_aside is not None
    with opened(tmp_path, checked_bytes=0) as again:
        assert again.set_aside is None
    assert [name for name in os.listdir(tmp_path) if "suspect" in name] == []


async def test_damage_while_the_server_runs_is_reported_and_remembered(tmp_path: Path) -> None:
    path = tmp_path / FILE
    async with book(tmp_path) as kept:
        for number in range(30):
            await kept.finished(f"job-{number}", text="x" * 2000)
        writer = kept.journal._writer._connection
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writer.execute("PRAGMA cache_size = 0")
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(bytes(path.stat().st_size - 4096))
        with pytest.raises(StorageFull, match="start the server again, and the file is set aside"):
            await kept.journal.accepted(kept.new("after"))
    with opened(tmp_path, checked_bytes=0) as found:
        assert found.set_aside is not None


async def test_a_database_of_another_program_is_not_written_into(tmp_path: Path) -> None:
    with by_hand(tmp_path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with opened(tmp_path) as found:
        assert found.damage == "the file is a database of another program"
        assert found.set_aside is not None
        with sqlite3.connect(found.set_aside) as theirs:
            assert theirs.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
        theirs.close()


def test_a_file_that_cannot_be_opened_does_not_count_as_damaged(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(StartupError, match="cannot open"):
        open_journal(tmp_path)
    assert (tmp_path / FILE).is_dir()


async def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    await a_journal(tmp_path)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
