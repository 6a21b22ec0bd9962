"""The server's own resource tracker, which a job of the same user can stop or kill.

Every Event registers its semaphores there, through a pipe. A stopped tracker does not read: after some hundred jobs the
pipe is full, and the creation of the next Event blocks for ever. multiprocessing replaces a dead tracker itself,
whenever it notices: with a warning that some programs turn into an error, and with the server's own environment, which
every process of the user could then read. This module repairs both, for the cost of one read in /proc.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from multiprocessing import resource_tracker
from typing import Any

import structlog

from supervisor.guardian.environment import with_python
from supervisor.guardian.pidfd import ignore_missing
from supervisor.guardian.proc import read_stat
from supervisor.guardian.procfs import Unreadable

_PIPE_FD = 3
_MAIN = f"from multiprocessing.resource_tracker import main;main({_PIPE_FD})"

log = structlog.get_logger()


def pid() -> int | None:
    """Return its pid, or None before the first start."""
    found: int | None = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    return found


def mend(child_environment: dict[str, str]) -> None:
    """Continue the tracker if it is stopped, and replace it if it is dead. Call this before every use of it.

    Raise OSError if no other can be started now; the next call tries again.
    """
    tracker: Any = resource_tracker._resource_tracker
    before = pid()
    if before is None:
        return
    try:
        stat = read_stat(before)
    except Unreadable:
        return  # it is not known to be dead or stopped
    if stat is None or stat.ended:
        with tracker._lock:
            fresh = _start(with_python(child_environment))
            os.close(tracker._fd)
            tracker._pid, tracker._fd = fresh
            with suppress(ChildProcessError):  # reaped by another
                os.waitpid(before, 0)
        log.warning("resource_tracker_replaced", pid=before)
    elif stat.state == "T":
        # The pid cannot be reused, because the tracker is a child that was not reaped.
        ignore_missing(os.kill, before, signal.SIGCONT)
        log.warning("resource_tracker_continued", pid=before)


def kill() -> None:
    """Make calls fail that wait for room in its pipe: it does not read, and a debugger or the disk may hold it."""
    found = pid()
    if found is not None:
        ignore_missing(os.kill, found, signal.SIGKILL)


def _start(environment: dict[str, str]) -> tuple[int, int]:
    """Start it as multiprocessing does, but without its stderr: it would complain of everything that its predecessor
    knew.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        started = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-c", _MAIN],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, read_end, _PIPE_FD),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            # Until it has its own handlers, signals to the server must not end it.
            setsigmask=[signal.SIGINT, signal.SIGTERM],
        )
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    return started, write_end
