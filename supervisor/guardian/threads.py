"""Signals to one thread of another process, found by its name. Elsewhere than on Linux none is found."""

from __future__ import annotations

import ctypes
import errno
import os

from runner.posix import LIBC
from supervisor.guardian import procfs

_tgkill = getattr(LIBC, "tgkill", None)  # glibc has it since 2.30


def find_thread(pid: int, name: str) -> int | None:
    """Return the ID, in our own pid namespace, of the thread with this name, or None if there is none. Raise
    Unreadable.
    """
    for thread in procfs.names(f"{pid}/task") or ():
        found = procfs.read(f"{pid}/task/{thread}/comm")
        if found is not None and found.rstrip(b"\n") == name.encode():
            return int(thread)
    return None


def signal_thread(pid: int, thread: int, number: int) -> bool:
    """Call tgkill(2). Return False if there is no such thread (any more), or no such call on this system."""
    if _tgkill is None:
        return False
    if _tgkill(pid, thread, number) == 0:
        return True
    error = ctypes.get_errno()
    if error == errno.ESRCH:
        return False
    raise OSError(error, f"cannot signal thread {thread} of process {pid}: {os.strerror(error)}")
