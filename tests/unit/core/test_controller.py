"""A job's controller, from its place in the queue to its terminal event, on an engine that the test controls.

Tests in tests/process show that an end also ends the processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest
from structlog.testing import capture_logs

from supervisor.core.jobs.model import State
from supervisor.core.running.controller import NOT_STARTED
from supervisor.core.telemetry.metrics import Metrics
from supervisor.engine.engine import StartRefused
from supervisor.engine.report import Ended, JobError, PhaseReport, ResourceReport, TaskReported
from tests.support.core import begun, ended, events, running_on, started, state, submit, types, until
from tests.support.fake_engine import FakeAttempt, FakeEngine

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_plain_logs")]
RAISED = JobError("raised", "ValueError: no")


@pytest.fixture
def _plain_logs() -> Iterator[None]:
    """A traceback takes a console longer to draw than the rest of a test takes."""
    with capture_logs():
        yield


async def test_a_job_that_succeeds(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record = submit(supervisor, "shell", command="x")
        assert state(record) is State.QUEUED
        attempt = await started(engine)
        assert (attempt.order.task, attempt.order.module) == ("shell", "runner.tasks.shell")
        assert attempt.order.input == {"command": "x"}
        assert state(record) is State.STARTING
        attempt.runs()
        assert state(record) is State.RUNNING
        attempt.report(TaskReported({"exit_code": 0}))
        assert (state(record), record.job.phase) == (State.RUNNING, "cleanup")
        attempt.prove(leftovers=2)
        await ended(record)
        assert (record.job.state, record.job.result) == (State.SUCCEEDED, {"exit_code": 0})
        assert (record.job.leftovers, record.job.cancellation, record.job.phase) == (2, None, None)
        assert types(record) == ["job.queued", "job.starting", "job.running", "job.phase", "job.succeeded"]
        assert attempt.stops == []
        assert supervisor.faults.current() == {}


@pytest.mark.parametrize(
    ("reported", "limit", "expected"),
    [
        (RAISED, None, RAISED),
        (None, None, JobError("exited", "from the engine", 7)),
        (RAISED, JobError("memory", "too much"), JobError("memory", "too much")),
        (None, JobError("memory", "too much"), JobError("memory", "too much")),
    ],
    ids=["by the task", "by the engine", "by a limit, after the task", "by a limit"],
)
async def test_what_explains_a_failure(
    tmp_path: Path, reported: JobError | None, limit: JobError | None, expected: JobError
) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine)
        if reported is not None:
            attempt.report(TaskReported(error=reported))
        attempt.prove(error=JobError("exited", "from the engine", 7), limit=limit)
        await ended(record)
        assert (record.job.state, record.job.error) == (State.FAILED, expected)


async def test_a_job_that_cannot_be_prepared_or_started_fails_and_gives_everything_back(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=1) as supervisor:
        engine.refusal = "no space for a workspace"
        record = await ended(submit(supervisor, "shell", command="x"))
        assert (record.job.state, record.job.error) == (State.FAILED, JobError("store", "no space for a workspace"))
        engine.refusal, engine.failure = "", RuntimeError("a bug")
        record = await ended(submit(supervisor, "shell", command="x"))
        assert (record.job.state, record.job.error) == (State.FAILED, NOT_STARTED)
        assert supervisor.faults.current() == {"job controller": "RuntimeError: a bug"}
        engine.failure = None
        assert engine.held == 0
        _, attempt = await begun(supervisor, engine)
        assert engine.attempts == [attempt]


async def test_an_engine_that_closes_says_why_a_job_did_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        monkeypatch.setattr(engine, "reserve", AsyncMock(side_effect=StartRefused("the engine is closing")))
        record = await ended(submit(supervisor, "shell", command="x"))
        assert (record.job.state, record.job.error) == (State.FAILED, JobError("guardian", "the engine is closing"))
        assert supervisor.faults.current() == {}


async def test_a_report_that_does_not_fit_is_refused_in_the_job_s_log_and_the_job_goes_on(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine)
        attempt.runs()  # a second time
        assert state(record) is State.RUNNING
        attempt.report(TaskReported("first"))
        attempt.report(TaskReported("second"))
        attempt.report(PhaseReport("llm"))
        attempt.prove()
        await ended(record)
        assert (record.job.state, record.job.result) == (State.SUCCEEDED, "first")
        (refused,) = [event for event in events(record) if event["type"] == "job.log"]
        assert (refused["message"], refused["level"]) == ("a frame of this job was refused", "warning")
        assert [event["phase"] for event in events(record) if event["type"] == "job.phase"] == ["cleanup"]
        assert supervisor.faults.current() == {}


async def test_an_observer_with_a_bug_keeps_no_job_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    monkeypatch.setattr(Metrics, "fact", Mock(side_effect=ZeroDivisionError("a bug")))
    async with running_on(engine, tmp_path, max_running=1) as supervisor:
        record, attempt = await begun(supervisor, engine)
        attempt.report(TaskReported("fine"))
        attempt.prove()
        await ended(record)
        assert (record.job.state, record.job.result) == (State.SUCCEEDED, "fine")
        assert supervisor.faults.current() == {"observer": "ZeroDivisionError: a bug"}
        await begun(supervisor, engine)  # the slot is free


async def test_an_attempt_whose_end_fails_is_killed_and_followed_to_its_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [RuntimeError("a bug")]
    wait = FakeAttempt.ended

    async def ended_once_more(attempt: FakeAttempt) -> Ended:
        if failing:
            raise failing.pop()
        return await wait(attempt)

    monkeypatch.setattr(FakeAttempt, "ended", ended_once_more)
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=1) as supervisor:
        record = submit(supervisor, "shell", command="x")
        attempt = await started(engine)
        await until(lambda: bool(attempt.stops))
        assert [(stop.force, stop.budget_s) for stop in attempt.stops] == [(True, 2.0)]
        waits = submit(supervisor, "shell", command="x")
        await supervisor.journal.accepted(waits)
        assert (state(record), len(engine.attempts)) == (State.STARTING, 1)  # not reported as ended before its proof
        attempt.prove(error=RAISED)
        await ended(record)
        assert (record.job.state, record.job.error) == (State.FAILED, RAISED)
        assert supervisor.faults.current() == {"job controller": "RuntimeError: a bug"}
        await started(engine, 2)


async def test_what_a_job_still_holds_is_removed_with_it_but_for_a_workspace_that_stays(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        for removed in (True, False):
            record, attempt = await begun(supervisor, engine)
            attempt.report(
                ResourceReport("acquired", "directory", "/w"),
                ResourceReport("acquired", "terminal", "pts/1"),
                ResourceReport("acquired", "file", "gone"),
                ResourceReport("released", "file", "gone"),
                TaskReported(),
            )
            attempt.prove(workspace="/w", workspace_removed=removed, problems=("the disk is full",))
            await ended(record)
            last = {entry.name: entry.action for entry in record.job.resources}
            assert last == {"/w": "removed" if removed else "acquired", "pts/1": "removed", "gone": "released"}
            (problem,) = [event for event in events(record) if event["type"] == "job.log"]
            assert (problem["message"], problem["level"]) == ("the disk is full", "error")
