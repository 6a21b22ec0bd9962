"""Reaping what was orphaned to this process and is not a job's: as pid 1 of a container it gets every orphan there.

A zombie stays until its parent waits for it. Ours are waited for elsewhere, by pid; so are, after the death of their
guardian, a job's.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures
from supervisor.guardian.proc import Stat, children, read_stat
from supervisor.node.cleanup.backstop import reap

OWN_PREFIX = "deadstop-"
"""Processes of ours that may be orphaned: a tracker whose guardian failed before it said hello, and that guardian."""
LOOKS = 3
"""A program that we run is waited for at once. A child of pid 1 that is a zombie at so many looks was orphaned to it.
Looks and not seconds: those may pass while this whole process is stopped."""


class Strangers:
    """Zombies that no part of this server waits for. `is_ours` names the pids of those that one does wait for.

    Where this process is not pid 1 only processes of ours are taken: others may be children of the program that hosts
    us.
    """

    def __init__(
        self, is_ours: Callable[[int], bool], means: KernelFeatures = AVAILABLE, *, is_init: bool | None = None
    ) -> None:
        self._is_ours = is_ours
        self._means = means
        self._is_init = os.getpid() == 1 if is_init is None else is_init
        self._session = os.getsid(0)
        self._seen: dict[tuple[int, int], int] = {}
        """Zombies of our own session, by pid and start time: at how many looks in a row."""

    def reap(self) -> int:
        """Look once, and reap. How many that were; raises OSError when they cannot be listed."""
        if not _any_zombie():
            self._seen.clear()
            return 0
        stats = [read_stat(pid) for pid in children(os.getpid(), use_children_files=self._means.children_files)]
        zombies = [stat for stat in stats if stat is not None and stat.ended and not self._is_ours(stat.pid)]
        self._seen = {
            (stat.pid, stat.start_ticks): self._seen.get((stat.pid, stat.start_ticks), 0) + 1
            for stat in zombies
            if stat.sid == self._session
        }
        return sum(reap(stat.pid) for stat in zombies if self._is_orphan(stat))

    def _is_orphan(self, stat: Stat) -> bool:
        """What this server starts itself is in its session; only a guardian has one of its own."""
        if stat.sid == self._session:
            return self._is_init and self._seen[stat.pid, stat.start_ticks] >= LOOKS
        return self._is_init or stat.name.startswith(OWN_PREFIX)


def _any_zombie() -> bool:
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False
