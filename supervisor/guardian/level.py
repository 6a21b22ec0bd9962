"""The levels of containment, and the plan that a guardian is started with.

This module is light: the forkserver imports it, and every guardian unpickles a plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures


class Level(StrEnum):
    """The levels from the weakest to the strongest. Each includes the weaker ones that the machine supports."""

    PGROUP = "pgroup"
    SUBREAPER = "subreaper"
    CGROUP = "cgroup"
    PIDNS = "pidns"

    @property
    def takes_cgroup(self) -> bool:
        """Whether each attempt has a cgroup, where the machine has cgroups."""
        return self in {Level.CGROUP, Level.PIDNS}


@dataclass(frozen=True, slots=True)
class Plan:
    """How one guardian contains its job. `leaf` is the attempt's own cgroup.

    There is one at level cgroup, and at level pidns if the machine has cgroups.
    """

    level: Level
    leaf: AttemptCgroup | None = None
    means: KernelFeatures = AVAILABLE
    records: str | None = None
    """The folder of the attempts' records, where a guardian that has lost its server writes its proof."""

    @property
    def proof(self) -> Literal["echild", "cgroup_empty", "pidns_gone", "process_table"]:
        """The meaning of a guardian without children, with an empty cgroup if there is one.

        The kernel lets a namespace's init be reaped only after everything else in it. Where orphans are not reparented
        to the guardian the missing children prove little, so there the process table was searched too.
        """
        if self.level is Level.PGROUP:
            return "process_table"
        if self.level is Level.PIDNS:
            return "pidns_gone"
        return "echild" if self.leaf is None else "cgroup_empty"
