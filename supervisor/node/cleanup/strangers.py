"""Reap orphans that belong to no job: as pid 1 of a container, this process becomes the parent of every orphan there.

A zombie stays until its parent waits for it. Our own children are reaped elsewhere, by pid, and so are the orphans of a
job whose guardian has died.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures
from supervisor.guardian.proc import Stat, children, read_stat
from supervisor.node.cleanup.host_children import OWN_PREFIX
from supervisor.node.cleanup.kill_round import reap

LOOKS = 3
"""The server waits at once for programs that it runs. So a child of pid 1 that is a zombie in this many checks was
orphaned. They are checks and not seconds, because seconds may pass while this whole process is stopped.
"""


class Strangers:
    """Zombies that no part of this server waits for. `is_ours` tells which pids the server does wait for.

    If this process is not pid 1, only processes of ours are reaped: others may be children of the program that hosts
    us.
    """

    def __init__(
        self, is_ours: Callable[[int], bool], features: KernelFeatures = AVAILABLE, *, is_init: bool | None = None
    ) -> None:
        self._is_ours = is_ours
        self._features = features
        self._is_init = os.getpid() == 1 if is_init is None else is_init
        self._session = os.getsid(0)
        self._seen: dict[tuple[int, int], int] = {}
        """Zombies of our own session, by pid and start time, with the number of consecutive checks."""

    def reap(self) -> int:
        """Check once, and reap. Return how many were reaped. Raise OSError if they cannot be listed."""
        if not _any_zombie():
            self._seen.clear()
            return 0
        stats = [read_stat(pid) for pid in children(os.getpid(), use_children_files=self._features.children_files)]
        zombies = [stat for stat in stats if stat is not None and stat.ended and not self._is_ours(stat.pid)]
        self._seen = {
            (stat.pid, stat.start_ticks): self._seen.get((stat.pid, stat.start_ticks), 0) + 1
            for stat in zombies
            if stat.sid == self._session
        }
        return sum(reap(stat.pid) for stat in zombies if self._is_orphan(stat))

    def _is_orphan(self, stat: Stat) -> bool:
        """Return whether it was orphaned. The server's own programs are in its session; only a guardian has its own
        session.
        """
        if stat.sid == self._session:
            return self._is_init and self._seen[stat.pid, stat.start_ticks] >= LOOKS
        return self._is_init or stat.name.startswith(OWN_PREFIX)


def _any_zombie() -> bool:
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False
