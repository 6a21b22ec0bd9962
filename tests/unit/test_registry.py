from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from supervisor.core.jobs.event_log import Event
from supervisor.core.jobs.model import Caller, Job, JobRequest, State
from supervisor.core.jobs.registry import LiveJob, Registry
from supervisor.core.journal.rows import JobSummary
from supervisor.core.running.queue import Queue
from supervisor.engine.containment import Level
from supervisor.errors import Conflict, NotFound, QueueFull

T = Caller("t")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ignore(_event: Event) -> None:
    pass


def a_record(job_id: str, request: JobRequest | None = None, state: State = State.QUEUED) -> LiveJob:
    job = Job(job_id, request or JobRequest("demo", {}, id=job_id), NOW, Level.SUBREAPER, state=state)
    return LiveJob(job, ignore, token=T.token)


def test_the_same_request_finds_its_job_and_another_body_is_a_conflict() -> None:
    registry = Registry()
    request = JobRequest("demo", {"a": 1}, id="x")
    record = a_record("x", request)
    registry.add(record)
    assert registry.find_same(JobRequest("demo", {"a": 1}, id="x"), T) is record
    assert registry.find_same(JobRequest("demo", {"a": 1}, id="y"), T) is None
    with pytest.raises(Conflict, match="another body"):
        registry.find_same(JobRequest("demo", {"a": 2}, id="x"), T)


def test_a_key_finds_the_job_for_its_token_only() -> None:
    registry = Registry()
    request = JobRequest("demo", {}, idempotency_key="k")
    record = a_record("x", request)
    registry.add(record)
    assert registry.find_same(request, T) is record
    assert registry.find_same(request, Caller("somebody else")) is None
    with pytest.raises(Conflict, match="belongs to job x"):
        registry.find_same(JobRequest("demo", {}, id="y", idempotency_key="k"), T)


def test_only_finished_jobs_are_forgotten() -> None:
    registry = Registry()
    registry.add(a_record("x", state=State.RUNNING))
    registry.add(a_record("y", state=State.SUCCEEDED))
    with pytest.raises(Conflict, match="it is running"):
        registry.remove("x")
    registry.remove("y")
    with pytest.raises(NotFound):
        registry.get("y")


def test_an_id_that_is_another_jobs_by_now_is_not_dropped() -> None:
    registry = Registry()
    first, second = (LiveJob(a_record("x").job, ignore, token=T.token, seq=seq) for seq in (1, 2))
    registry.add(first)
    assert registry.drop("x", 1)
    registry.add(second)
    assert not registry.drop("x", 1), "retention may say so late"
    assert registry.get("x") is second


def finished(job_id: str, request: JobRequest | None = None, state: State = State.SUCCEEDED) -> LiveJob:
    record = a_record(job_id, request, state)
    record.log.append("job.output", {"text": "x" * 100})
    record.close()
    return record


def test_trimming_leaves_the_oldest_finished_to_the_journal() -> None:
    registry = Registry(max_finished=2)
    running = a_record("b", state=State.RUNNING)
    for record in (finished("a"), running, finished("c", state=State.FAILED), finished("d", state=State.CANCELLED)):
        registry.add(record)
    assert [record.job.id for record in registry.trim()] == ["a"]
    assert [record.job.id for record in registry] == ["d", "c", "b"]
    left = registry.get("a")
    assert isinstance(left, JobSummary)
    assert (left.state, left.last_event_id) == (State.SUCCEEDED, 1)
    assert registry.counts()[State.SUCCEEDED] == 1
    assert registry.counts(Caller("somebody else"))[State.SUCCEEDED] == 0


def test_trimming_bounds_the_memory_for_events() -> None:
    registry = Registry(max_finished_bytes=250)
    for job_id in "abc":
        registry.add(finished(job_id))
    assert [record.job.id for record in registry.trim()] == ["a", "b"]


def test_what_the_journal_does_not_have_stays_in_memory() -> None:
    registry = Registry(max_finished=0)
    for job_id in "ab":
        registry.add(finished(job_id))
    assert [record.job.id for record in registry.trim(lambda record: record.job.id == "b")] == ["b"]
    assert registry.record("a") is not None


def test_a_job_that_left_memory_still_answers_to_its_id_and_key() -> None:
    registry = Registry(max_finished=0)
    request = JobRequest("demo", {"b": 1, "a": [1, {"x": None}]}, id="x", idempotency_key="k")
    registry.add(finished("x", request))
    registry.trim()
    assert isinstance(registry.find_same(request, T), JobSummary)
    same = JobRequest("demo", {"a": [1, {"x": None}], "b": 1}, idempotency_key="k")
    assert isinstance(registry.find_same(same, T), JobSummary)
    with pytest.raises(Conflict, match="another body"):
        registry.find_same(JobRequest("demo", {"b": 2}, id="x"), T)
    with pytest.raises(Conflict, match="the id is taken"):
        registry.find_same(request, Caller("somebody else"))
    registry.remove("x")
    assert registry.find_same(request, T) is None
    assert sum(registry.counts().values()) == 0


def test_admission_is_fifo_and_bounded() -> None:
    async def scenario() -> None:
        admission = Queue(max_running=1, max_queued=2)
        first, second, third = admission.enter(), admission.enter(), admission.enter()
        assert [place.admitted.is_set() for place in (first, second, third)] == [True, False, False]
        with pytest.raises(QueueFull, match="MAX_QUEUED"):
            admission.enter()
        admission.leave(second)  # gave up while waiting
        admission.leave(first)
        assert third.admitted.is_set()
        assert admission.waiting == 0
        admission.leave(third)
        assert admission.enter().admitted.is_set()

    asyncio.run(scenario())
