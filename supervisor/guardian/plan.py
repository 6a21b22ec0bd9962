"""The plan that a guardian is started with: by which mechanism it holds its job.

This module is light: the forkserver imports it, and every guardian unpickles a plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures


class Mechanism(StrEnum):
    """The mechanism by which a guardian finds and ends everything of its job. A cgroup can be added to the last two."""

    TABLE = "table"
    """The process table, where orphans are not reparented to the guardian: best effort."""
    TREE = "tree"
    """The tree below a subreaper."""
    NAMESPACE = "namespace"
    """A pid namespace for the job alone, in that tree."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one guardian contains its job. `leaf` is the attempt's own cgroup, if it has one."""

    mechanism: Mechanism
    leaf: AttemptCgroup | None = None
    features: KernelFeatures = AVAILABLE
    records: str | None = None
    """The folder of the attempts' records, where a guardian that has lost its server writes its proof."""

    @property
    def proof(self) -> Literal["echild", "cgroup_empty", "pidns_gone", "process_table"]:
        """The meaning of a guardian without children, with an empty cgroup if there is one.

        The kernel lets a namespace's init be reaped only after everything else in it. Where orphans are not reparented
        to the guardian the missing children prove little, so there the process table was searched too.
        """
        if self.mechanism is Mechanism.TABLE:
            return "process_table"
        if self.mechanism is Mechanism.NAMESPACE:
            return "pidns_gone"
        return "echild" if self.leaf is None else "cgroup_empty"
