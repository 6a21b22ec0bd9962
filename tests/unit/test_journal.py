"""Writing and reading back: reported events are kept, and a job that cannot be kept is never accepted."""

from __future__ import annotations

import asyncio
import gc
import json
import sqlite3
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.core.jobs.event_log import Event, Gap
from supervisor.core.jobs.model import State
from supervisor.core.journal.rows import pack, unpack
from supervisor.errors import StorageFull
from tests.support.core import until
from tests.support.journals import PLENTY, book, full_disk, numbers, put

pytestmark = pytest.mark.anyio


async def test_no_event_is_released_before_it_is_written(tmp_path: Path) -> None:
    async with book(tmp_path) as kept:
        record = kept.new("a")
        put(record, "hi", 10)
        assert record.log.read(0) == []
        await kept.journal.accepted(record)
        assert numbers(record.log.read(0)) == list(range(1, 12))
        with sqlite3.connect(tmp_path / "journal.sqlite3") as other:
            assert other.execute("SELECT id, last_event_id FROM jobs").fetchall() == [("a", 11)]
        other.close()


async def test_what_was_written_is_read_back_byte_for_byte(tmp_path: Path) -> None:
    async with book(tmp_path) as kept:
        record = kept.new("a", text="half a pair: \ud800", nested={"ü": [1, None]})
        put(record, "\x1b[0m\n\ud83d lone", 3)
        put(record, "x" * 30_000, 20)
        kept.finish(record)
        await record.finished.wait()
        told = kept.told["a"]
    async with book(tmp_path) as again:
        (entry,) = again.contents.entries
        assert (entry.id, entry.token, entry.state, entry.last_event_id) == ("a", "t", State.SUCCEEDED, 25)
        found: list[Event | Gap] = []
        while len(found) < 25:
            found += await again.journal.events(entry.seq, "a", len(found), 25)
        assert found == told
        row = await again.journal.job("a")
        assert row is not None
        assert (row.job.finished_at, row.digest) == (record.job.finished_at, record.digest)
        assert await again.journal.job("b") is None


async def test_that_a_job_begins_is_written_before_it_does(tmp_path: Path) -> None:
    async with book(tmp_path) as kept:
        begins, put_off = kept.new("begins"), kept.new("put off")
        for record in (begins, put_off):
            await kept.journal.accepted(record)
            await kept.journal.begins(record)
        kept.journal.not_begun(put_off)
        assert begins.job.state is State.QUEUED
    # Here the server was killed, before it could report the job that it had just started.
    async with book(tmp_path) as again:
        states = {row.job.id: row.job.state for row in again.contents.unfinished}
        assert states == {"begins": State.STARTING, "put off": State.QUEUED}


async def test_an_id_is_free_at_once_when_its_job_is_forgotten(tmp_path: Path) -> None:
    async with book(tmp_path) as kept:
        with sqlite3.connect(tmp_path / "journal.sqlite3", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")  # so that all of it comes into one transaction
            for _ in range(3):
                record = kept.new("a")
                await asyncio.sleep(0)
                kept.finish(record)
                await asyncio.sleep(0)
                kept.journal.forget(record.seq)
            last = kept.new("a")
            other.execute("ROLLBACK")
        other.close()
        await kept.journal.accepted(last)
        assert kept.refused == []
    async with book(tmp_path) as again:
        assert [(row.seq, row.job.id) for row in again.contents.unfinished] == [(last.seq, "a")]


async def test_an_end_that_is_forgotten_before_it_was_written_is_released(tmp_path: Path) -> None:
    async with book(tmp_path) as kept:
        record = kept.new("a")
        await kept.journal.accepted(record)
        kept.finish(record)
        kept.journal.forget(record.seq)
        assert record.finished.is_set()
        assert numbers(record.log.read(0)) == [1, 2]
        unheard = kept.new("b")
        kept.finish(unheard)
        kept.journal.forget(unheard.seq)
        await asyncio.wait_for(kept.journal.accepted(unheard), 1)
        await kept.journal.written()
    async with book(tmp_path) as again:
        assert again.contents.entries == []


async def test_of_a_job_that_is_gone_nothing_stays_in_memory(tmp_path: Path) -> None:
    async with book(tmp_path, replace(PLENTY, jobs=0)) as kept:
        await kept.finished("first")
        refs = [weakref.ref(await kept.finished("removed"))]
        await until(lambda: kept.removed == ["first", "removed"])
        with full_disk(kept.journal):
            refused = kept.new("refused", text="x" * 300_000)
            with pytest.raises(StorageFull):
                await kept.journal.accepted(refused)
            kept.finish(refused, State.FAILED)
            assert refused.finished.is_set()
            refs.append(weakref.ref(refused))
            kept.refused.clear()
            del refused
        await kept.journal.written()
        gc.collect()
        assert [ref() for ref in refs] == [None, None]


def test_lines_come_apart_as_they_were_put_together() -> None:
    events = [
        Event(number, "j", "job.output", json.dumps({"id": number, "text": "a b\n" * number}))
        for number in range(1, 90)
    ]
    rows = list(pack(events))
    assert [event for first, _, lines in rows for event in unpack("j", first, lines)] == events
    assert [first for first, _, _ in rows[1:]] == [last + 1 for _, last, _ in rows[:-1]]
