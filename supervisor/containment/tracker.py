"""multiprocessing's resource tracker, one of the job's own: what the job leaves in /dev/shm goes when it ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from multiprocessing import resource_tracker
from typing import Any

from supervisor.containment.sweep import reap_children

TRACKER_BOUND_S = 0.1
"""How long the tracker gets to end by itself; it needs about 20 ms."""


class Tracker:
    """A child of the guardian, but none of the job's. `pid` is None once it has ended."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid: int | None = pid
        self.fd = fd
        self.own_pids = frozenset({pid})
        """What a sweep of the guardian's children must leave out."""

    @classmethod
    def start(cls) -> Tracker:
        """Start one for this process and those that it forks, in place of an inherited one."""
        tracker: Any = resource_tracker._resource_tracker
        tracker._fd = tracker._pid = None
        # It complains on stderr about what a job leaked; that is no concern of the server's log.
        stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        tracker.ensure_running()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)
        return cls(tracker._pid, tracker._fd)

    def end(self, child_fd: int) -> None:
        """Close its pipe, whose last writer this process must be, and wait for it to clean up and end.

        `child_fd` becomes readable when a child has ended.
        """
        os.close(self.fd)
        if self.pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)
        deadline = time.monotonic() + TRACKER_BOUND_S
        while self.pid not in reap_children():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                break
            # The byte that says so may have been read already, hence the short bound.
            select.select([child_fd], [], [], min(left_s, 0.005))
            with contextlib.suppress(BlockingIOError):
                os.read(child_fd, 4096)
        self.pid = None
