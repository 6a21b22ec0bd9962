"""A process, named for good: by a pidfd, or by pid and start time where the kernel has none."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from supervisor.posix.pidfd import HAS_PIDFD, has_ended, ignore_missing, open_pidfd, send_signal
from supervisor.posix.proc import read_stat


@dataclass(frozen=True, slots=True)
class Survivor:
    """A process that should be gone. `status` as psutil names it: running, sleeping, disk-sleep, stopped, zombie."""

    pid: int
    name: str
    status: str


@dataclass(frozen=True, slots=True)
class Handle:
    """`pidfd` is None when the process was gone before it could be opened, or where there are none. Close it when done.

    Without a pidfd the pid and the start time name the process. Between a look at them and a signal the pid could pass
    to somebody else, if within microseconds all other pids were used up: that is the best that can be done there.
    """

    pid: int
    start_ticks: int
    pidfd: int | None

    @classmethod
    def open(cls, pid: int, *, use_pidfd: bool = HAS_PIDFD) -> Handle:
        """Name a process that the caller knows to be alive, or to have been just now."""
        pidfd = open_pidfd(pid) if use_pidfd else None
        stat = read_stat(pid)
        return cls(pid, stat.start_ticks if stat is not None else 0, pidfd)

    @property
    def ended(self) -> bool:
        """Every thread has ended. A zombie has ended; whether it was reaped is another question."""
        if self.pidfd is not None:
            return has_ended(self.pidfd)
        stat = read_stat(self.pid)
        return stat is None or stat.start_ticks != self.start_ticks or stat.ended

    def kill(self) -> bool:
        """SIGKILL exactly this process. False when it is gone."""
        if self.pidfd is not None:
            return send_signal(self.pidfd, signal.SIGKILL)
        return not self.ended and ignore_missing(os.kill, self.pid, signal.SIGKILL)

    def close(self) -> None:
        if self.pidfd is not None:
            os.close(self.pidfd)
