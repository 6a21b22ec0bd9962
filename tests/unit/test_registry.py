from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from supervisor.containment.level import Level
from supervisor.core.admission import Admission
from supervisor.core.event_log import Event
from supervisor.core.model import Caller, Cause, Job, JobRequest, Reason, State
from supervisor.core.registry import Record, Registry
from supervisor.errors import Conflict, NotFound, QueueFull

T = Caller("t")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ignore(_event: Event) -> None:
    pass


def a_record(job_id: str, request: JobRequest | None = None, state: State = State.QUEUED) -> Record:
    job = Job(job_id, request or JobRequest("demo", {}, id=job_id), NOW, Level.SUBREAPER, state=state)
    return Record(job, ignore, token=T.token)


def a_cause(*, force: bool = False) -> Cause:
    return Cause(Reason.API, 1.0, NOW, force=force)


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


def test_an_early_cancel_is_kept_per_token_and_taken_once() -> None:
    registry = Registry()
    cause = a_cause()
    registry.keep_early_cancel("x", cause, "t")
    assert registry.take_early_cancel("x", "other") is None
    assert registry.take_early_cancel("x", "t") is cause
    assert registry.take_early_cancel("x", "t") is None


def test_the_first_early_cause_is_kept_unless_force_comes() -> None:
    registry = Registry()
    first, second, forced = a_cause(), a_cause(), a_cause(force=True)
    for cause in (first, second):
        registry.keep_early_cancel("x", cause, "t")
    assert registry.take_early_cancel("x", "t") is first
    for cause in (first, forced):
        registry.keep_early_cancel("x", cause, "t")
    assert registry.take_early_cancel("x", "t") is forced


def test_an_early_cancel_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    now = [100.0]
    monkeypatch.setattr("supervisor.core.registry.time.monotonic", lambda: now[0])
    registry.keep_early_cancel("x", a_cause(), "t")
    now[0] += 31
    assert registry.take_early_cancel("x", "t") is None


def test_only_finished_jobs_are_forgotten() -> None:
    registry = Registry()
    registry.add(a_record("x", state=State.RUNNING))
    registry.add(a_record("y", state=State.SUCCEEDED))
    with pytest.raises(Conflict, match="it is running"):
        registry.remove("x")
    registry.remove("y")
    with pytest.raises(NotFound):
        registry.get("y")


def test_trimming_forgets_the_oldest_finished_first() -> None:
    registry = Registry(max_finished=2)
    for job_id, state in [("a", State.SUCCEEDED), ("b", State.RUNNING), ("c", State.FAILED), ("d", State.CANCELLED)]:
        registry.add(a_record(job_id, state=state))
    assert registry.trim() == ["a"]
    assert [record.job.id for record in registry] == ["d", "c", "b"]


def test_trimming_gives_event_memory_back_before_it_forgets_jobs() -> None:
    registry = Registry(max_finished_bytes=10)
    for job_id in "ab":
        record = a_record(job_id, state=State.SUCCEEDED)
        record.log.append("job.output", {"text": "x" * 100})
        registry.add(record)
    assert registry.trim() == []
    assert registry.get("a").log.size_bytes == 0
    assert registry.get("b").log.size_bytes == 0


def test_admission_is_fifo_and_bounded() -> None:
    async def scenario() -> None:
        admission = Admission(max_running=1, max_queued=2)
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
