"""A new server restores the journal of one that was killed or ended: jobs that had begun, that waited or had ended.

For lost jobs, it adds what the engine knows of their end.
"""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.core.jobs.model import Caller, Cause, JobRequest, Reason, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.running import restore
from supervisor.core.streams.history import story_of
from supervisor.core.supervisor import Supervisor
from supervisor.engine.containment import Proof
from supervisor.engine.report import UNRECORDED, Loss, ResourceReport, TaskReported
from tests.support.core import CALLER, begun, cancel, ended, events, running_on, started, state, submit, types, until
from tests.support.fake_engine import FakeEngine

pytestmark = pytest.mark.anyio


async def killed(supervisor: Supervisor, folder: Path) -> Path:
    """Return a copy of the state folder that a server killed at this moment would leave."""
    await supervisor.journal.written()
    return Path(shutil.copytree(supervisor.settings.state_dir, folder))


async def known(supervisor: Supervisor, job_id: str) -> LiveJob:
    record = await supervisor.lookup.find(job_id, CALLER)
    assert isinstance(record, LiveJob)
    return record


@pytest.mark.parametrize("phase", ["starting", "running", "cleanup", "cancelling"])
async def test_what_had_begun_is_lost_and_says_what_the_engine_knows(tmp_path: Path, phase: str) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path / "first") as supervisor:
        record = submit(supervisor, "shell", id="lost", command="x")
        attempt = await started(engine)
        if phase != "starting":
            attempt.runs()
        if phase == "cleanup":
            attempt.report(ResourceReport("acquired", "terminal", "pts/1"), TaskReported("a result"))
        if phase == "cancelling":
            cancel(supervisor, record)
        left = await killed(supervisor, tmp_path / "second")
        before = events(record)
    gone_at = 1_700_000_000.0
    engine = FakeEngine(losses={"lost": Loss("they were killed with their guardian", gone_at, "echild")})
    async with running_on(engine, left) as supervisor:
        job = (await ended(await known(supervisor, "lost"))).job
        assert (job.state, job.result, job.finished_at) == (State.LOST, None, datetime.fromtimestamp(gone_at, UTC))
        assert job.error is not None
        assert (job.error.kind, job.error.proof) == ("lost", Proof.ECHILD)
        assert job.error.message == "the server ended while this job ran: they were killed with their guardian"
        assert all(entry.removed_at for entry in job.resources)
        after = events(await known(supervisor, "lost"))
        assert [event["id"] for event in after] == list(range(len(before) + 1, len(before) + 1 + len(after)))
        told = ["job.resource", "job.lost"] if phase == "cleanup" else ["job.lost"]
        assert [event["type"] for event in after] == told
        assert engine.attempts == []


async def test_one_of_which_the_engine_knows_nothing_is_lost_without_a_proof(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path / "first") as supervisor:
        await begun(supervisor, engine, id="lost")
        left = await killed(supervisor, tmp_path / "second")
    async with running_on(FakeEngine(), left) as supervisor:
        job = (await ended(await known(supervisor, "lost"))).job
        assert job.error is not None
        assert (job.state, job.error.proof) == (State.LOST, None)
        assert job.error.message.endswith(UNRECORDED.words)
    async with running_on(FakeEngine(losses={"lost": Loss("again", 1.0, "echild")}), left) as supervisor:
        again = await supervisor.lookup.find("lost", CALLER)  # a reported end does not change
        assert again.job.error == job.error


