"""A job is accepted once its row is on the disk, and begins once the journal says so: no server that is killed leaves a
job that was promised and is not known, or one that would begin a second time."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from supervisor.core.jobs.model import JobRequest, Method, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.journal.batch import Batch
from supervisor.errors import NotFound, StorageFull
from tests.support.core import (
    CALLER,
    begun,
    cancel,
    ended,
    running_on,
    started,
    state,
    submit,
    types,
    until,
)
from tests.support.fake_engine import FakeEngine
from tests.support.journals import full_disk

pytestmark = pytest.mark.anyio


@contextmanager
def unwritable(folder: Path) -> Iterator[sqlite3.Connection]:
    """Lock the journal as another program would, until a ROLLBACK."""
    with closing(sqlite3.connect(folder / "journal.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def rows(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "journal.sqlite3")) as other:
        return [name for (name,) in other.execute("SELECT id FROM jobs ORDER BY seq")]


async def test_submit_returns_after_the_row_is_written(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        for number in range(5):
            await supervisor.submit(JobRequest("shell", {"command": "x"}, id=f"j{number}"), caller=CALLER)
            assert rows(tmp_path) == [f"j{n}" for n in range(number + 1)]


async def test_submit_waits_for_the_disk_and_so_do_the_first_event_and_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        on_their_way: list[Batch] = []
        with monkeypatch.context() as patch:
            patch.setattr(supervisor.journal._writer, "put", on_their_way.append)
            request = JobRequest("shell", {"command": "x"}, id="waits")
            submitting = asyncio.ensure_future(supervisor.submit(request, caller=CALLER))
            await until(lambda: bool(on_their_way))
            record = supervisor._registry.record("waits")
            assert record is not None
            assert (submitting.done(), types(record), engine.held) == (False, [], 0)
        for batch in on_their_way:
            supervisor.journal._writer.put(batch)
        assert await submitting == (record, True)
        assert types(record)[0] == "job.queued"
        assert (await started(engine)).order.job_id == "waits"


async def test_what_cannot_be_written_is_refused_and_was_never_there(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        request = JobRequest("shell", {"command": "x" * 300_000}, id="refused")
        with full_disk(supervisor.journal):
            with pytest.raises(StorageFull, match="cannot keep the job"):
                await supervisor.submit(request, caller=CALLER)
            with pytest.raises(NotFound):
                await supervisor.lookup.find("refused", CALLER)
            await until(lambda: not list(supervisor._owners))
        assert (engine.attempts, engine.held, rows(tmp_path)) == ([], 0, [])
        # Its id is free, and so is its slot.
        assert (await supervisor.submit(request, caller=CALLER))[1] is True
        assert (await started(engine)).order.job_id == "refused"


async def test_nothing_begins_that_cannot_be_written_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=2) as supervisor:
        slots = [await begun(supervisor, engine), await begun(supervisor, engine)]
        waits, stopped = (submit(supervisor, "shell", command="x") for _ in range(2))
        for record in (waits, stopped):
            await supervisor.journal.accepted(record)
        with unwritable(tmp_path) as other:
            for record, attempt in slots:
                cancel(supervisor, record)
                attempt.prove(gone_ms=1.0)
            # Their ends are reported all the same, and the slots are free.
            for record, _ in slots:
                assert (await ended(record)).job.state is State.CANCELLED
            await until(lambda: "locked" in supervisor.journal.error)
            assert (waits.job.state, len(engine.attempts)) == (State.QUEUED, 2)
            cancel(supervisor, stopped)
            assert (await ended(stopped)).job.state is State.CANCELLED
            assert stopped.job.cancellation is not None
            assert stopped.job.cancellation.method is Method.NEVER_STARTED
            other.execute("ROLLBACK")
            (await started(engine, 3)).prove()
            await ended(waits)
        assert [attempt.order.job_id for attempt in engine.attempts[2:]] == [waits.job.id]
    gc.collect()  # asyncio tells of an exception that is dropped unread
    assert not [entry.getMessage() for entry in caplog.records if entry.name == "asyncio"]


async def test_what_did_not_begin_before_the_end_is_queued_at_the_next_start(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=1) as supervisor:
        first, attempt = await begun(supervisor, engine)
        waits = submit(supervisor, "shell", command="x", id="waits")
        await supervisor.journal.accepted(waits)
        with unwritable(tmp_path) as other:
            cancel(supervisor, first)
            attempt.prove(gone_ms=1.0)
            await ended(first)
            await until(lambda: "locked" in supervisor.journal.error)
            other.execute("ROLLBACK")
            await supervisor.shutdown()
        assert (state(waits), len(engine.attempts)) == (State.QUEUED, 1)
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        assert (await started(engine)).order.job_id == "waits"
        record = await supervisor.lookup.find("waits", CALLER)
        assert isinstance(record, LiveJob)
        engine.attempts[0].prove()
        await ended(record)
