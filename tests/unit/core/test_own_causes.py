"""Stops that no client asks for: timeouts, stop signals, and an orderly end of the server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from supervisor.core.jobs.model import State
from supervisor.engine.report import JobError, TaskReported
from tests.support.core import begun, cancel, ended, running_on, started, state, submit, until
from tests.support.fake_engine import FakeEngine

pytestmark = pytest.mark.anyio


async def test_a_timeout_counts_from_running(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record = submit(supervisor, "shell", command="x", timeout_s=0.01)
        attempt = await started(engine)
        owner = supervisor._owners.find(record.job.id)
        assert owner is not None
        assert owner._timeout is None
        attempt.runs()
        await until(lambda: bool(attempt.stops))
        assert state(record) is State.CANCELLING
        attempt.prove(gone_ms=1.0)
        await ended(record)
        assert record.job.state is State.TIMED_OUT
        assert record.job.cancellation is not None
        assert record.job.cancellation.reason == "timeout"
        assert record.job.cancellation.detail == "ran 0.01 s"


async def test_a_timeout_after_the_result_changes_no_result(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record = submit(supervisor, "shell", command="x", timeout_s=0.01)
        attempt = await started(engine)
        attempt.runs()
        attempt.report(TaskReported("fine"))
        await until(lambda: bool(attempt.stops))
        attempt.prove()
        assert ((await ended(record)).job.state, record.job.result) == (State.SUCCEEDED, "fine")


@pytest.mark.parametrize("stopped", [True, False])
async def test_an_end_by_a_stop_signal_waits_a_moment_for_its_cause(tmp_path: Path, stopped: bool) -> None:
    error = JobError("signalled", "by SIGTERM")
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine)
        attempt.report(TaskReported(error=error, by_stop_signal=True))
        attempt.prove(by_stop_signal=True)
        assert record.reported is None
        if stopped:
            cancel(supervisor, record)
        await ended(record)
        assert (record.job.state, record.job.error) == ((State.CANCELLED, None) if stopped else (State.FAILED, error))


async def test_an_orderly_end_stops_what_has_begun_and_leaves_the_queue_to_the_next_start(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=2) as supervisor:
        begun_ones = [await begun(supervisor, engine) for _ in range(2)]
        queued = [submit(supervisor, "shell", command="x") for _ in range(2)]
        stopping = asyncio.ensure_future(supervisor.shutdown())
        await until(lambda: all(attempt.stops for _, attempt in begun_ones))
        assert supervisor.unproven() == [record.job.id for record, _ in reversed(begun_ones)]
        for _, attempt in begun_ones:
            attempt.prove(gone_ms=1.0)
        await stopping
        assert {state(record) for record, _ in begun_ones} == {State.CANCELLED}
        assert {record.job.cancellation.reason for record, _ in begun_ones if record.job.cancellation} == {"shutdown"}
        assert {state(record) for record in queued} == {State.QUEUED}
        assert (supervisor.unproven(), len(engine.attempts)) == ([], 2)
