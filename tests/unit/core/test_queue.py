"""Running and waiting jobs, seen at the engine: the order, the bounds, and a slot freed only after the proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor.core.jobs.model import Caller, JobRequest, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.engine.report import TaskReported
from supervisor.errors import QueueFull
from tests.support.core import begun, cancel, ended, running_on, started, state, submit, until
from tests.support.fake_engine import FakeEngine

pytestmark = pytest.mark.anyio


def ids(engine: FakeEngine) -> list[str]:
    return [attempt.order.job_id for attempt in engine.attempts]


async def test_jobs_begin_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=2) as supervisor:
        for number in range(6):
            submit(supervisor, "shell", id=f"j{number}", command="x")
        await started(engine, 2)
        gone = await supervisor.lookup.find("j3", Caller("t"))
        cancel(supervisor, gone)
        for number, followed_by in enumerate(["j2", "j4", "j5"]):
            engine.attempts[number].prove()
            assert (await started(engine, number + 3)).order.job_id == followed_by
            assert (len(engine.attempts), engine.held) == (number + 3, 2)
        assert ids(engine) == ["j0", "j1", "j2", "j4", "j5"]


async def test_a_slot_is_free_after_the_proof_and_not_after_the_result(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=1) as supervisor:
        record, attempt = await begun(supervisor, engine)
        waits = submit(supervisor, "shell", command="x")
        attempt.report(TaskReported("done"))
        await supervisor.journal.written()  # what could follow from the report would have by then
        assert (state(record), state(waits), len(engine.attempts)) == (State.RUNNING, State.QUEUED, 1)
        cancel(supervisor, record)
        await supervisor.journal.written()
        assert (state(waits), len(engine.attempts)) == (State.QUEUED, 1)
        attempt.prove()
        assert (await started(engine, 2)).order.job_id == waits.job.id
        assert record.job.state is State.SUCCEEDED


async def test_a_full_queue_refuses_and_has_room_again_when_one_leaves_it(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=1, max_queued=1) as supervisor:
        await begun(supervisor, engine)
        waits = submit(supervisor, "shell", command="x")
        with pytest.raises(QueueFull, match="1 jobs already wait"):
            submit(supervisor, "shell", id="refused", command="x")
        assert not supervisor._registry.knows("refused")
        cancel(supervisor, waits)
        await ended(waits)
        last = submit(supervisor, "shell", id="refused", command="x")
        engine.attempts[0].prove()
        assert (await started(engine, 2)).order.job_id == last.job.id


async def test_a_token_at_its_bound_is_passed_by_and_holds_up_no_other(tmp_path: Path) -> None:
    tokens = json.dumps({"anna": {"token": "a" * 32, "scopes": ["submit"], "max_running": 1}})
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=3, tokens=tokens) as supervisor:
        for token, job_id in (("anna", "a1"), ("anna", "a2"), ("ben", "b1"), ("ben", "b2")):
            request = JobRequest("shell", {"command": "x"}, id=job_id)
            assert supervisor.admit(request, caller=Caller(token))[1]
        await until(lambda: len(engine.attempts) == 3)
        assert ids(engine) == ["a1", "b1", "b2"]
        engine.attempts[1].prove()  # a slot is free, and anna is still at her bound
        await until(lambda: supervisor.counts()[State.FAILED] == 1)
        assert len(engine.attempts) == 3
        engine.attempts[0].prove()
        assert (await started(engine, 4)).order.job_id == "a2"


async def test_tokens_without_a_bound_take_turns_as_their_jobs_came(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=1) as supervisor:
        came = [("anna", "a1"), ("ben", "b1"), ("anna", "a2"), ("anna", "a3"), ("ben", "b2")]
        for token, job_id in came:
            supervisor.admit(JobRequest("shell", {"command": "x"}, id=job_id), caller=Caller(token))
        for number in range(1, len(came) + 1):
            (await started(engine, number)).prove()
        assert ids(engine) == [job_id for _, job_id in came]


async def test_no_place_is_lost_however_a_job_ends(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=1) as supervisor:
        for _ in range(3):
            engine.refusal = "no space"
            await ended(submit(supervisor, "shell", command="x"))
            engine.refusal = ""
            engine.room.clear()
            waits = submit(supervisor, "shell", command="x")
            await supervisor.journal.accepted(waits)
            cancel(supervisor, waits)
            await ended(waits)
            engine.room.set()
            record, attempt = await begun(supervisor, engine)
            cancel(supervisor, record)
            attempt.prove()
            assert (await ended(record)).job.state is State.CANCELLED
        assert supervisor._admission._free == 1


async def test_the_same_request_is_the_same_job(tmp_path: Path) -> None:
    """A client sends a request again if it does not know whether the first one arrived."""
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        request = JobRequest("shell", {"command": "x"}, id="once")
        first, is_new = await supervisor.submit(request, caller=Caller("t"))
        again, is_new_again = await supervisor.submit(request, caller=Caller("t"))
        assert (is_new, is_new_again) == (True, False)
        assert again is first
        (await started(engine)).prove()
        assert isinstance(first, LiveJob)
        await ended(first)
        assert (await supervisor.submit(request, caller=Caller("t")))[1] is False
        assert len(engine.attempts) == 1
