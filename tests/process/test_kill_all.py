"""`kill -9 -1` by a job ends the job alone at level pidns, and at any other level everything that its user may signal.

So all of this runs inside a pid namespace around the server, and each sender checks where it is before it signals.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.engine.containment import Level
from tests.support.kill_all import NOT_HERE
from tests.support.server import server_environment

OUTER = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
IF_ORDINARY = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
BOUND_S = 30


def run(level: Level, state_dir: Path, *, outer: list[str]) -> subprocess.CompletedProcess[str]:
    namespace = str(Path("/proc/self/ns/pid").readlink())
    program = [sys.executable, "-P", "-m", "tests.support.kill_all", level, str(state_dir), namespace]
    # A shell is pid 1, which the signal leaves out: the server must not have that protection.
    command = [*outer, "sh", "-c", '"$@"; exit $?', "sh", *program] if outer else program
    return subprocess.run(
        command,
        env=server_environment(state_dir.with_name("home")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )


def test_in_a_namespace_a_job_ends_only_itself(tmp_path: Path) -> None:
    done = run(Level.PIDNS, tmp_path / "state", outer=OUTER + IF_ORDINARY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killer failed SIGKILL\nbeside running\n" in done.stdout


def test_without_one_it_ends_the_server_too(tmp_path: Path) -> None:
    done = run(Level.SUBREAPER, tmp_path / "state", outer=OUTER + IF_ORDINARY)
    assert done.returncode == 128 + 9, done.stdout + done.stderr
    assert "beside" not in done.stdout


@pytest.mark.parametrize("level", [Level.PIDNS, Level.SUBREAPER])
def test_on_the_host_it_is_not_even_tried(tmp_path: Path, level: Level) -> None:
    assert run(level, tmp_path / "state", outer=[]).returncode == NOT_HERE
