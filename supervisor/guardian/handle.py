"""A process, named for good: by a pidfd, or by pid and start time where the kernel has none."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from supervisor.guardian.pidfd import HAS_PIDFD, has_ended, ignore_missing, open_pidfd, send_signal
from supervisor.guardian.proc import Stat, look_at, read_stat


@dataclass(frozen=True, slots=True)
class Survivor:
    """A process that should be gone. `status` as psutil names it: running, sleeping, disk-sleep, stopped, zombie."""

    pid: int
    name: str
    status: str


@dataclass(frozen=True, slots=True)
class Identity:
    """A process of one boot, named for good, but not held on to as by a Handle."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Of a process that the caller knows to be alive, or to have been just now. Raises OSError."""
        stat = read_stat(pid)
        return cls(pid, 0 if stat is None else stat.start_ticks)

    @classmethod
    def shown_by(cls, stat: Stat) -> Identity:
        return cls(stat.pid, stat.start_ticks)

    def send(self, number: signal.Signals, *, use_pidfd: bool = HAS_PIDFD) -> bool:
        """Signal exactly this process. False when it is gone, or not ours to signal. Raises OSError."""
        handle = Handle.open(self.pid, use_pidfd=use_pidfd)
        try:
            # Opened first, then compared: if this is the one, the handle is that of no other.
            return handle.start_ticks == self.start_ticks and handle.send(number)
        finally:
            handle.close()


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
        """Name a process that the caller knows to be alive, or to have been just now. Raises OSError."""
        pidfd = open_pidfd(pid) if use_pidfd else None
        try:
            stat = read_stat(pid)
        except BaseException:
            if pidfd is not None:
                os.close(pidfd)
            raise
        return cls(pid, stat.start_ticks if stat is not None else 0, pidfd)

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.start_ticks)

    @property
    def ended(self) -> bool:
        """Every thread has ended. A zombie has ended; whether it was reaped is another question.

        What cannot be read has not ended, as far as is known.
        """
        if self.pidfd is not None:
            return has_ended(self.pidfd)
        try:
            stat = read_stat(self.pid)
        except OSError:
            return False
        return stat is None or stat.start_ticks != self.start_ticks or stat.ended

    @property
    def stopped(self) -> bool:
        """It does nothing until it is continued, or a debugger lets it go. Ask of one that has not ended.

        False also when that cannot be read: then it is not known to be stopped.
        """
        stat = look_at(self.pid)
        return stat is not None and stat.state in "Tt"

    def kill(self) -> bool:
        """SIGKILL exactly this process. False when it is gone, or not ours to signal."""
        return self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> bool:
        """Signal exactly this process. False when it is gone, or not ours to signal."""
        if self.pidfd is not None:
            return send_signal(self.pidfd, number)
        return not self.ended and ignore_missing(os.kill, self.pid, number)

    def close(self) -> None:
        if self.pidfd is not None:
            os.close(self.pidfd)
