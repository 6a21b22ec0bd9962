"""Identify a process for good: by a pidfd, or by pid and start time where the kernel has no pidfds."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from supervisor.guardian.pidfd import HAS_PIDFD, has_ended, ignore_missing, open_pidfd, send_signal
from supervisor.guardian.proc import Stat, read_stat, try_read_stat


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a process of one boot. Unlike a Handle it keeps no descriptor."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Identify a process that is known to be alive, or to have been alive just now. Raise OSError."""
        stat = read_stat(pid)
        return cls(pid, 0 if stat is None else stat.start_ticks)

    @classmethod
    def shown_by(cls, stat: Stat) -> Identity:
        return cls(stat.pid, stat.start_ticks)

    def send(self, number: signal.Signals, *, use_pidfd: bool = HAS_PIDFD) -> bool:
        """Signal exactly this process. Return False if it has ended or may not be signalled. Raise OSError."""
        handle = Handle.open(self.pid, use_pidfd=use_pidfd)
        try:
            # Compare after opening: if the start time matches now, the handle belongs to this process.
            return handle.start_ticks == self.start_ticks and handle.send(number)
        finally:
            handle.close()


@dataclass(frozen=True, slots=True)
class Handle:
    """A handle of a process. Close it after use. `pidfd` is None if the process ended too early, or where there are
    none.

    Without a pidfd, the pid and the start time identify the process. Between a check and a signal the pid could be
    reused, if all other pids were used up within microseconds: nothing better is possible there.
    """

    pid: int
    start_ticks: int
    pidfd: int | None

    @classmethod
    def open(cls, pid: int, *, use_pidfd: bool = HAS_PIDFD) -> Handle:
        """Identify a process that is known to be alive, or to have been alive just now. Raise OSError."""
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
        """Whether every thread has ended. A zombie has ended, whether it was reaped or not.

        If that cannot be read, the process is not known to have ended.
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
        """Whether it is suspended until a SIGCONT or a debugger continues it. For a process that has not ended.

        False also if that cannot be read: then the process is not known to be stopped.
        """
        stat = try_read_stat(self.pid)
        return stat is not None and stat.state in "Tt"

    def kill(self) -> bool:
        """Send SIGKILL to exactly this process. Return False if it has ended or may not be signalled."""
        return self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> bool:
        """Signal exactly this process. Return False if it has ended or may not be signalled."""
        if self.pidfd is not None:
            return send_signal(self.pidfd, number)
        return not self.ended and ignore_missing(os.kill, self.pid, number)

    def close(self) -> None:
        if self.pidfd is not None:
            os.close(self.pidfd)
