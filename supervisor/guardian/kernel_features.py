"""The features of this kernel beyond POSIX. They are detected once; tests disable some to force the fallbacks."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.guardian.pidfd import HAS_PIDFD
from supervisor.guardian.proc import HAS_CHILDREN_FILES


@dataclass(frozen=True, slots=True)
class KernelFeatures:
    """Without `pidfd` a process is identified by pid and start time, and its end is polled every few milliseconds.
    Without `children_files` a tree is found by reading the whole process table. Without `subreaper` no subreapers are
    used; whether there are any is found out by the containment probe.
    """

    pidfd: bool = HAS_PIDFD
    children_files: bool = HAS_CHILDREN_FILES
    subreaper: bool = True


AVAILABLE = KernelFeatures()
