"""If a namespace cannot be created, every caller gets the reason, and no weaker level is used in its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT, serve_command, server_environment

MASKED = 'mount -t tmpfs masked /proc/sys && exec "$@"'
"""Mask part of /proc, as containers do: the kernel then refuses to mount a new /proc inside."""
FORBIDDEN = 'echo 0 >/proc/sys/user/max_pid_namespaces && exec "$@"'
PROBE = "from supervisor.node.levels.probe import probe_pidns; print(probe_pidns())"
GUARDIAN = """
import asyncio
from supervisor.guardian.environment import passed_environment
from supervisor.engine.containment import Level
from supervisor.node.workers.starter import Starter
from supervisor.node.workers.pool import WorkerPool

async def main():
    starter = Starter(passed_environment())
    pool = WorkerPool(starter, 1, Level.PIDNS)
    pool.fill()
    while pool.last_error is None:
        await asyncio.sleep(0.01)
    print(pool.last_error)
    await pool.close()
    starter.close()

asyncio.run(main())
"""


def inside(setup: str, *command: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a user namespace of the test's, as the root of which one may deny oneself things."""
    outer = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return subprocess.run(
        [*outer, "sh", "-c", setup, "sh", *command],
        env=server_environment(home),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("setup", "reason"),
    [
        ('exec "$@"', "None"),
        (MASKED, "cannot mount /proc: Operation not permitted"),
        (FORBIDDEN, "cannot make a user and a pid namespace: No space left on device"),
    ],
)
def test_the_probe_says_why(setup: str, reason: str, tmp_path: Path) -> None:
    done = inside(setup, sys.executable, "-P", "-c", PROBE, home=tmp_path)
    assert done.stdout == f"{reason}\n", done.stderr


def test_a_server_that_requires_it_does_not_start(tmp_path: Path) -> None:
    done = inside(MASKED, *serve_command(tmp_path / "state", "--containment", "pidns"), home=tmp_path)
    assert done.returncode != 0
    assert "level pidns is not available here: cannot mount /proc" in done.stderr


def test_a_guardian_that_requires_it_refuses(tmp_path: Path) -> None:
    done = inside(MASKED, sys.executable, "-P", "-c", GUARDIAN, home=tmp_path)
    assert "at level pidns: cannot make a pid namespace: cannot mount /proc" in done.stdout, done.stderr
