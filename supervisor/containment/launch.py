"""From the guardian's first line to a runner that waits for its order: what depends on the level of containment.

Everything here happens in the guardian before it has a thread, and before it says hello.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, assert_never

from supervisor.containment.level import Level, Plan
from supervisor.posix import prctl


@dataclass(frozen=True, slots=True)
class Launched:
    """`child_pid` is the guardian's own child, whose end means that the runner has ended and with which status:
    the runner itself, or an init above it. Both pids are as the guardian sees them."""

    child_pid: int
    runner_pid: int


def prepare(plan: Plan) -> None:
    """Make this process a guardian of `plan.level`: whatever is orphaned below it comes to it."""
    if plan.level is not Level.PGROUP:
        prctl.become_subreaper()


def launch(plan: Plan, run: Callable[[], NoReturn]) -> Launched:
    """Start the process that calls `run`, contained as planned."""
    match plan.level:
        case Level.PGROUP | Level.SUBREAPER | Level.CGROUP:
            pid = _fork_runner(run)
            if plan.leaf is not None:
                # Before it is handed a job: what it forks from now on is born in there.
                plan.leaf.add(pid)
            return Launched(child_pid=pid, runner_pid=pid)
        case Level.PIDNS:
            raise NotImplementedError("cannot launch a runner in a namespace of its own")
    assert_never(plan.level)


def _fork_runner(run: Callable[[], NoReturn]) -> int:
    guardian_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        prctl.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != guardian_pid:
            os._exit(0)  # the guardian died before the line above
        prctl.set_name("deadstop-runner")
        run()
    return pid
