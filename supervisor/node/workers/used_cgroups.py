"""The cgroups of workers that have ended: each is busy until the kernel has torn down its processes."""

from __future__ import annotations

import time

import structlog

from supervisor.guardian.cgroup import AttemptCgroup

ROUND_S = 0.05
TIMEOUT_S = 30.0
"""How long one attempt waits until a cgroup can be removed, and how long it is tried again."""

log = structlog.get_logger()


class UsedCgroups:
    """Belongs to the starter's thread."""

    def __init__(self) -> None:
        self._pending: dict[AttemptCgroup, float] = {}
        """Cgroups that could not be removed yet, and since when."""

    def __bool__(self) -> bool:
        return bool(self._pending)

    def remove(self, cgroup: AttemptCgroup) -> None:
        """Remove a cgroup, now or later."""
        if not _removed(cgroup):
            self._pending[cgroup] = time.monotonic()

    def remove_pending(self, deadline: float) -> None:
        for cgroup, since in list(self._pending.items()):
            if time.monotonic() >= deadline:
                return
            gone = _removed(cgroup)
            if gone or time.monotonic() - since > TIMEOUT_S:
                del self._pending[cgroup]
            if not gone and cgroup not in self._pending:
                # It is given up. The server removes its whole subtree when it ends, and the next server the rest.
                log.warning("cgroup_not_removed", path=cgroup.path)


def _removed(cgroup: AttemptCgroup) -> bool:
    try:
        return cgroup.remove(ROUND_S)
    except OSError:
        return False  # a job of the same user can take away the right to write to it, so it is tried again
