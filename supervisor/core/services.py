"""What the controllers of all jobs share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.containment.backstop import Backstop
from supervisor.containment.warm import WarmPool
from supervisor.core.awake_clock import AwakeClock
from supervisor.core.facts import Fact
from supervisor.core.faults import Faults
from supervisor.core.journal.journal import Journal
from supervisor.core.model import Job
from supervisor.core.orders import Orders
from supervisor.core.registry import Record
from supervisor.core.state_dir import StateDir


@dataclass(frozen=True, slots=True)
class Services:
    """One value for each server."""

    pool: WarmPool
    state_dir: StateDir
    backstop: Backstop
    orders: Orders
    journal: Journal
    cancel_budget_s: float
    faults: Faults
    clock: AwakeClock
    on_end: Callable[[Record], None]
    observers: tuple[Callable[[Record, Job, Fact], None], ...] = ()
    """Told of every fact that a job took, with the job as it was before."""
