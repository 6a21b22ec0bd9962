"""Signals to one thread of another process, found by its name. Linux only: elsewhere there is none to find."""

from __future__ import annotations

import ctypes
import errno
import os

from runner.posix import LIBC
from supervisor.guardian import procfs

_tgkill = getattr(LIBC, "tgkill", None)  # glibc has it since 2.30


def find_thread(pid: int, name: str) -> int | None:
    """The id, in our own pid namespace, of the thread that calls itself `name`; None when there is none.

    Raises Unreadable.
    """
    for thread in procfs.names(f"{pid}/task") or ():
        found = procfs.read(f"{pid}/task/{thread}/comm")
        if found is not None and found.rstrip(b"\n") == name.encode():
            return int(thread)
    return None


def signal_thread(pid: int, thread: int, number: int) -> bool:
    """tgkill(2). False when there is no such thread (any more), or no such call on this system."""
    if _tgkill is None:
        return False
    if _tgkill(pid, thread, number) == 0:
        return True
    error = ctypes.get_errno()
    if error == errno.ESRCH:
        return False
    raise OSError(error, f"cannot signal thread {thread} of process {pid}: {os.strerror(error)}")
