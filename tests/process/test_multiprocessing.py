"""A job's multiprocessing is separate from the server's: its key, its name, and a folder removed with the job."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.jobs.model import State
from tests.support.core import cancel, ended, output, running, says, scenario, submit

TASKS = """
import multiprocessing, os, socket
from multiprocessing.connection import Listener
from runner import task

def shared(ctx):
    with multiprocessing.get_context("spawn").Manager() as manager:
        numbers = manager.list([1])
        numbers.append(2)
        return list(numbers)

@task
def looks(ctx):
    current = multiprocessing.current_process()
    with Listener() as listener:
        address = listener.address
    folders = {}
    for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR"):
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(os.path.join(os.environ[name], "s" * 40))
        folders[name] = os.path.realpath(os.environ[name])
    return {
        "key": current.authkey.hex(), "name": current.name, "parent": str(multiprocessing.parent_process()),
        "child": multiprocessing.Process().name, "listener": address, "folders": folders, "shared": shared(ctx),
    }

@task
def listens(ctx):
    with Listener() as listener:
        print(listener.address, "READY")
        ctx.sleep(60)
"""


@pytest.fixture(autouse=True)
def _tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mp_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)


def test_each_job_has_its_own_key_and_folder_whose_sockets_have_room(tmp_path: Path) -> None:
    state = tmp_path / ("d" * 80)
    found: dict[str, Any] = {}

    async def body() -> None:
        async with running(state, tasks=("mp_tasks",)) as supervisor:
            for job_id in ("j", "i" * 36, "i" * 64):
                record = await ended(submit(supervisor, "looks", id=job_id), 20)
                assert record.job.state is State.SUCCEEDED, record.job.error
                found[job_id] = record.job.result

    scenario(body)
    keys = {result["key"] for result in found.values()}
    assert len(keys) == len(found)
    assert multiprocessing.current_process().authkey.hex() not in keys
    for job_id, result in found.items():
        workspace = os.path.realpath(state / "workspaces" / job_id)
        assert (result["name"], result["parent"], result["child"]) == ("MainProcess", "None", "Process-1")
        assert result["shared"] == [1, 2]
        assert {Path(folder).parent for folder in result["folders"].values()} == {Path(workspace)}
        assert Path(result["listener"]).parent.name.startswith("pymp-")
        assert not Path(result["listener"]).exists()


def test_a_listener_goes_with_a_cancelled_job(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path / "state", tasks=("mp_tasks",)) as supervisor:
            record = submit(supervisor, "listens")
            await says(record, "READY")
            address = Path(output(record).split()[0])
            assert address.is_socket()
            cancel(supervisor, record, force=True)
            await ended(record)
            assert not address.parent.exists()

    scenario(body)
