"""The core in the test's own process, without HTTP, for tests that need control over each step."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from supervisor.config import load_settings
from supervisor.core.jobs.model import Caller, Cause, Job, JobRequest, Reason, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.supervisor import Supervisor
from supervisor.faults import Faults
from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures
from supervisor.node.node import Node
from tests.support.attempts import running_here
from tests.support.fake_engine import FakeAttempt, FakeEngine
from tests.support.levels import leaves

CALLER = Caller("t")
READY_BOUND_S = 20.0
PARTS_OF_REQUEST = ("id", "timeout_s", "labels", "containment", "limits", "trace", "lease_s")


@asynccontextmanager
async def running(
    state_dir: Path, *, features: KernelFeatures = AVAILABLE, **settings: Any
) -> AsyncIterator[Supervisor]:
    """A supervisor whose tasks are described and whose self-test has passed."""
    loaded, faults = load_settings(state_dir=state_dir, **settings), Faults()
    async with Supervisor(loaded, Node(loaded, features, faults), faults) as supervisor:
        running_here.append(supervisor)
        try:
            await until(lambda: all(check.ok for check in supervisor.checks().values()))
            yield supervisor
        finally:
            running_here.remove(supervisor)
    assert not leaves(state_dir)


@asynccontextmanager
async def running_on(engine: FakeEngine, state_dir: Path, **settings: Any) -> AsyncIterator[Supervisor]:
    """Run a supervisor on an engine without processes. Attempts that are left at the end are proven gone."""
    state_dir.mkdir(exist_ok=True)
    async with Supervisor(load_settings(state_dir=state_dir, **settings), engine, Faults()) as supervisor:
        try:
            yield supervisor
        finally:
            engine.room.clear()
            for attempt in engine.attempts:
                if not attempt.proof.done():
                    attempt.prove()
    assert engine.held == 0


async def started(engine: FakeEngine, number: int = 1) -> FakeAttempt:
    """The engine's attempt of this number, counted from 1, once it was started."""
    await until(lambda: len(engine.attempts) >= number)
    return engine.attempts[number - 1]


async def begun(supervisor: Supervisor, engine: FakeEngine, **fields: Any) -> tuple[LiveJob, FakeAttempt]:
    """A job whose task runs on the fake engine, and which nothing waits before."""
    record, _ = supervisor.admit(JobRequest("shell", {"command": "x"}, **fields), caller=CALLER)
    assert isinstance(record, LiveJob)
    attempt = await started(engine, len(engine.attempts) + 1)
    attempt.runs()
    return record, attempt


def state(record: LiveJob) -> State:
    """A function, so that the type checker does not take a state for what it was before."""
    return record.job.state


def submit(supervisor: Supervisor, task: str, **values: Any) -> LiveJob:
    request = {name: values.pop(name) for name in PARTS_OF_REQUEST if name in values}
    record, _ = supervisor.admit(JobRequest(task, values, **request), caller=CALLER)
    assert isinstance(record, LiveJob)
    return record


def cancel(supervisor: Supervisor, record: LiveJob, *, force: bool = False, budget_s: float | None = None) -> None:
    cause = Cause(Reason.API, time.monotonic(), datetime.now(UTC), force=force, budget_s=budget_s)
    supervisor.cancel(record.job.id, cause, caller=CALLER)


async def ended(record: LiveJob, bound_s: float = 10.0) -> LiveJob:
    await asyncio.wait_for(record.finished.wait(), bound_s)
    return record


async def reaches(record: LiveJob, condition: Callable[[Job], bool]) -> None:
    """Wait until the job meets the condition, by following its events, and until readers see its events so far."""
    seen = 0
    async with asyncio.timeout(READY_BOUND_S):
        while not condition(record.job):
            assert await record.log.wait_beyond(seen), f"ended as {record.job}"
            seen = record.log.released_id
        await record.log.wait_beyond(record.log.last_id - 1)


async def says(record: LiveJob, text: str) -> None:
    """Wait until the job has written `text`."""
    seen = 0
    async with asyncio.timeout(READY_BOUND_S):
        while text not in output(record):
            assert await record.log.wait_beyond(seen), f"ended without saying {text!r}: {record.job}"
            seen = record.log.released_id


def events(record: LiveJob) -> list[dict[str, Any]]:
    return [json.loads(item.data) for item in record.log.read(0, limit=100_000) if hasattr(item, "data")]


def output(record: LiveJob) -> str:
    return "".join(event["text"] for event in events(record) if event["type"] == "job.output")


def types(record: LiveJob) -> list[str]:
    return [item.type for item in record.log.read(0, limit=100_000) if hasattr(item, "type")]


async def until(condition: Callable[[], bool], bound_s: float = READY_BOUND_S) -> None:
    """Wait for a condition that has no event, by polling every few milliseconds, within a bound."""
    async with asyncio.timeout(bound_s):
        while not condition():
            await asyncio.sleep(0.005)


def scenario(body: Callable[[], Awaitable[None]]) -> None:
    """Run one async test body."""

    async def main() -> None:
        await body()

    asyncio.run(main())
