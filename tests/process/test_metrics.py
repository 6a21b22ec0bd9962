"""Metrics of processes: those that were left behind, and workers that wait."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from supervisor.core.supervisor import Supervisor
from tests.support.attempts import guardian_pid
from tests.support.core import ended, running, says, scenario, submit, until

SLEEP = "echo UP; sleep 60"


def value(supervisor: Supervisor, name: str, **labels: str) -> float | None:
    return supervisor.metrics.registry.get_sample_value(f"deadstop_{name}", labels)


def test_what_a_task_or_a_dead_guardian_leaves_behind_is_counted(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            await ended(submit(supervisor, "shell", command="setsid sleep 60 & sleep 0.1"))
            assert value(supervisor, "orphans_found_total") == 1
            record = submit(supervisor, "shell", command=SLEEP)
            await says(record, "UP")
            assert guardian_pid(record)
            os.kill(guardian_pid(record), signal.SIGKILL)
            await ended(record)
            assert (value(supervisor, "orphans_found_total") or 0) >= 2
            await until(lambda: value(supervisor, "warm_guardians") == 2)

    scenario(body)
