"""A cancel in every phase of a job, on an engine that the test controls: none is lost, early or late.

That a stop ends processes, and by when, is shown in tests/process.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.core.jobs.model import Cause, Method, Reason, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.engine.containment import Proof, Survivor
from supervisor.engine.report import Acknowledged, JobError, Signalled, TaskReported, Unproven
from tests.support.core import CALLER, begun, cancel, ended, events, running_on, started, state, submit, types, until
from tests.support.fake_engine import FakeEngine

pytestmark = pytest.mark.anyio
NEVER_STARTED = ["job.queued", "cancel.requested", "cancel.verified", "job.cancelled"]


def check_never_started(record: LiveJob) -> None:
    """At once: there is nothing to wait for."""
    assert record.job.state is State.CANCELLED
    cancellation = record.job.cancellation
    assert cancellation is not None
    assert (cancellation.method, cancellation.proof) == (Method.NEVER_STARTED, Proof.NEVER_STARTED)
    assert (cancellation.gone_ms, cancellation.within_budget) == (0.0, True)
    assert record.job.started_at is None


async def test_in_the_queue(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=1) as supervisor:
        await begun(supervisor, engine)
        queued = [submit(supervisor, "shell", command="x") for _ in range(20)]
        for record in queued:
            cancel(supervisor, record)
            check_never_started(record)
        for record in queued:
            assert types(await ended(record)) == NEVER_STARTED
        assert len(engine.attempts) == 1


@pytest.mark.parametrize("gate", ["room", "prepared"])
async def test_what_waits_for_the_engine_never_starts_and_gives_its_room_back(tmp_path: Path, gate: str) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        getattr(engine, gate).clear()
        record = submit(supervisor, "shell", command="x")
        await supervisor.journal.accepted(record)
        await until(lambda: engine.held == (gate == "prepared"))
        cancel(supervisor, record)
        check_never_started(record)
        await ended(record)
        assert types(record) == NEVER_STARTED
        getattr(engine, gate).set()
        await until(lambda: engine.held == 0)
        other, attempt = await begun(supervisor, engine)
        assert (attempt.order.job_id, engine.attempts) == (other.job.id, [attempt])


async def test_room_that_comes_together_with_the_cancel_is_given_back(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        engine.room.clear()
        record = submit(supervisor, "shell", command="x")
        await until(lambda: bool(engine.room._waiters))
        engine.room.set()
        cancel(supervisor, record)
        check_never_started(await ended(record))
        await until(lambda: engine.held == 0)
        assert engine.attempts == []


async def test_while_it_starts(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record = submit(supervisor, "shell", command="x")
        attempt = await started(engine)
        cancel(supervisor, record)
        assert state(record) is State.CANCELLING
        assert len(attempt.stops) == 1
        attempt.runs()  # it had been sent before the stop arrived
        attempt.report(TaskReported("a result that comes too late"))
        assert state(record) is State.CANCELLING
        attempt.prove(gone_ms=12.0)
        await ended(record)
        assert (record.job.state, record.job.result) == (State.CANCELLED, None)
        told = ["job.queued", "job.starting", "cancel.requested", "cancel.verified", "job.cancelled"]
        assert types(record) == told


async def test_the_steps_of_a_cancel_are_recorded_one_by_one(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine)
        cancel(supervisor, record)
        attempt.report(Acknowledged(3.0), Signalled("SIGTERM", {"pids": [7]}, 250.0))
        attempt.report(TaskReported(error=JobError("signalled", "by SIGTERM")))  # the cancel wins over what it causes
        attempt.report(Signalled("SIGKILL", {"pids": [7]}, 1200.0))
        attempt.prove(Proof.CGROUP_EMPTY, gone_ms=1300.0, processes_seen=4, workspace_removed=True)
        await ended(record)
        cancellation = record.job.cancellation
        assert cancellation is not None
        assert (record.job.state, record.job.error) == (State.CANCELLED, None)
        assert (cancellation.acknowledged_ms, cancellation.terminated_ms, cancellation.killed_ms) == (3, 250, 1200)
        assert (cancellation.gone_ms, cancellation.proof) == (1300, Proof.CGROUP_EMPTY)
        assert (cancellation.method, cancellation.within_budget) == (Method.SIGKILL, True)
        assert (cancellation.processes_seen, cancellation.workspace_removed) == (4, True)
        assert types(record)[2:] == [
            "job.running",
            "cancel.requested",
            "cancel.acknowledged",
            "cancel.signalled",
            "cancel.signalled",
            "cancel.verified",
            "job.cancelled",
        ]


async def test_again_is_nothing_new_and_force_raises_it_once(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine)
        cancel(supervisor, record)
        cancel(supervisor, record)
        assert [stop.force for stop in attempt.stops] == [False]
        cancel(supervisor, record, force=True)
        cancel(supervisor, record, force=True)
        cancel(supervisor, record)
        assert [stop.force for stop in attempt.stops] == [False, True]
        attempt.prove()
        await ended(record)
        assert types(record).count("cancel.requested") == 1
        assert record.job.cancellation is not None
        assert record.job.cancellation.force is True
        cancel(supervisor, record, force=True)
        assert len(attempt.stops) == 2


async def test_after_the_result_it_hurries_the_end_and_the_result_stands(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine)
        attempt.report(TaskReported({"exit_code": 0}))
        cancel(supervisor, record, budget_s=0.4)
        assert (record.job.state, record.job.cancellation) == (State.RUNNING, None)
        assert [stop.budget_s for stop in attempt.stops] == [0.4]
        attempt.prove(leftovers=1)
        await ended(record)
        assert (record.job.state, record.job.result) == (State.SUCCEEDED, {"exit_code": 0})
        assert (record.job.cancellation, record.job.leftovers) == (None, 1)
        cancel(supervisor, record)
        assert record.job.state is State.SUCCEEDED


@pytest.mark.parametrize(("asked", "given"), [(None, 2.0), (0.5, 0.5), (60.0, 2.0)])
async def test_the_budget_is_never_more_than_the_server_s(tmp_path: Path, asked: float | None, given: float) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, cancel_budget_s=2.0) as supervisor:
        record, attempt = await begun(supervisor, engine)
        cancel(supervisor, record, budget_s=asked)
        assert record.job.cancellation is not None
        assert (attempt.stops[0].budget_s, record.job.cancellation.budget_s) == (given, given)
        attempt.prove(gone_ms=given * 1000 + 1)
        await ended(record)
        assert record.job.cancellation.within_budget is False


async def test_a_stop_says_how_old_its_cause_is(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine)
        detected = time.monotonic() - 100.0
        cause = Cause(Reason.API, detected, datetime.now(UTC), vanished=True)
        assert supervisor.cancel(record.job.id, cause, caller=CALLER)
        assert 100.0 <= attempt.stops[0].age_s <= time.monotonic() - detected
        assert attempt.stops[0].vanished is True


async def test_one_that_overtakes_its_submit(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        cause = Cause(Reason.API, time.monotonic(), datetime.now(UTC))
        assert supervisor.cancel("early", cause, caller=CALLER) is False
        record = submit(supervisor, "shell", id="early", command="x")
        check_never_started(record)
        assert types(await ended(record)) == NEVER_STARTED
        other = submit(supervisor, "shell", id="other", command="x")
        assert (await started(engine)).order.job_id == other.job.id


# --- what cannot be got rid of


async def test_the_unproven_are_named_keep_their_slot_and_end_with_the_proof(tmp_path: Path) -> None:
    stuck = Survivor(7, "sleep", "zombie")
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=1) as supervisor:
        record, attempt = await begun(supervisor, engine)
        waits = submit(supervisor, "shell", command="x")
        await supervisor.journal.accepted(waits)
        cancel(supervisor, record)
        attempt.report(Unproven((stuck,)))
        await supervisor.journal.written()
        cancellation = record.job.cancellation
        assert cancellation is not None
        assert (cancellation.survivors, cancellation.within_budget) == ((stuck,), False)
        assert cancellation.proof is Proof.NONE
        assert (state(record), state(waits)) == (State.CANCELLING, State.QUEUED)
        (told,) = [event for event in events(record) if event["type"] == "cancel.unproven"]
        assert told["survivors"] == [{"pid": 7, "name": "sleep", "status": "zombie"}]
        attempt.prove(Proof.ADOPTED_REAPED, gone_ms=9000.0)
        await ended(record)
        assert types(record)[-3:] == ["cancel.unproven", "cancel.verified", "job.cancelled"]
        cancellation = record.job.cancellation
        assert cancellation is not None
        assert (cancellation.proof, cancellation.survivors) == (Proof.ADOPTED_REAPED, ())
        assert cancellation.within_budget is False
        assert (await started(engine, 2)).order.job_id == waits.job.id


async def test_a_shutdown_does_not_wait_for_the_unproven_for_ever(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, cancel_budget_s=0.5) as supervisor:
        record, _ = await begun(supervisor, engine)
        await supervisor.shutdown()
        assert state(record) is State.CANCELLING
        assert supervisor.unproven() == [record.job.id]
