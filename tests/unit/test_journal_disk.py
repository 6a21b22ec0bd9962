"""The disk is full, hangs or is missing: new jobs are refused, and readers and ends do not wait for it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from supervisor.core.jobs.event_log import MAX_BYTES, Event, Gap
from supervisor.core.jobs.model import State
from supervisor.core.journal.batch import Batch
from supervisor.core.journal.unanswered import STALL_BOUND_S
from supervisor.errors import StorageFull
from tests.support.core import until
from tests.support.journals import book, full_disk, numbers, put

pytestmark = pytest.mark.anyio


async def test_a_full_disk_refuses_new_jobs_and_nothing_else(tmp_path: Path) -> None:
    async with book(tmp_path) as kept:
        old = kept.new("old")
        await kept.journal.accepted(old)
        with full_disk(kept.journal):
            new = kept.new("new", text="x" * 300_000)
            with pytest.raises(StorageFull, match="full"):
                await kept.journal.accepted(new)
            assert kept.refused == [new]
            assert new.log.last_id == 0, "nobody has seen its first event, and nobody will"
            put(old, "y" * 10_000, 40)
            # Its readers and its end do not wait for the disk.
            kept.finish(old, State.CANCELLED)
            await asyncio.wait_for(old.finished.wait(), 2 * STALL_BOUND_S)
            assert numbers(old.log.read(0)) == list(range(1, 43))
            assert "full" in kept.journal.error
            assert not kept.journal.is_written(old)
            with pytest.raises(StorageFull):
                await kept.journal.written()
        await kept.journal.written()
        assert kept.journal.error == ""
        assert kept.journal.is_written(old)
        await kept.journal.accepted(kept.new("later"))
    async with book(tmp_path) as again:
        assert [(entry.id, entry.last_event_id) for entry in again.contents.entries] == [("old", 42), ("later", 1)]
        assert numbers(await again.journal.events(1, "old", 0, 42)) == list(range(1, 43))


async def test_a_slow_reader_misses_nothing_while_the_disk_is_full(tmp_path: Path) -> None:
    async with book(tmp_path) as kept:
        record = kept.new("a")
        await kept.journal.accepted(record)
        with full_disk(kept.journal):
            put(record, "z" * 10_000, MAX_BYTES // 10_000 + 100)
            await until(lambda: record.log.released_id == record.log.last_id)
            assert numbers(record.log.read(0, 10_000)) == list(range(1, record.log.last_id + 1))
        await kept.journal.written()
        assert record.log.size_bytes <= MAX_BYTES
        gap = record.log.read(0)[0]
        assert isinstance(gap, Gap)
        found: list[Event | Gap] = []
        while len(found) < gap.last:
            found += await kept.journal.events(record.seq, "a", len(found), gap.last)
        assert numbers(found) == list(range(1, gap.last + 1))


async def test_a_disk_that_hangs_holds_up_no_reader(tmp_path: Path) -> None:
    async with book(tmp_path) as kept:
        record = kept.new("a")
        await kept.journal.accepted(record)
        with sqlite3.connect(tmp_path / "journal.sqlite3", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")  # no other connection can write now
            kept.finish(record)
            assert record.log.read(1) == []
            await asyncio.wait_for(record.finished.wait(), 2 * STALL_BOUND_S + 0.5)
            assert not kept.journal.is_written(record)
            other.execute("ROLLBACK")
        other.close()
        await kept.journal.written()
        assert kept.journal.is_written(record)


async def test_a_disk_that_does_not_answer_is_reported(tmp_path: Path) -> None:
    async with book(tmp_path) as kept:
        writer, answers = kept.journal._writer, threading.Event()
        commit = writer._commit

        def hang(batches: list[Batch]) -> None:
            answers.wait(20)
            commit(batches)

        writer._commit = hang  # type: ignore[method-assign]
        record = kept.new("a")
        await until(lambda: "does not answer" in kept.journal.error)
        answers.set()
        await kept.journal.accepted(record)
        assert kept.journal.error == ""


async def test_of_a_refused_job_nothing_is_written_later(tmp_path: Path) -> None:
    async with book(tmp_path) as kept:
        with full_disk(kept.journal):
            refused = kept.new("refused", text="x" * 300_000)
            for _ in range(20):
                put(refused, "more")  # handed over while the first is being tried, or before
                await asyncio.sleep(0)
            with pytest.raises(StorageFull):
                await kept.journal.accepted(refused)
        await kept.journal.written()
        with sqlite3.connect(tmp_path / "journal.sqlite3") as other:
            for table in ("jobs", "requests", "labels", "events"):
                assert other.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        other.close()


@pytest.mark.parametrize("how", ["moved", "another"])
async def test_what_is_not_in_its_place_takes_no_new_jobs_until_it_is(tmp_path: Path, how: str) -> None:
    path, elsewhere = tmp_path / "journal.sqlite3", tmp_path / "elsewhere"
    async with book(tmp_path) as kept:
        old = kept.new("old")
        await kept.journal.accepted(old)
        path.rename(elsewhere)
        if how == "another":
            path.touch()
        await until(lambda: "in its place" in kept.journal.error)  # also while there is nothing to write
        new = kept.new("new")
        with pytest.raises(StorageFull, match="in its place"):
            await kept.journal.accepted(new)
        kept.finish(old)
        await asyncio.wait_for(old.finished.wait(), 10)
        elsewhere.rename(path)
        await until(lambda: not kept.journal.error)
        await kept.journal.accepted(kept.new("later"))
    async with book(tmp_path) as again:
        assert [entry.id for entry in again.contents.entries] == ["old", "later"]
