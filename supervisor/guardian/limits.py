"""Enforce a job's limits, inside its guardian.

Where the kernel has a controller for a limit, the limit is written into the attempt's cgroup and the kernel's counters
show when it was reached. Otherwise the tree is measured from time to time. RLIMIT_NPROC would count unrelated processes
of the same user and do nothing for root; RLIMIT_AS breaks programs that reserve more address space than they use.

The measurement includes processes, zombies among them; threads, as `pids.max` counts them; resident memory, each shared
page once; and memfds that no process has mapped, where /proc shows their descriptors. It does not include files in a
tmpfs, data in flight between sockets, and the kernel's own memory. A controller counts those too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.cgroup_files import write
from supervisor.guardian.memory import memfds_of, share_of
from supervisor.guardian.proc import Stat, try_read_stat
from supervisor.guardian.protocol import Limit, LimitReached

SAMPLE_EVERY_S = 0.2
RUNNER_THREADS = 8
"""The addition to `pids.max`: the kernel counts threads, and those of our own runner do not count for the job."""
CPU_PERIOD_US = 100_000
MIN_QUOTA_US = 1000
MAX_PIDS = 4_194_304
"""The kernel's PID_MAX_LIMIT: pids.max accepts no more."""


class LimitWatch:
    """Does nothing until `set`. Afterwards call `check` when `next_due` has come, and once more at the end."""

    def __init__(self, leaf: AttemptCgroup | None) -> None:
        self._leaf = leaf
        self._limit = Limit()
        self.next_due: float | None = None
        self.reached: LimitReached | None = None
        """The first limit that was reached."""

    def set(self, limit: Limit, now: float) -> None:
        """Start enforcing. A limit that the kernel rejects, although it has a controller for it, is measured
        instead.
        """
        self._limit = limit
        if self._leaf is not None:
            refused = set(self._write_limits(self._leaf.path, limit))
            self._limit = replace(limit, controllers=[name for name in limit.controllers if name not in refused])
        if limit.memory_bytes is not None or limit.processes is not None:
            self.next_due = now + SAMPLE_EVERY_S

    def _write_limits(self, folder: str, limit: Limit) -> Iterator[str]:
        """Yield the controllers that rejected their limit."""
        for controller, write_limit in (("pids", _limit_pids), ("cpu", _limit_cpu), ("memory", _limit_memory)):
            if controller in limit.controllers:
                try:
                    write_limit(folder, limit)
                except OSError:
                    yield controller

    def check(self, pids: Iterable[int], now: float) -> None:
        """Measure the processes of the job."""
        if self.next_due is None or self.reached is not None:
            return
        self.next_due = now + SAMPLE_EVERY_S
        self.check_counters()
        if self.reached is None:
            stats = [stat for pid in pids if (stat := try_read_stat(pid)) is not None]
            self.reached = self._memory(stats) or self._processes(stats)

    def check_counters(self) -> None:
        """Check whether the kernel enforced a limit. This works at the end too, when the processes have ended."""
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
        if limit is None or self._is_counted("memory"):
            return None
        unmapped = sum({key: size for stat in stats for key, size in memfds_of(stat.pid).items()}.values())
        if sum(stat.rss_bytes for stat in stats) + unmapped <= limit:
            return None
        # This sum counts a shared page for every process. The exact sum costs more, so it is computed only then.
        shares = [(stat, share_of(stat.pid)) for stat in stats]
        used = sum(stat.rss_bytes if share is None else share.pss_bytes for stat, share in shares)
        # The mapped part of a memfd is included already, and looks like any other shared memory.
        used += max(0, unmapped - sum(share.shmem_bytes for _, share in shares if share is not None))
        return LimitReached("memory", limit, used) if used > limit else None

    def _processes(self, stats: list[Stat]) -> LimitReached | None:
        limit = self._limit.processes
        if limit is None or self._is_counted("pids"):
            return None
        threads = sum(max(1, stat.threads) for stat in stats) - RUNNER_THREADS
        seen = max(len(stats), threads)
        return LimitReached("processes", limit, seen) if seen > limit else None


def _limit_pids(folder: str, limit: Limit) -> None:
    if limit.processes is not None:
        write(f"{folder}/pids.max", str(min(limit.processes + RUNNER_THREADS, MAX_PIDS)))


def _limit_cpu(folder: str, limit: Limit) -> None:
    if limit.cpus is not None:
        quota_us = max(MIN_QUOTA_US, round(limit.cpus * CPU_PERIOD_US))
        write(f"{folder}/cpu.max", f"{quota_us} {CPU_PERIOD_US}")


def _limit_memory(folder: str, limit: Limit) -> None:
    if limit.memory_bytes is None:
        return
    # A job that loses one of its processes is broken, so the kernel is to end all of it or nothing.
    write(f"{folder}/memory.oom.group", "1")
    if os.path.exists(f"{folder}/memory.swap.max"):  # noqa: PTH110 - not on kernels without swap accounting
        write(f"{folder}/memory.swap.max", "0")
    write(f"{folder}/memory.max", str(limit.memory_bytes))
