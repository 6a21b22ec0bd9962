"""Retention by count, by age and by bytes. One large job never causes all the others to be removed."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from supervisor.core.jobs.event_log import Event, Gap
from supervisor.core.journal.reader import Wanted
from supervisor.core.journal.retention import PAGES_A_STEP, SPARE_PAGES, Limits
from tests.support.core import until
from tests.support.journals import PLENTY, book, put

pytestmark = pytest.mark.anyio


async def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    async with book(tmp_path, replace(PLENTY, jobs=3)) as kept:
        living = kept.new("living")
        for number in range(8):
            await kept.finished(f"job-{number}")
        await until(lambda: len(kept.removed) == 5)
        assert kept.removed == [f"job-{number}" for number in range(5)]
        rows, more = await kept.journal.jobs(Wanted())
        assert ([row.job.id for row in rows], more) == (["job-7", "job-6", "job-5"], False)
        assert not living.finished.is_set()


async def test_what_is_too_old_goes(tmp_path: Path) -> None:
    async with book(tmp_path, replace(PLENTY, age_s=60.0)) as kept:
        old, young = kept.new("old"), kept.new("young")
        kept.finish(old, at=datetime.now(UTC) - timedelta(seconds=61))
        kept.finish(young, at=datetime.now(UTC) - timedelta(seconds=30))
        await until(lambda: kept.removed == ["old"])
        assert await kept.journal.job("young") is not None


async def test_bytes_are_bounded_and_the_file_shrinks(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite3"
    bound = 2 * 1024 * 1024
    async with book(tmp_path) as kept:
        for number in range(20):
            record = kept.new(f"job-{number}")
            put(record, "z" * 30_000, 20)
            kept.finish(record)
            await record.finished.wait()
    grown = file.stat().st_size
    assert grown > 5 * bound
    async with book(tmp_path, Limits(1000, 3600.0, bound)) as kept:
        await until(lambda: len(kept.removed) >= 16)
        # What stays free is for the next events; the rest is given back, in steps that no commit has to wait out.
        await until(lambda: file.stat().st_size < bound + (SPARE_PAGES + PAGES_A_STEP) * 4096)
        assert kept.removed == [f"job-{number}" for number in range(len(kept.removed))]


async def test_one_job_cannot_push_out_all_others(tmp_path: Path) -> None:
    async with book(tmp_path, Limits(1000, 3600.0, 4 * 1024 * 1024)) as kept:
        await kept.finished("quiet")
        loud = kept.new("loud")
        for _ in range(40):
            put(loud, "z" * 30_000, 5)
            await kept.settled()
        first = 0

        async def oldest() -> int:
            (gap, *_) = await kept.journal.events(loud.seq, "loud", 0, loud.log.last_id)
            return gap.last if isinstance(gap, Gap) else 0

        async with asyncio.timeout(10):
            while first < 150:
                first = await oldest()
        assert kept.removed == []
        kept.finish(loud)


async def test_many_that_talk_are_bounded_together(tmp_path: Path) -> None:
    bound = 4 * 1024 * 1024
    async with book(tmp_path, Limits(1000, 3600.0, bound)) as kept:
        talkers = [kept.new(f"talker-{number}") for number in range(12)]
        for _ in range(30):
            for talker in talkers:
                put(talker, "z" * 30_000)  # in the end 900 KiB each, less than a quarter
            await kept.journal.written()

        def used_bytes() -> int:
            with sqlite3.connect(tmp_path / "journal.sqlite3") as other:
                (pages,) = other.execute("PRAGMA page_count").fetchone()
                (free,) = other.execute("PRAGMA freelist_count").fetchone()
            other.close()
            return int(pages - free) * 4096

        await until(lambda: used_bytes() <= bound)
        for talker in talkers:
            items = await kept.journal.events(talker.seq, talker.job.id, 0, talker.log.last_id)
            assert isinstance(items[0], Gap), "each gave of its oldest"
            assert isinstance(items[-1], Event)
        assert kept.removed == []
