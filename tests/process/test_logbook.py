"""One line for every change of a job's state and every step of its ladder, each with what an operator looks for."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from supervisor.core.jobs.trace import Trace
from tests.process.test_stacks import runner_pid
from tests.support.core import cancel, ended, running, says, scenario, submit

STUBBORN = "trap '' TERM HUP; echo UP; while :; do sleep 1; done"


def test_the_life_of_a_job_that_will_not_go(tmp_path: Path) -> None:
    lines: list[MutableMapping[str, Any]] = []

    async def body() -> None:
        async with running(tmp_path) as supervisor:
            with capture_logs() as captured:
                record = submit(supervisor, "shell", command=STUBBORN)
                await says(record, "UP")
                cancel(supervisor, record)
                cancel(supervisor, record)
                await ended(record)
            pid = runner_pid(record)
            lines.extend(line for line in captured if line.get("job_id") == record.job.id)
            states = [(line["from_state"], line["state"]) for line in lines if line["event"] == "job_state"]
            assert states == [
                (None, "queued"),
                ("queued", "starting"),
                ("starting", "running"),
                ("running", "cancelling"),
                ("cancelling", "cancelled"),
            ]
            steps = [line for line in lines if line["event"].startswith("cancel_")]
            assert [line["event"] for line in steps][:3] == ["cancel_again", "cancel_acknowledged", "cancel_signalled"]
            signals = [line for line in steps if line["event"] == "cancel_signalled"]
            assert {line["signal"] for line in signals} == {"SIGTERM", "SIGKILL"}
            assert any(pid in line["pids"] for line in signals)
            assert all(line["reason"] == "api" and line["phase"] is not None for line in steps)
            elapsed = [line["elapsed_ms"] for line in lines if "elapsed_ms" in line]
            assert elapsed == sorted(elapsed)
            assert elapsed[-1] > 0
            end = lines[-1]
            assert (end["method"], end["within_budget"]) == ("sigkill", True)
            assert end["proof"] in {"echild", "cgroup_empty"}

    scenario(body)


def test_the_first_line_connects_the_job_with_its_request_and_trace(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            trace = Trace.begin("order-7", f"00-{'ab' * 16}-{'cd' * 8}-01", None)
            with capture_logs() as captured:
                await ended(submit(supervisor, "shell", command="true", trace=trace))
            first = next(line for line in captured if line["event"] == "job_state")
            assert (first["request_id"], first["trace_id"]) == ("order-7", "ab" * 16)

    scenario(body)
