"""What this kernel offers beyond POSIX. Found out once; a test passes less to force the fallbacks."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.guardian.pidfd import HAS_PIDFD
from supervisor.guardian.proc import HAS_CHILDREN_FILES


@dataclass(frozen=True, slots=True)
class KernelFeatures:
    """`pidfd`: without it a process is named by pid and start time, and its end is looked for every few milliseconds.
    `children_files`: without them a tree is found by reading the whole process table.
    `subreaper`: False takes subreapers away; whether there are any is found out by the probe of containment.
    """

    pidfd: bool = HAS_PIDFD
    children_files: bool = HAS_CHILDREN_FILES
    subreaper: bool = True


AVAILABLE = KernelFeatures()
