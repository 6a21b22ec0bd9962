"""Limits of a job: past a limit all of its processes are ended, and it fails with the limit's name.

A job that stays below its limits is left alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.engine.containment import Level, Limits
from tests.support.attempts import guardian_pid
from tests.support.core import cancel, ended, output, running, says, scenario, submit, until
from tests.support.level_cases import LEVELS
from tests.support.observer import Watched, descendants

MIB = 2**20
HOG_MIB = 200
CROWD = 12
EAT = f"import sys, time; block = b'x' * ({HOG_MIB} << 20); print('ate', flush=True); time.sleep(60)"
HOG = f'setsid {sys.executable} -c "{EAT}" & wait'
"""The memory belongs to a child that has left the session."""
CROWDED = f"for i in $(seq {CROWD}); do setsid sleep 60 & done; echo there; wait"
PATIENCE_S = 20.0


async def past_its_limit(state_dir: Path, command: str, level: Level, **limits: Any) -> LiveJob:
    async with running(state_dir, containment=str(level)) as supervisor:
        record = submit(supervisor, "shell", command=command, limits=Limits(**limits))
        await until(lambda: guardian_pid(record) > 0, PATIENCE_S)
        assert guardian_pid(record)
        seen = descendants(guardian_pid(record))
        await ended(record, PATIENCE_S)
        with Watched(seen) as left:
            assert not left.left()
        return record


@pytest.mark.parametrize("level", LEVELS)
def test_memory(tmp_path: Path, level: Level) -> None:
    async def body() -> None:
        record = await past_its_limit(tmp_path, HOG, level, memory_bytes=HOG_MIB * MIB // 2)
        error = record.job.error
        assert (record.job.state, error and error.kind) == (State.FAILED, "memory")
        assert error is not None
        assert f"{HOG_MIB * MIB // 2} bytes of memory (limits.memory_bytes)" in error.message
        assert record.job.cancellation is None

    scenario(body)


@pytest.mark.parametrize("level", LEVELS)
def test_processes(tmp_path: Path, level: Level) -> None:
    async def body() -> None:
        record = await past_its_limit(tmp_path, CROWDED, level, processes=CROWD // 2)
        error = record.job.error
        assert (record.job.state, error and error.kind) == (State.FAILED, "processes")
        assert error is not None
        assert f"{CROWD // 2} processes (limits.processes)" in error.message

    scenario(body)


@pytest.mark.parametrize(
    ("command", "limits", "sign"),
    [(HOG, Limits(memory_bytes=4 * HOG_MIB * MIB), "ate"), (CROWDED, Limits(processes=4 * CROWD), "there")],
)
def test_within_its_limits_a_job_is_left_alone(tmp_path: Path, command: str, limits: Limits, sign: str) -> None:
    """The control: the same jobs, several samples later, with room enough."""

    async def body() -> None:
        async with running(tmp_path) as supervisor:
            record = submit(supervisor, "shell", command=command, limits=limits)
            await says(record, sign)
            # As long as several samples take: a job of its own, so that nothing here waits by the clock.
            await ended(submit(supervisor, "shell", command="sleep 1"), PATIENCE_S)
            assert record.job.state is State.RUNNING, (record.job.error, output(record))
            cancel(supervisor, record, force=True)
            assert (await ended(record)).job.state is State.CANCELLED

    scenario(body)
