"""Python in a job: a function that is over ends its job, and one that is stopped unwinds, whatever swallows exceptions.

In the first half the work that is left would go on for a minute; the second half counts the `finally` blocks that ran.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.engine.containment import Proof
from tests.children import ending_tasks, swallowing_tasks
from tests.support.core import cancel, ended, output, running, says, scenario, submit

ENDS = [
    "returns_beside_a_thread",
    "raises_beside_a_thread",
    "returns_beside_a_task",
    "returns_beside_a_task_that_blocks",
    "returns_beside_a_generator",
]
SWALLOWS = [
    "an_event_loop_in_which_another_task_computes",
    "an_async_task_beside_one_that_computes",
    "in_a_destructor",
    "in_a_callback_of_c",
    "in_nothing_but_destructors",
    "in_nothing_but_callbacks_of_c",
    "in_nothing_but_callbacks_of_the_collector",
    "in_destructors_within_callbacks",
    "a_scheduler_that_keeps_outcomes",
    "a_bare_except",
    "a_runner_of_tests_that_passes_on_interrupts_alone",
]


def test_a_function_that_is_over_ends_its_job_with_its_own_result_or_error(tmp_path: Path) -> None:
    found: dict[str, LiveJob] = {}

    async def body() -> None:
        async with running(tmp_path, tasks=(ending_tasks.__name__,)) as supervisor:
            for name in ENDS:
                found[name] = await ended(submit(supervisor, name))

    scenario(body)
    for name, record in found.items():
        if name.startswith("raises"):
            assert record.job.error is not None
            assert (record.job.state, record.job.error.message) == (State.FAILED, "ValueError: over")
        else:
            assert (record.job.state, record.job.result) == (State.SUCCEEDED, "over"), name


def test_what_it_left_in_its_loop_cleans_up_first(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=(ending_tasks.__name__,)) as supervisor:
            record = await ended(submit(supervisor, "what_is_left_cleans_up"))
            assert (record.job.state, record.job.result) == (State.SUCCEEDED, "over")
            assert (tmp_path / "files" / record.job.id / "late.txt").read_text() == "late"
            assert "cleaned up\n" in output(record)
            assert "ValueError: while it cleaned up" in output(record)

    scenario(body)


@pytest.mark.parametrize("name", SWALLOWS)
def test_a_cancelled_function_unwinds_although_something_swallows_the_exception(tmp_path: Path, name: str) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=(swallowing_tasks.__name__,), warm=1) as supervisor:
            record = submit(supervisor, name)
            await says(record, "READY")
            cancel(supervisor, record)
            await ended(record)
            assert record.job.state is State.CANCELLED
            assert record.job.cancellation is not None
            assert record.job.cancellation.proof not in {Proof.NEVER_STARTED, None}
            assert output(record).count("finally\n") == 4, output(record)
            assert "Exception ignored" not in output(record)

    scenario(body)
