"""Two nodes on one STATE_DIR: the second refuses before it touches anything, because it would remove the workspaces of
the first one's jobs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.config import load_settings
from supervisor.errors import StartupError
from supervisor.node.node import Node
from tests.support.core import cancel, ended, output, running, says, scenario, submit

SCRIPT = "echo in $PWD end; touch held; until test -e go; do sleep 0.01; done; ls held"


def test_a_second_node_refuses_and_the_first_ones_job_keeps_its_workspace(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            record = submit(supervisor, "shell", command=SCRIPT)
            await says(record, " end")
            workspace = Path(output(record).split("in ")[1].split(" end")[0])
            before = sorted(path.name for path in tmp_path.iterdir())
            with pytest.raises(StartupError, match=r"another server .* already uses it"):
                await Node(load_settings(state_dir=tmp_path)).open()
            assert sorted(path.name for path in tmp_path.iterdir()) == before
            (workspace / "go").touch()
            await ended(record)
            assert record.job.error is None
            assert "held" in output(record).splitlines()

    scenario(body)


def test_the_folder_is_free_after_the_first_node_and_after_one_that_could_not_open(tmp_path: Path) -> None:
    async def body() -> None:
        (tmp_path / "workspaces").write_text("a file where the folder should be")
        with pytest.raises(StartupError):
            await Node(load_settings(state_dir=tmp_path)).open()
        (tmp_path / "workspaces").unlink()
        for _ in range(2):
            async with running(tmp_path) as supervisor:
                record = submit(supervisor, "shell", command="sleep 60")
                cancel(supervisor, record)
                await ended(record)

    scenario(body)


def test_a_node_whose_process_has_locked_the_folder_does_not_lock_it_again(tmp_path: Path) -> None:
    """Start a node as `deadstop serve` does: lock the folder before reading its token there."""

    async def body() -> None:
        settings = load_settings(state_dir=tmp_path)
        async with running(tmp_path):
            with pytest.raises(StartupError):  # the control
                await Node(settings).open()
        node = Node(settings, holds_state_dir=True)
        await node.open()
        await node.close()

    scenario(body)
