"""Children that this program started itself, in sessions of their own. The backstop leaves them alone.

The kernel does not say whether a child was started here or reparented here. But orphans of a job arrive only when its
guardian ends. So a child that is there while every guardian is alive was started by this program. A child that was
started less than LOOK_EVERY_S before a guardian died counts as an orphan, unless it was registered: a job must not be
able to save its processes by killing its guardian at the right moment.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from supervisor.guardian.environment import COOKIE
from supervisor.guardian.handle import Handle, Identity
from supervisor.guardian.kernel_features import KernelFeatures
from supervisor.guardian.proc import Stat, children, environment_of, try_read_stat

LOOK_EVERY_S = 0.25
OWN_PREFIX = "deadstop-"
"""The names of our own processes that may be orphaned: a tracker whose guardian failed at its start, and that
guardian.
"""


class HostChildren:
    """Belongs to the event loop; other threads may ask for membership."""

    def __init__(self, features: KernelFeatures) -> None:
        self._features = features
        self._sid = os.getsid(0)
        self._known: frozenset[Identity] = frozenset()

    def __contains__(self, child: Identity) -> bool:
        return child in self._known

    def register(self, pid: int) -> None:
        """Leave this child alone from now on. Raise OSError if it cannot be read."""
        self._known |= {Identity.of(pid)}

    def look(self, guardians: Iterable[Handle]) -> None:
        """Register the children that are here now, unless a guardian has ended. Raise Unreadable."""
        pids = children(os.getpid(), use_children_files=self._features.children_files)
        stats = [stat for pid in pids if (stat := try_read_stat(pid)) is not None]
        # The guardians come second: if all are alive now, none of the children above was one's orphan.
        handles = list(guardians)
        if any(guardian.ended for guardian in handles):
            return
        identities = {guardian.identity for guardian in handles}
        here = {Identity.shown_by(stat): stat for stat in stats}
        self._known = frozenset(
            child
            for child, stat in here.items()
            if child in self._known or (child not in identities and self._is_of_the_host(stat))
        )

    def _is_of_the_host(self, stat: Stat) -> bool:
        # In this session it is never taken for an orphan. With our name or mark it comes from a start that failed.
        if stat.sid == self._sid or stat.name.startswith(OWN_PREFIX):
            return False
        return COOKIE.encode() not in environment_of(stat.pid)
