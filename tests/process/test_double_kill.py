"""`kill -9` of server and guardian at once: in a namespace nothing is left, elsewhere a command and a daemon."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from supervisor.engine.containment import Level
from tests.support.observer import Watched, describe
from tests.support.server import running_server
from tests.support.sins import committed, guardian_of

BUDGET_S = 2.0
STAYS_S = 1.0
"""How long the control's daemon is watched: the kernel ends a namespace within milliseconds."""


@pytest.mark.parametrize("level", [Level.PIDNS, Level.SUBREAPER])
def test_processes_left_when_server_and_guardian_are_killed_together(short_dir: Path, level: Level) -> None:
    with (
        running_server(short_dir / f"double-{level}", "--containment", level) as server,
        committed(server, "double_fork_daemon", "shell", "daemon") as sin,
        Watched([guardian_of(sin.runner_pid)]) as guardian,
    ):
        # Both are stopped first, so that neither can act between the two kills.
        for pid in (server.pid, guardian.handles[0].pid):
            os.kill(pid, signal.SIGSTOP)
        guardian.kill()
        server.kill()
        killed = time.monotonic()
        if level is Level.SUBREAPER:
            assert not sin.beacon.wait_eof(killed + STAYS_S), "the control's daemon is gone as well"
            # The daemon, and the command that made it: it has no terminal that would hang it up when its runner ends.
            assert len(sin.beacon.holders()) == 2
            return
        left = sin.tree.wait_gone(killed + BUDGET_S)
        assert not left, describe(left)
        assert sin.beacon.wait_eof(killed + BUDGET_S)
