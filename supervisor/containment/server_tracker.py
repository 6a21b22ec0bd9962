"""The server's own resource tracker, which a job of the same user can stop or kill.

Every Event registers its semaphores there, through a pipe. A stopped tracker does not read: after some hundred jobs the
pipe is full, and whoever makes the next Event waits for ever. A dead one is replaced by multiprocessing itself, with a
warning that would be an error for some. Both are put right before a start, where it costs one look at /proc.
"""

from __future__ import annotations

import os
import signal
from multiprocessing import resource_tracker
from typing import Any

import structlog

from supervisor.posix.pidfd import ignore_missing
from supervisor.posix.proc import read_stat

log = structlog.get_logger()


def mend() -> None:
    """Continue the tracker if it is stopped; forget it if it is dead, so that the next use starts one."""
    tracker: Any = resource_tracker._resource_tracker
    pid: int | None = tracker._pid
    if pid is None:
        return
    stat = read_stat(pid)
    if stat is None or stat.ended:
        with tracker._lock:
            os.close(tracker._fd)
            tracker._fd = tracker._pid = None
        if stat is not None:
            os.waitpid(pid, 0)
        log.warning("resource_tracker_replaced", pid=pid)
    elif stat.state == "T":
        # Nobody else can have the number: it is our child, and not reaped.
        ignore_missing(os.kill, pid, signal.SIGCONT)
        log.warning("resource_tracker_continued", pid=pid)