async def test_the_queued_run_in_their_order_and_the_finished_stay_as_they_were(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path / "first", max_running=1) as supervisor:
        over, attempt = await begun(supervisor, engine, id="over")
        attempt.report(TaskReported([1, 2]))
        attempt.prove()
        await ended(over)
        await begun(supervisor, engine, id="runs")
        for name in ("q1", "q2", "q3"):
            submit(supervisor, "shell", id=name, command=name)
        stopped = await known(supervisor, "q2")
        cancel(supervisor, stopped)
        told = events(over)
        left = await killed(supervisor, tmp_path / "second")
    engine = FakeEngine()
    async with running_on(engine, left, max_running=1) as supervisor:
        (is_known, _) = engine.keep_files.call_args.args
        assert [is_known(name) for name in ("over", "q1", "stranger")] == [True, True, False]
        assert (await supervisor.lookup.find("over", CALLER)).job == over.job
        again = await supervisor.lookup.events(story_of(await supervisor.lookup.find("over", CALLER)), 0)
        assert [item.id for item in again if hasattr(item, "id")] == [event["id"] for event in told]
        assert (await supervisor.lookup.find("q2", CALLER)).job.state is State.CANCELLED
        for number, name in enumerate(("q1", "q3"), 1):
            attempt = await started(engine, number)
            assert (attempt.order.job_id, attempt.order.input) == (name, {"command": name})
            assert len(engine.attempts) == number
            attempt.prove()
        record = await known(supervisor, "q3")
        await ended(record)
        assert types(record)[0] == "job.starting"


async def test_a_job_that_hangs_on_a_stream_waits_for_its_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "REATTACH_S", 0.05)
    engine = FakeEngine()
    async with running_on(engine, tmp_path / "first", max_running=1) as supervisor:
        await begun(supervisor, engine)
        for name in ("comes back", "stays away", "is stopped"):
            job_id = name.replace(" ", "-")
            record, _ = supervisor.admit(JobRequest("shell", {"command": "x"}, id=job_id), caller=CALLER)
            assert isinstance(record, LiveJob)
            supervisor.attach(record)
        left = await killed(supervisor, tmp_path / "second")
    engine = FakeEngine()
    async with running_on(engine, left) as supervisor:
        back, away, stopped = [await known(supervisor, name) for name in ("comes-back", "stays-away", "is-stopped")]
        supervisor.attach(back)
        cancel(supervisor, stopped)
        assert (await started(engine)).order.job_id == "comes-back"
        await ended(stopped)
        await ended(away)
        assert [record.job.cancellation.reason for record in (stopped, away) if record.job.cancellation] == [
            Reason.API,
            Reason.CLIENT_DISCONNECTED,
        ]
        assert types(away) == ["cancel.requested", "cancel.verified", "job.cancelled"]
        assert (state(back), len(engine.attempts)) == (State.STARTING, 1)


async def test_a_cancel_that_came_early_still_overtakes_its_job(tmp_path: Path) -> None:
    async with running_on(FakeEngine(), tmp_path / "first") as supervisor:
        cause = Cause(Reason.API, time.monotonic(), datetime.now(UTC), "changed my mind")
        assert supervisor.cancel("early", cause, caller=CALLER) is False
        left = await killed(supervisor, tmp_path / "second")
    async with running_on(FakeEngine(), left) as supervisor:
        theirs, _ = supervisor.admit(JobRequest("shell", {"command": "x"}, id="other"), caller=Caller("u"))
        record = submit(supervisor, "shell", id="early", command="x")
        assert record.job.state is State.CANCELLED
        assert record.job.cancellation is not None
        assert record.job.cancellation.detail == "changed my mind"
        assert isinstance(theirs, LiveJob)
        assert state(theirs) is State.QUEUED


async def test_a_task_that_is_gone_by_then_fails_what_waited_for_it(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.room.clear()
    async with running_on(engine, tmp_path / "first") as supervisor:
        await supervisor.journal.accepted(submit(supervisor, "shell", id="waits", command="x"))
        left = await killed(supervisor, tmp_path / "second")
    engine = FakeEngine()
    async with running_on(engine, left, tasks_off=["shell"]) as supervisor:
        await until(lambda: supervisor.counts()[State.FAILED] == 1)
        job = (await supervisor.lookup.find("waits", CALLER)).job
        assert job.error is not None
        assert job.error.kind == "load"
        assert "switched off" in job.error.message
        assert (engine.attempts, engine.held) == ([], 0)
