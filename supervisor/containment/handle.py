"""A process, named for good: pid, start time and pidfd."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from supervisor.posix.pidfd import has_ended, open_pidfd, send_signal
from supervisor.posix.proc import read_stat


@dataclass(frozen=True, slots=True)
class Survivor:
    """A process that should be gone. `status` as psutil names it: running, sleeping, disk-sleep, stopped, zombie."""

    pid: int
    name: str
    status: str


@dataclass(frozen=True, slots=True)
class Handle:
    """`pidfd` is None when the process was gone before it could be opened. Close it when done."""

    pid: int
    start_ticks: int
    pidfd: int | None

    @classmethod
    def open(cls, pid: int) -> Handle:
        """Name a process that the caller knows to be alive, or to have been just now."""
        pidfd = open_pidfd(pid)
        stat = read_stat(pid)
        return cls(pid, stat.start_ticks if stat is not None else 0, pidfd)

    @property
    def ended(self) -> bool:
        """Every thread has ended. A zombie has ended; whether it was reaped is another question."""
        return self.pidfd is None or has_ended(self.pidfd)

    def kill(self) -> bool:
        """SIGKILL exactly this process. False when it is gone."""
        return self.pidfd is not None and send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        if self.pidfd is not None:
            os.close(self.pidfd)
