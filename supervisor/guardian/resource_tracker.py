"""multiprocessing's resource tracker, one for each job: what the job leaves in /dev/shm is removed when it ends.

It is forked from the guardian, where multiprocessing would start an interpreter. So it is ready sooner, shares memory
and ends in a millisecond instead of twenty, which counts when a hundred jobs end together.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from multiprocessing import resource_tracker
from typing import Any, NoReturn

from runner import posix
from runner.posix import close_all_but
from supervisor.guardian.sweep import reap_children

NAME = "deadstop-track"
"""The name that `ps` shows."""
TRACKER_TIMEOUT_S = 0.1
"""How long the tracker may take to end by itself; it needs about a millisecond."""


class Tracker:
    """A child of the guardian that does not belong to the job. `pid` is None once it has ended."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid: int | None = pid
        self.fd = fd
        self.tracker_pids = frozenset({pid})
        """The children that a sweep of the guardian must leave out."""

    @classmethod
    def start(cls) -> Tracker:
        """Start a tracker for this process and those that it forks, in place of an inherited one.

        Call it in a process without threads.
        """
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _track(read_end)
        os.close(read_end)
        tracker: Any = resource_tracker._resource_tracker
        tracker._fd, tracker._pid = write_end, pid
        return cls(pid, write_end)

    def end(self, child_fd: int) -> None:
        """Close its pipe, of which this process must be the last writer, and wait until it has cleaned up and ended.

        `child_fd` becomes readable when a child has ended.
        """
        os.close(self.fd)
        if self.pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)
        deadline = time.monotonic() + TRACKER_TIMEOUT_S
        while self.pid not in reap_children():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                break
            # That byte may have been read already, hence the short timeout.
            select.select([child_fd], [], [], min(left_s, 0.005))
            with contextlib.suppress(BlockingIOError):
                os.read(child_fd, 4096)
        self.pid = None


def _track(read_end: int) -> NoReturn:
    """Run the tracker until the last writer of its pipe has ended."""
    try:
        posix.set_name(NAME)
        # It reports on stderr what a job has leaked, which does not belong in the server's log.
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        close_all_but(read_end)
        resource_tracker.main(read_end)
    finally:
        os._exit(0)
