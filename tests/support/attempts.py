"""The attempt behind a job of a supervisor in this process, including internals that only a test may read."""

from __future__ import annotations

from typing import cast

from supervisor.core.jobs.registry import LiveJob
from supervisor.core.supervisor import Supervisor
from supervisor.node.attempt import NodeAttempt
from supervisor.node.node import Node

running_here: list[Supervisor] = []
"""Those that `tests.support.core.running` has started."""


def node_of(supervisor: Supervisor) -> Node:
    return cast("Node", supervisor.engine)


def attempt_of(record: LiveJob) -> NodeAttempt | None:
    """The job's attempt, while it has one."""
    for supervisor in running_here:
        owner = supervisor._owners.of(record)
        if owner is not None and owner.attempt is not None:
            attempt = cast("NodeAttempt", owner.attempt)
            return None if attempt._gone else attempt
    return None


def guardian_pid(record: LiveJob) -> int:
    """0 when the job has none."""
    attempt = attempt_of(record)
    return 0 if attempt is None else attempt._execution.guardian_pid


def root_pid(record: LiveJob) -> int:
    """Return the PID of the guardian above all of the job's processes, or 0 if it has none."""
    attempt = attempt_of(record)
    return 0 if attempt is None else attempt._execution.root_pid
