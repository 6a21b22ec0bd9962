"""Holding a job to its limits, inside its guardian.

Where the kernel has a controller for it, the limit is written into the attempt's cgroup and the kernel's counters tell
when it was hit. Where it has none, the tree is measured from time to time. RLIMIT_NPROC would count strangers of the
same user and do nothing for root; RLIMIT_AS breaks programs that reserve more address space than they use.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from supervisor.containment.cgroup import Leaf, write
from supervisor.containment.protocol import Limit, LimitReached
from supervisor.posix.proc import Stat, pss_bytes, read_stat

SAMPLE_EVERY_S = 0.2
RUNNER_THREADS = 8
"""What `pids.max` allows on top: the kernel counts threads, and those of our own runner are not the job's concern."""
CPU_PERIOD_US = 100_000
MIN_QUOTA_US = 1000


class LimitWatch:
    """Nothing to do until `set`. Afterwards `check` whenever `next_due` has come, and once more at the end."""

    def __init__(self, leaf: Leaf | None) -> None:
        self._leaf = leaf
        self._limit = Limit()
        self.next_due: float | None = None
        self.reached: LimitReached | None = None
        """The first limit that was reached."""

    def set(self, limit: Limit, now: float) -> None:
        """Begin. Raises OSError when the kernel does not take a limit that it has a controller for."""
        self._limit = limit
        if self._leaf is not None:
            self._write_limits(self._leaf.path, limit)
        if limit.memory_bytes is not None or limit.processes is not None:
            self.next_due = now + SAMPLE_EVERY_S

    def _write_limits(self, folder: str, limit: Limit) -> None:
        if limit.processes is not None and "pids" in limit.controllers:
            write(f"{folder}/pids.max", str(limit.processes + RUNNER_THREADS))
        if limit.cpus is not None and "cpu" in limit.controllers:
            quota_us = max(MIN_QUOTA_US, round(limit.cpus * CPU_PERIOD_US))
            write(f"{folder}/cpu.max", f"{quota_us} {CPU_PERIOD_US}")
        if limit.memory_bytes is not None and "memory" in limit.controllers:
            # A job without one of its processes is a broken job: the kernel ends all of it or nothing.
            write(f"{folder}/memory.oom.group", "1")
            if os.path.exists(f"{folder}/memory.swap.max"):  # noqa: PTH110 - not on kernels without swap accounting
                write(f"{folder}/memory.swap.max", "0")
            write(f"{folder}/memory.max", str(limit.memory_bytes))

    def check(self, pids: Iterable[int], now: float) -> None:
        """Measure the job, whose processes these are."""
        if self.next_due is None or self.reached is not None:
            return
        self.next_due = now + SAMPLE_EVERY_S
        self.check_counters()
        if self.reached is None:
            stats = [stat for pid in pids if (stat := read_stat(pid)) is not None and stat.state != "Z"]
            self.reached = self._memory(stats) or self._processes(stats)

    def check_counters(self) -> None:
        """See whether the kernel had to hold the job back. For the end too: what it killed is gone by then."""
        if self._leaf is None or self.reached is not None:
            return
        if self._is_counted("memory") and self._leaf.oom_kills() > 0:
            self.reached = LimitReached("memory", self._limit.memory_bytes or 0, None)
        elif self._is_counted("pids") and self._leaf.refused_forks() > 0:
            self.reached = LimitReached("processes", self._limit.processes or 0, None)

    def _is_counted(self, controller: str) -> bool:
        limit = self._limit.memory_bytes if controller == "memory" else self._limit.processes
        return limit is not None and controller in self._limit.controllers

    def _memory(self, stats: list[Stat]) -> LimitReached | None:
        limit = self._limit.memory_bytes
        if limit is None or self._is_counted("memory") or sum(stat.rss_bytes for stat in stats) <= limit:
            return None
        # That counts a page once for every process that shares it. The exact sum costs more, so it comes second.
        used = sum(stat.rss_bytes if (pss := pss_bytes(stat.pid)) is None else pss for stat in stats)
        return LimitReached("memory", limit, used) if used > limit else None

    def _processes(self, stats: list[Stat]) -> LimitReached | None:
        limit = self._limit.processes
        if limit is None or self._is_counted("pids") or len(stats) <= limit:
            return None
        return LimitReached("processes", limit, len(stats))
