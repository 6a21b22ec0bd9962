"""A job begins once the journal says so: no server that is killed leaves a job that would begin a second time."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.core.jobs.model import SERVER, Method, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.supervisor import Supervisor
from tests.support.core import cancel, ended, running, says, scenario, submit, until


@contextmanager
def unwritable(state: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else holds the journal, until a ROLLBACK."""
    other = sqlite3.connect(state / "journal.sqlite3", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield other
    finally:
        other.close()


async def runs_alone(supervisor: Supervisor) -> LiveJob:
    first = submit(supervisor, "shell", command="echo up; sleep 1000")
    await says(first, "up")
    return first


def test_nothing_begins_that_cannot_be_written_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        state, mark = tmp_path / "state", tmp_path / "ran"
        async with running(state, max_running=2) as supervisor:
            slots = [await runs_alone(supervisor), await runs_alone(supervisor)]
            waits, stopped = (submit(supervisor, "shell", command=f"echo ran >> {mark}") for _ in range(2))
            for record in (waits, stopped):
                await supervisor.journal.accepted(record)
            with unwritable(state) as other:
                for record in slots:
                    cancel(supervisor, record)
                # Their ends are told all the same, and the slots are free.
                for record in slots:
                    assert (await ended(record)).job.state is State.CANCELLED
                await until(lambda: "locked" in supervisor.journal.error)
                assert (waits.job.state, mark.exists()) == (State.QUEUED, False)
                cancel(supervisor, stopped)
                assert (await ended(stopped)).job.state is State.CANCELLED
                assert stopped.job.cancellation is not None
                assert stopped.job.cancellation.method is Method.NEVER_STARTED
                other.execute("ROLLBACK")
                assert (await ended(waits)).job.state is State.SUCCEEDED
            assert mark.read_text() == "ran\n"
        gc.collect()  # asyncio tells of an exception that is dropped unread
        assert not [entry.getMessage() for entry in caplog.records if entry.name == "asyncio"]

    scenario(body)


def test_what_did_not_begin_before_the_end_is_queued_at_the_next_start(tmp_path: Path) -> None:
    async def body() -> None:
        state = tmp_path / "state"
        async with running(state, max_running=1) as supervisor:
            first = await runs_alone(supervisor)
            waits = submit(supervisor, "shell", command="true", id="waits")
            await supervisor.journal.accepted(waits)
            with unwritable(state) as other:
                cancel(supervisor, first)
                await ended(first)
                await until(lambda: "locked" in supervisor.journal.error)
                other.execute("ROLLBACK")
                await supervisor.shutdown()
        async with running(state) as supervisor:
            record = await supervisor.lookup.find("waits", SERVER)
            assert (await ended(record)).job.state is State.SUCCEEDED

    scenario(body)
