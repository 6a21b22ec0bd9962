"""Objects that the controllers of all jobs share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.core.jobs.inputs import Input
from supervisor.core.jobs.model import Job
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.journal.journal import Journal
from supervisor.core.loop.awake_clock import AwakeClock
from supervisor.engine.engine import Engine
from supervisor.faults import Faults


@dataclass(frozen=True, slots=True)
class Services:
    """Shared objects of one server."""

    engine: Engine
    journal: Journal
    cancel_budget_s: float
    faults: Faults
    clock: AwakeClock
    on_end: Callable[[LiveJob], None]
    observers: tuple[Callable[[LiveJob, Job, Input], None], ...] = ()
    """Called with every input that a job has accepted, and with the job as it was before."""
