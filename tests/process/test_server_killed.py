"""kill -9 of the server: every guardian sees the end of its lifeline and kills its job."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from tests.support.observer import describe, snapshot
from tests.support.server import running_server
from tests.support.sins import TASKS_ENV, CommittedSin, Mode, committed

SINS = (
    "sigterm_ignored",
    "exceptions_swallowed",
    "shell_tree",
    "setsid_child",
    "double_fork_daemon",
    "pty_nohup",
    "stopped_child",
    "locked_files",
    "fork_storm",
    "env_i_daemon",
)
BUDGET_S = 2.0


def test_ten_misbehaving_jobs_die_with_their_server(short_dir: Path) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server(short_dir / "killed", env=TASKS_ENV))
        sins: list[CommittedSin] = []
        for number, sin in enumerate(SINS):
            mode: Mode = "shell" if number % 2 else "task"
            sins.append(stack.enter_context(committed(server, sin, mode, f"killed-{sin}")))
        # The whole family: forkserver, trackers and idle sets must be gone as well.
        family = stack.enter_context(snapshot(server.pid))
        assert len(family.handles) > 3 * len(SINS)
        server.kill()
        deadline = time.monotonic() + BUDGET_S
        left = family.wait_gone(deadline)
        assert not left, describe(left)
        held = [sin.job_id for sin in sins if not sin.beacon.wait_eof(deadline)]
        assert not held
