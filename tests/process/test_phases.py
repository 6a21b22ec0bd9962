"""Cancel in every phase: no cause is lost, whenever it arrives."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from supervisor.core.jobs.model import Method, State
from supervisor.core.jobs.registry import LiveJob
from tests.support.core import cancel, ended, output, reaches, running, says, scenario, submit, types

BODY = "echo BODY-BEGAN; sleep 30; echo BODY-ENDED"
NEVER_STARTED = ["job.queued", "cancel.requested", "cancel.verified", "job.cancelled"]


def check_cancelled(record: LiveJob) -> None:
    job = record.job
    assert job.state is State.CANCELLED, job
    assert job.cancellation is not None
    assert job.cancellation.within_budget is True
    assert job.cancellation.survivors == ()
    assert "BODY-ENDED" not in output(record).replace("echo BODY-ENDED", "")
    assert types(record)[-2:] == ["cancel.verified", "job.cancelled"]
    if job.cancellation.method is Method.NEVER_STARTED:
        assert types(record) == NEVER_STARTED


def test_starting_at_fifty_random_instants(tmp_path: Path) -> None:
    chance = random.Random(2026)

    async def one(supervisor: object) -> None:
        record = submit(supervisor, "shell", command=BODY)  # type: ignore[arg-type]
        await asyncio.sleep(chance.uniform(0, 0.06))
        cancel(supervisor, record)  # type: ignore[arg-type]
        check_cancelled(await ended(record, 4))

    async def body() -> None:
        async with running(tmp_path, warm=1) as supervisor:
            for _ in range(25):
                await asyncio.gather(one(supervisor), one(supervisor))

    scenario(body)


def test_running_and_already_cancelling(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            stubborn = submit(supervisor, "shell", command=f"trap '' TERM; {BODY}; {BODY}")
            await says(stubborn, "BODY-BEGAN")
            cancel(supervisor, stubborn)
            cancel(supervisor, stubborn)
            assert stubborn.job.state is State.CANCELLING
            cancel(supervisor, stubborn, force=True)
            await ended(stubborn, 1.0)
            check_cancelled(stubborn)
            assert types(stubborn).count("cancel.requested") == 1
            assert stubborn.job.cancellation is not None
            assert stubborn.job.cancellation.method is Method.SIGKILL
            assert stubborn.job.cancellation.force is True

    scenario(body)


def test_after_the_result_a_cancel_changes_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            record = submit(supervisor, "shell", command="setsid sh -c 'trap \"\" TERM; sleep 30' & sleep 0.1")
            await reaches(record, lambda job: job.state is State.RUNNING)
            await reaches(record, lambda job: job.phase == "cleanup")
            cancel(supervisor, record)
            assert (record.job.state, record.job.cancellation) == (State.RUNNING, None)
            cancel(supervisor, record, force=True)  # skips the half second that leftovers get
            await ended(record, 0.4)
            assert (record.job.state, record.job.result) == (State.SUCCEEDED, {"exit_code": 0})
            assert record.job.leftovers >= 1
            cancel(supervisor, record)
            assert record.job.state is State.SUCCEEDED

    scenario(body)
