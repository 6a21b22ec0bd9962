"""Objects that all attempts of a node share."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.faults import Faults
from supervisor.node.cleanup.backstop import Backstop
from supervisor.node.launch_settings import LaunchSettings
from supervisor.node.storage.state_dir import StateDir
from supervisor.node.workers.pool import WorkerPool


@dataclass(frozen=True, slots=True)
class NodeServices:
    """Shared objects of one node. `controllers` are those of the attempts' cgroups."""

    pool: WorkerPool
    state_dir: StateDir
    backstop: Backstop
    launch_settings: LaunchSettings
    controllers: frozenset[str]
    cancel_budget_s: float
    faults: Faults
