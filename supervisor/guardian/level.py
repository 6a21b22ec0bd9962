"""How strongly an attempt is held: the levels, and the plan that its guardian is started with.

Light on purpose: the forkserver loads it, and every guardian unpickles a plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures


class Level(StrEnum):
    """From the weakest to the strongest. Each one stacks on those before it that the machine has."""

    PGROUP = "pgroup"
    SUBREAPER = "subreaper"
    CGROUP = "cgroup"
    PIDNS = "pidns"

    @property
    def takes_cgroup(self) -> bool:
        """Whether its attempts have a cgroup each, where the machine has cgroups."""
        return self in {Level.CGROUP, Level.PIDNS}


@dataclass(frozen=True, slots=True)
class Plan:
    """What one guardian does to hold its job. `leaf` is the attempt's own cgroup.

    It is there at level cgroup, and at level pidns when the machine has cgroups.
    """

    level: Level
    leaf: AttemptCgroup | None = None
    means: KernelFeatures = AVAILABLE
    records: str | None = None
    """The folder of the attempts' records, where a guardian that has lost its server leaves its last word."""

    @property
    def proof(self) -> Literal["echild", "cgroup_empty", "pidns_gone", "process_table"]:
        """What it means here that the guardian has no child left and the cgroup, if there is one, is empty.

        The kernel lets a namespace's init be reaped only after all else in it has been. Where orphans do not come to
        the guardian it means little by itself: there the process table was searched.
        """
        if self.level is Level.PGROUP:
            return "process_table"
        if self.level is Level.PIDNS:
            return "pidns_gone"
        return "echild" if self.leaf is None else "cgroup_empty"
