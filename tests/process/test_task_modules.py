"""A task's module while it is imported, and in the processes that the task starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.core.jobs.model import Rule, State
from tests.support.core import cancel, ended, events, reaches, running, scenario, submit, until

SLOW = """
import os, time
from runner import task

# A job's import waits for the test; that of the description does not.
deadline = time.monotonic() + 30
while "DEADSTOP_JOB_ID" in os.environ and not os.path.exists("go") and time.monotonic() < deadline:
    time.sleep(0.01)

@task
def slow(ctx):
    return "imported"
"""
WORKERS = """
import concurrent.futures, multiprocessing, os, subprocess, sys
from runner import task

def square(number):
    return number * number

@task
def squares(ctx):
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return list(pool.map(square, range(3)))

@task
def squares_by_name(ctx):
    code = "import worker_tasks; print(worker_tasks.square(3))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout

@task
def path(ctx):
    return os.environ.get("PYTHONPATH", "").split(":")
"""


@pytest.fixture(autouse=True)
def _tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_tasks.py").write_text(SLOW)
    (tmp_path / "worker_tasks.py").write_text(WORKERS)
    monkeypatch.syspath_prepend(tmp_path)


def test_an_import_is_a_phase_and_is_stuck_past_its_own_bound(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path / "state", tasks=("slow_tasks",), import_s=2.0) as supervisor:
            record = submit(supervisor, "slow")
            await reaches(record, lambda job: job.phase == "startup")
            assert record.job.state is State.STARTING
            await until(lambda: record.stuck is not None)
            assert record.stuck is not None
            assert record.stuck.rule is Rule.STARTING_LATE
            assert "importing slow_tasks" in record.stuck.words
            assert "DEADSTOP_IMPORT_S" in record.stuck.words
            (tmp_path / "state" / "workspaces" / record.job.id / "go").touch()
            await ended(record)
            assert record.job.result == "imported"
            (phase,) = [event for event in events(record) if event["type"] == "job.phase"][:-1]
            assert (phase["phase"], phase["detail"]) == ("startup", "importing slow_tasks")

            hung = submit(supervisor, "slow")
            await reaches(hung, lambda job: job.phase == "startup")
            cancel(supervisor, hung)
            await ended(hung)
            assert hung.job.state is State.CANCELLED

    scenario(body)


def test_the_processes_of_a_task_import_what_its_runner_does(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path / "state", tasks=("worker_tasks",), pass_env=("PATH",)) as supervisor:
            found = {name: await ended(submit(supervisor, name)) for name in ("squares", "squares_by_name", "path")}
            plain = await ended(submit(supervisor, "shell", argv=["sh", "-c", "echo ${PYTHONPATH-none}"]))
        assert found["squares"].job.result == [0, 1, 4], found["squares"].job.error
        assert found["squares_by_name"].job.result == "9\n", found["squares_by_name"].job.error
        path = found["path"].job.result
        assert path[0] == str(tmp_path)
        assert all(os.path.isabs(folder) and "site-packages" not in folder for folder in path)  # noqa: PTH117
        assert [event["text"] for event in events(plain) if event["type"] == "job.output"] == ["none\r\n"]

    scenario(body)
