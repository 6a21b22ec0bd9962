"""A reported result does not end a job: processes that continue after it are stopped, by default or by a cancel.

A job can write a result to its runner's channel and continue, and an honest task can return while one of its threads
holds the GIL. Either way its processes have half a second, then the ladder runs. A cancel does not wait for that. The
result is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.core.jobs.model import Cause, JobRequest, Reason, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.supervisor import Supervisor
from supervisor.engine.containment import Level
from supervisor.guardian.ladder import RESULT_GRACE_S
from supervisor.node import attempt
from tests.support.attempts import guardian_pid
from tests.support.core import CALLER, cancel, ended, events, reaches, running, scenario, submit, until
from tests.support.level_cases import LEVELS
from tests.support.trees import a_tree, there

MODULE = "tests.children.reporters"
GOING_ON = (
    "goes_on",
    "ignores_sigterm",
    "holds_the_interpreter_lock",
    "leaves_a_stubborn_daemon",
    "steals_the_channel",
)
BUDGET_S = 2.0


async def reported(record: LiveJob) -> set[tuple[int, int]]:
    """Wait until the server has the result. Return the tree below the guardian, which is to be ended."""
    await reaches(record, lambda job: job.phase == "cleanup")
    return {process for process in a_tree(record) if process[0] != guardian_pid(record)}


@pytest.mark.parametrize("level", LEVELS)
def test_what_goes_on_after_its_result_is_ended_without_a_cause(tmp_path: Path, level: Level) -> None:
    async def one(supervisor: Supervisor, task: str) -> None:
        record = submit(supervisor, task)
        tree = await reported(record)
        began = time.monotonic()
        await ended(record, RESULT_GRACE_S + BUDGET_S)
        assert time.monotonic() - began < RESULT_GRACE_S + BUDGET_S, task
        assert there(tree) == set(), task
        result = "stolen" if task == "steals_the_channel" else 1
        assert (record.job.state, record.job.result, record.job.cancellation) == (State.SUCCEEDED, result, None), task

    async def body() -> None:
        async with running(tmp_path, tasks=[MODULE], containment=level) as supervisor:
            await asyncio.gather(*(one(supervisor, task) for task in GOING_ON))

    scenario(body)


def test_without_the_sweep_it_would_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(attempt, "RESULT_GRACE_S", 60.0)

    async def body() -> None:
        async with running(tmp_path, tasks=[MODULE]) as supervisor:
            record = submit(supervisor, "goes_on")
            await reported(record)
            with pytest.raises(TimeoutError):
                await ended(record, RESULT_GRACE_S + 1.0)
            cancel(supervisor, record)
            await ended(record, BUDGET_S)

    scenario(body)


def by_cancel(supervisor: Supervisor, record: LiveJob) -> None:
    cancel(supervisor, record)


def by_hanging_up(supervisor: Supervisor, record: LiveJob) -> None:
    supervisor.attach(record)
    supervisor.detach(record)


def by_vanishing(supervisor: Supervisor, record: LiveJob) -> None:
    supervisor.attach(record)
    supervisor.detach(record, vanished=True)


def by_its_own_cause(_supervisor: Supervisor, _record: LiveJob) -> None:
    """A timeout or a lease that was set when the job was submitted expires."""


@pytest.mark.parametrize(
    ("stop", "request_fields"),
    [
        (by_cancel, {}),
        (by_hanging_up, {}),
        (by_vanishing, {}),
        (by_its_own_cause, {"timeout_s": 0.3}),
        (by_its_own_cause, {"lease_s": 1.0}),
    ],
    ids=["cancel", "hang-up", "vanished", "timeout", "lease"],
)
def test_a_cause_after_the_result_hurries_the_end_and_changes_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: Callable[[Supervisor, LiveJob], None],
    request_fields: dict[str, float],
) -> None:
    monkeypatch.setattr(attempt, "RESULT_GRACE_S", 60.0)  # so that only the cause under test can end it

    async def body() -> None:
        async with running(tmp_path, tasks=[MODULE]) as supervisor:
            for task in ("ignores_sigterm", "leaves_a_stubborn_daemon"):
                request = JobRequest(task, {}, **request_fields)  # type: ignore[arg-type]
                record, _ = supervisor.admit(request, caller=CALLER)
                assert isinstance(record, LiveJob)
                tree = await reported(record)
                stop(supervisor, record)
                assert (record.job.state, record.job.cancellation) == (State.RUNNING, None)
                await ended(record, max(request_fields.values(), default=0.0) + BUDGET_S)
                assert there(tree) == set()
                assert (record.job.state, record.job.result) == (State.SUCCEEDED, 1)

    scenario(body)


def test_an_orderly_end_of_the_server_does_not_wait_for_what_has_reported(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=[MODULE]) as supervisor:
            record = submit(supervisor, "ignores_sigterm")
            tree = await reported(record)
            await supervisor.shutdown()
            assert record.job.state is State.SUCCEEDED
            assert there(tree) == set()
            assert supervisor.unproven() == []

    scenario(body)


def test_a_shorter_budget_after_the_result_is_kept(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=[MODULE]) as supervisor:
            record = submit(supervisor, "ignores_sigterm")
            await reported(record)
            cause = Cause(Reason.API, time.monotonic(), datetime.now(UTC), budget_s=0.4)
            supervisor.cancel(record.job.id, cause, caller=CALLER)
            await ended(record, 0.4)

    scenario(body)


def test_whatever_comes_after_the_first_report_changes_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=[MODULE]) as supervisor:
            record = await ended(submit(supervisor, "reports_twice"))
            assert (record.job.state, record.job.result) == (State.SUCCEEDED, "first")
            phases = [event["phase"] for event in events(record) if event["type"] == "job.phase"]
            assert phases == ["cleanup"]
            await until(lambda: supervisor.faults.current() == {})

    scenario(body)
