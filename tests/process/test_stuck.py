"""Jobs that hang are found, reported with the line they hang in, and stopped if the settings ask for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from supervisor.core.jobs.event_log import Event
from supervisor.core.jobs.model import Reason, Rule, State
from supervisor.core.jobs.registry import LiveJob
from tests.process.test_stacks import TASKS, line_of, stop
from tests.support.core import ended, running, says, scenario, submit, types, until


def event(record: LiveJob, type_: str) -> dict[str, Any]:
    found = (item for item in record.log.read(0) if isinstance(item, Event) and item.type == type_)
    line: dict[str, Any] = json.loads(next(found).data)
    return line


def test_a_gil_hog_is_found_reported_and_cancelled_and_a_busy_job_is_not(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=TASKS, stuck_after_s=1, stuck_action="cancel") as supervisor:
            busy = submit(supervisor, "busy_python")
            hog = submit(supervisor, "gil_hog", seconds=30)
            await says(busy, "HUNG")
            await ended(hog)
            assert (hog.job.state, busy.job.state) == (State.CANCELLED, State.RUNNING)
            cancellation = hog.job.cancellation
            assert cancellation is not None
            assert cancellation.reason is Reason.STUCK
            assert (cancellation.detail or "").startswith("no_heartbeat: its runner has been silent for 1 s: process ")
            told = event(hog, "job.stuck")
            assert told["rule"] == "no_heartbeat"
            assert "code in C holds the interpreter lock and waits" in told["words"]
            assert line_of("gil_hog hangs here") in told["stack"]
            assert types(hog).index("job.stuck") < types(hog).index("cancel.requested")
            assert busy.stuck is None
            await stop(supervisor, busy)

    scenario(body)


def test_each_kind_of_hang_shows_its_line_and_comes_to_life_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=TASKS, stuck_no_event_s=0.5) as supervisor:
            marks = {
                "deadlock": "the main thread hangs here",
                "silent_socket": "the read hangs here",
                "stopped_child": "the wait hangs here",
            }
            records = {name: submit(supervisor, name) for name in marks}
            for record in records.values():
                await says(record, "HUNG")
            await until(lambda: len(supervisor.stuck_watch.stuck()) == 3)
            rows = {row.task: row for row in await supervisor.stuck_watch.diagnose()}
            for name, mark in marks.items():
                assert rows[name].stuck.rule is Rule.NO_EVENT
                assert line_of(mark) in (rows[name].stuck.stack or ""), rows[name]
            stopped = [row for row in rows["stopped_child"].processes if row.status == "stopped"]
            assert [row.name.startswith("python") for row in stopped] == [True]
            assert "deadlock" not in {row.task for row in rows.values() if row.processes[0].cpu_percent > 50}
            for record in records.values():
                await stop(supervisor, record)
                assert record.stuck is None
            assert not supervisor.stuck_watch.stuck()

    scenario(body)
