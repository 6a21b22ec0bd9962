"""An unexpected error ends only the job or task in which it occurs, and is reported.

The job in which it occurs still gets its ladder, its backstop and its proof. Other jobs, the self-test and the server
continue. Each error is injected where a real one was seen: a file system that became read-only, a process without
descriptors, a bug.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.running.messages import AttemptMessages
from supervisor.core.supervisor import Supervisor
from supervisor.core.telemetry import transition_log as logbook
from supervisor.core.telemetry.stuck_rules import judge
from supervisor.node import self_test as selftest
from supervisor.node.cleanup.attempt_records import AttemptRecords
from supervisor.node.cleanup.backstop import Backstop
from supervisor.node.execution import Execution
from supervisor.node.storage.artifacts import Artifacts
from tests.support.attempts import guardian_pid
from tests.support.core import cancel, ended, running, says, scenario, submit, until
from tests.support.trees import a_tree, alive, there

TALKS = "import signal, time; signal.signal(15, 1); [(print(flush=True), time.sleep(0.1)) for _ in range(600)]"
STUBBORN = f"(setsid sleep 60 &); echo READY; exec {sys.executable} -c '{TALKS}'"
SILENT = "echo READY; sleep 60"
BUDGET_S = 2.0


def raises(error: Exception, times: int = 1_000_000) -> Callable[..., Any]:
    """Return a function that fails so many times, and does nothing afterwards."""
    left = [times]

    def fail(*_: object, **__: object) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise error

    return fail


def failing_first(original: Callable[..., Any], error: Exception, times: int) -> Callable[..., Any]:
    left = [times]

    async def maybe(*arguments: Any, **named: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise error
        return await original(*arguments, **named)

    return maybe


READ_ONLY = OSError(errno.EROFS, os.strerror(errno.EROFS))
NO_DESCRIPTORS = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
BUG = RuntimeError("a bug")


def no_records(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AttemptRecords, "drop", raises(READ_ONLY))


def no_end_of_belongings(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Artifacts, "put_away", raises(READ_ONLY))


def a_bug_in_every_message(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AttemptMessages, "report", raises(BUG))


def a_bug_in_an_observer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(logbook, "_elapsed_ms", raises(BUG))


def a_bug_in_the_attempt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Execution, "_end", raises(BUG))


@pytest.mark.parametrize(
    "break_it",
    [no_records, no_end_of_belongings, a_bug_in_every_message, a_bug_in_an_observer],
)
def test_a_cancelled_job_gets_its_proof_whatever_fails_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None]
) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            bystander, record = await two_ready(supervisor)
            tree, others = a_tree(record), a_tree(bystander)
            with monkeypatch.context() as patch:
                break_it(patch)
                cancel(supervisor, record)
                await ended(record, BUDGET_S + 0.5)
                await until(lambda: "internal" in not_ok(supervisor))
            check_cancelled(record)
            await until(lambda: there(tree) == set(), 0.5)
            await goes_on(supervisor, bystander, others)

    scenario(body)


def test_a_backstop_that_fails_at_first_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            bystander, record = await two_ready(supervisor)
            tree, others = a_tree(record), a_tree(bystander)
            with monkeypatch.context() as patch:
                patch.setattr(Backstop, "round", failing_first(Backstop.round, NO_DESCRIPTORS, 3))
                patch.setattr(Backstop, "survivors", failing_first(Backstop.survivors, NO_DESCRIPTORS, 100))
                cancel(supervisor, record)
                os.kill(guardian_pid(record), signal.SIGKILL)
                await ended(record, BUDGET_S + 0.5)
                assert "internal" in not_ok(supervisor)
            check_cancelled(record)
            assert there(tree) == set()
            await goes_on(supervisor, bystander, others)

    scenario(body)


def test_a_job_whose_attempt_fails_is_killed_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            bystander = submit(supervisor, "shell", command=STUBBORN)
            await says(bystander, "READY")
            others = a_tree(bystander)
            with monkeypatch.context() as patch:
                a_bug_in_the_attempt(patch)
                record = submit(supervisor, "shell", command=STUBBORN)
                await until(lambda: "internal" in not_ok(supervisor))
                await ended(record, BUDGET_S + 0.5)
            assert record.job.state is State.FAILED
            assert record.job.error is not None
            assert record.job.error.kind == "guardian"
            assert "the server failed" in record.job.error.message
            await goes_on(supervisor, bystander, others)

    scenario(body)


def test_an_error_in_the_self_test_ends_that_round_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "EVERY_S", 0.05)
    monkeypatch.setattr(selftest, "AGAIN_S", 0.05)

    async def body() -> None:
        async with running(tmp_path) as supervisor:
            bystander = submit(supervisor, "shell", command=STUBBORN)
            await says(bystander, "READY")
            others = a_tree(bystander)
            with monkeypatch.context() as patch:
                patch.setattr(selftest, "read_stat", raises(NO_DESCRIPTORS))
                await until(lambda: "selftest" in not_ok(supervisor))
                assert "Too many open files" in supervisor.checks()["selftest"].detail
            await until(lambda: supervisor.checks()["selftest"].ok)
            await goes_on(supervisor, bystander, others)

    scenario(body)


def test_an_error_in_one_look_of_the_stuck_monitor_spares_the_other_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        async with running(tmp_path, stuck_no_event_s=0.3) as supervisor:
            first, second = (submit(supervisor, "shell", command=SILENT) for _ in range(2))

            def fail_for_the_first(record: LiveJob, *rest: Any) -> Any:
                if record is first:
                    raise BUG
                return judge(record, *rest)

            monkeypatch.setattr("supervisor.core.telemetry.stuck_monitor.judge", fail_for_the_first)
            await until(lambda: second.stuck is not None)
            assert first.stuck is None
            assert "internal" in not_ok(supervisor)
            for record in (first, second):
                cancel(supervisor, record, force=True)
                await ended(record, BUDGET_S)

    scenario(body)


def not_ok(supervisor: Supervisor) -> set[str]:
    return {name for name, check in supervisor.checks().items() if not check.ok}


def check_cancelled(record: LiveJob) -> None:
    assert record.job.state is State.CANCELLED
    assert record.job.cancellation is not None
    assert record.job.cancellation.proof != "none"
    assert record.job.cancellation.survivors == ()


async def two_ready(supervisor: Supervisor) -> tuple[LiveJob, LiveJob]:
    """Start two jobs that do not stop by themselves, and wait until both run."""
    first, second = (submit(supervisor, "shell", command=STUBBORN) for _ in range(2))
    for one in (first, second):
        await says(one, "READY")
    return first, second


async def goes_on(supervisor: Supervisor, bystander: LiveJob, others: set[tuple[int, int]]) -> None:
    """Check that the other job is not affected, and that the next job runs."""
    assert bystander.job.state is State.RUNNING
    assert alive(others) == others
    assert (await ended(submit(supervisor, "shell", command="true"))).job.state is State.SUCCEEDED
    cancel(supervisor, bystander, force=True)
    await ended(bystander, BUDGET_S)
