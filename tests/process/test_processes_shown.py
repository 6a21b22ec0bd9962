"""The page of stuck jobs and the page of a job's processes show the same processes, and none of the server's own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.core.jobs.model import Rule, Stuck
from supervisor.core.telemetry.diagnosis import diagnose
from supervisor.engine.containment import Level
from tests.support.core import CALLER, cancel, ended, running, says, scenario, submit
from tests.support.level_cases import LEVELS

SCRIPT = "sleep 60 & setsid sleep 61 & echo ready; wait"


@pytest.mark.parametrize("level", [Level.PGROUP, *LEVELS])
def test_both_pages_show_the_same_processes(tmp_path: Path, level: Level) -> None:
    async def body() -> None:
        async with running(tmp_path, containment=level) as supervisor:
            record = submit(supervisor, "shell", command=SCRIPT)
            await says(record, "ready")
            rows = await supervisor.processes(record.job.id, CALLER)
            controller = supervisor._owners.of(record)
            assert controller is not None
            found = await diagnose(controller, Stuck(Rule.NO_EVENT, "", datetime.now(UTC)))
            assert [row.pid for row in found.processes] == [row.pid for row in rows]
            assert {row.cmdline[-1] for row in rows if row.name == "sleep"} == {"60", "61"}
            assert not {"deadstop-guard", "deadstop-init"} & {row.name for row in rows}
            cancel(supervisor, record)
            await ended(record)

    scenario(body)
