"""What the controllers of all jobs share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.core.jobs.inputs import Input
from supervisor.core.jobs.model import Job
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.journal.journal import Journal
from supervisor.core.loop.awake_clock import AwakeClock
from supervisor.core.telemetry.faults import Faults
from supervisor.node.cleanup.backstop import Backstop
from supervisor.node.launch_settings import LaunchSettings
from supervisor.node.storage.state_dir import StateDir
from supervisor.node.workers.pool import WorkerPool


@dataclass(frozen=True, slots=True)
class Services:
    """One value for each server."""

    pool: WorkerPool
    state_dir: StateDir
    backstop: Backstop
    orders: LaunchSettings
    journal: Journal
    cancel_budget_s: float
    faults: Faults
    clock: AwakeClock
    on_end: Callable[[LiveJob], None]
    observers: tuple[Callable[[LiveJob, Job, Input], None], ...] = ()
    """Told of every fact that a job took, with the job as it was before."""
