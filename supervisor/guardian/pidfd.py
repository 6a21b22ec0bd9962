"""pidfds: a file descriptor identifies one process for good and becomes readable when the process has ended.

Unlike a pid it is never reused. Unlike `Process.sentinel`, an inherited pipe cannot keep it from becoming readable. See
pidfd_open(2).
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable


def _works() -> bool:
    # Try it: old kernels and sandboxes reject calls that the C library offers.
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


HAS_PIDFD = _works()


def open_pidfd(pid: int) -> int | None:
    """Return a pidfd, or None if the process has been reaped. Call this only if HAS_PIDFD."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def has_ended(pidfd: int) -> bool:
    """Return whether every thread of the process has ended. It may still have to be reaped."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


def send_signal(pidfd: int, number: signal.Signals) -> bool:
    """Signal exactly that process. Return False if it has ended, or became another user's and may not be signalled."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def ignore_missing(send: Callable[[int, int], None], pid: int, number: int) -> bool:
    """Call `send` (os.kill or os.killpg). Return False if there is no such process.

    Return False also for a process that became another user's (setuid) and may not be signalled: a sweep goes on
    without it.
    """
    try:
        send(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
