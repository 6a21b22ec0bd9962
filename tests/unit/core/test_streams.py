"""Streams that hold a job's life, and leases: with the last of them the job is stopped, at once or after its grace."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from supervisor.core.jobs.model import Reason, State
from supervisor.engine.report import TaskReported
from supervisor.errors import Conflict
from tests.support.core import CALLER, begun, cancel, ended, running_on, state, submit, until
from tests.support.fake_engine import FakeEngine

pytestmark = pytest.mark.anyio


async def test_the_last_stream_that_leaves_stops_the_job(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine)
        supervisor.attach(record)
        supervisor.attach(record)
        supervisor.detach(record)
        assert (state(record), attempt.stops) == (State.RUNNING, [])
        supervisor.detach(record)
        assert (state(record), len(attempt.stops)) == (State.CANCELLING, 1)
        assert record.job.cancellation is not None
        assert record.job.cancellation.reason is Reason.CLIENT_DISCONNECTED
        attempt.prove()
        await ended(record)


@pytest.mark.parametrize("vanished", [False, True])
async def test_the_stop_is_as_old_as_the_hang_up_and_knows_how_it_came(tmp_path: Path, vanished: bool) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine)
        supervisor.attach(record)
        left_at = time.monotonic() - 50.0
        supervisor.detach(record, vanished=vanished, left_at=left_at)
        (stop,) = attempt.stops
        assert stop.vanished is vanished
        assert 50.0 <= stop.age_s <= time.monotonic() - left_at


async def test_one_in_the_queue_never_starts(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=1) as supervisor:
        await begun(supervisor, engine)
        waits = submit(supervisor, "shell", command="x")
        supervisor.attach(waits)
        supervisor.detach(waits)
        assert state(waits) is State.CANCELLED
        assert len(engine.attempts) == 1


async def test_after_the_result_it_only_hurries_the_end(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine)
        supervisor.attach(record)
        attempt.report(TaskReported("fine"))
        supervisor.detach(record)
        assert len(attempt.stops) == 1
        attempt.prove()
        await ended(record)
        assert (record.job.state, record.job.result, record.job.cancellation) == (State.SUCCEEDED, "fine", None)


async def test_within_its_grace_a_client_may_come_back(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine, reconnect_grace_s=60.0)
        supervisor.attach(record)
        supervisor.detach(record)
        assert list(supervisor._holding._graces) == [record.job.id]
        supervisor.attach(record)
        assert (supervisor._holding._graces, attempt.stops) == ({}, [])
        supervisor.detach(record)
        attempt.prove()
        await ended(record)
        assert supervisor._holding._graces == {}


async def test_after_its_grace_the_job_is_stopped(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine, reconnect_grace_s=0.02)
        supervisor.attach(record)
        supervisor.detach(record)
        assert attempt.stops == []
        await until(lambda: bool(attempt.stops))
        assert record.job.cancellation is not None
        assert record.job.cancellation.reason is Reason.CLIENT_DISCONNECTED


async def test_streams_that_the_server_ends_stop_nothing_that_waits(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=1) as supervisor:
        _, attempt = await begun(supervisor, engine)
        waits = submit(supervisor, "shell", command="x")
        supervisor.attach(waits)
        attempt.prove()
        engine.room.clear()
        await supervisor.shutdown()
        supervisor.detach(waits)
        assert state(waits) is State.QUEUED


# --- leases


async def test_a_lease_runs_out_in_the_queue_too(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        engine.room.clear()
        record = submit(supervisor, "shell", command="x", lease_s=0.02)
        await ended(record)
        assert record.job.cancellation is not None
        assert record.job.cancellation.reason is Reason.LEASE
        assert record.job.cancellation.detail == "the lease of 0.02 s ran out"
        assert (record.job.state, engine.attempts) == (State.CANCELLED, [])


async def test_a_renewed_lease_begins_anew(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine, lease_s=60.0)
        first = supervisor.leases._running[record.job.id].timer
        assert supervisor.leases.renew(record.job).lease_s == 60.0
        second = supervisor.leases._running[record.job.id].timer
        assert second._due > first._due
        assert first._handle.cancelled()
        cancel(supervisor, record)
        with pytest.raises(Conflict, match="it is cancelling"):
            supervisor.leases.renew(record.job)
        attempt.prove()
        await ended(record)
        assert supervisor.leases._running == {}
        with pytest.raises(Conflict, match="it is cancelled"):
            supervisor.leases.renew(record.job)


async def test_readers_see_the_job_to_its_end_and_no_further(tmp_path: Path) -> None:
    """The events of a finished job are the same whether they were followed live or read back."""
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine)
        await supervisor.journal.written()
        subscription = supervisor.feed.subscribe(CALLER)
        attempt.report(TaskReported("fine"))
        attempt.prove()
        await ended(record)
        followed = [item.type for item in record.log.read(0) if hasattr(item, "type")]
        assert followed[-1] == "job.succeeded"
        assert [event.type for event in subscription._buffer] == followed[-2:]
        supervisor.feed.unsubscribe(subscription)
