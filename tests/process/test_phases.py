"""Cancel in every phase: no cause is lost, whatever the moment."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from pathlib import Path

from supervisor.core.jobs.model import Cause, Method, Reason, State
from supervisor.core.jobs.registry import LiveJob
from tests.support.core import CALLER, cancel, ended, output, reaches, running, says, scenario, submit, types, until

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


def test_queued(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, max_running=1) as supervisor:
            holder = submit(supervisor, "shell", command=BODY)
            queued = [submit(supervisor, "shell", command=BODY) for _ in range(20)]
            await says(holder, "BODY-BEGAN")
            for record in queued:
                cancel(supervisor, record)
                assert record.job.state is State.CANCELLED  # at once: there is nothing to wait for
                check_cancelled(await ended(record))
            cancel(supervisor, holder)
            check_cancelled(await ended(holder))

    scenario(body)


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


def test_a_cancel_that_overtakes_its_submit(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            cause = Cause(Reason.API, time.monotonic(), datetime.now(UTC))
            for number in range(10):
                supervisor.cancel(f"early-{number}", cause, caller=CALLER)
                record = submit(supervisor, "shell", id=f"early-{number}", command=BODY)
                assert record.job.state is State.CANCELLED
                check_cancelled(await ended(record))
            other = submit(supervisor, "shell", id="early-other", command="true")
            assert (await ended(other)).job.state is State.SUCCEEDED

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


def test_a_timeout_ends_as_timed_out_and_counts_from_running(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            record = await ended(submit(supervisor, "shell", command=BODY, timeout_s=0.2))
            assert record.job.state is State.TIMED_OUT
            assert record.job.cancellation is not None
            assert record.job.cancellation.reason == "timeout"

    scenario(body)


def test_shutdown_cancels_what_has_begun_and_leaves_the_queue_to_the_next_start(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, max_running=2) as supervisor:
            records = [submit(supervisor, "shell", command=BODY) for _ in range(4)]
            await says(records[0], "BODY-BEGAN")
            await supervisor.shutdown()
            begun, queued = records[:2], records[2:]
            assert {record.job.state for record in begun} == {State.CANCELLED}
            assert {record.job.cancellation.reason for record in begun if record.job.cancellation} == {"shutdown"}
            assert {record.job.state for record in queued} == {State.QUEUED}
        async with running(tmp_path) as supervisor:
            await until(lambda: supervisor.counts()[State.RUNNING] == 2)
            for record in queued:
                again = await supervisor.lookup.find(record.job.id, CALLER)
                cancel(supervisor, again)
                check_cancelled(await ended(again))

    scenario(body)
