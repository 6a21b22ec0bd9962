"""The few prctl(2) calls that containment rests on. Linux only: elsewhere each returns False."""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

# Looked up once, at import: after a fork in a threaded process dlopen may meet a lock that nobody releases.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _prctl(option: int, argument: int) -> bool:
    if _libc is None:
        return False
    if _libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot set prctl option {option}: {os.strerror(number)}")
    return True


def become_subreaper() -> bool:
    """Adopt every orphaned descendant of this process (PR_SET_CHILD_SUBREAPER). False where there is none."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable(dumpable: bool) -> bool:
    """Allow or deny other processes of the same user to read this one's memory and environment."""
    return _prctl(_PR_SET_DUMPABLE, int(dumpable))


def set_parent_death_signal(signal_number: int) -> bool:
    """Have the kernel signal this process when the *thread* that forked it ends (not the process: trap for
    programs that fork from worker threads). Check getppid() afterwards: the parent may have died before."""
    return _prctl(_PR_SET_PDEATHSIG, signal_number)


def set_name(name: str) -> bool:
    """Name this thread (15 bytes) as `ps` and `top` show it."""
    if _libc is None:
        return False
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    return bool(_libc.prctl(_PR_SET_NAME, ctypes.cast(buffer, ctypes.c_void_p), 0, 0, 0) == 0)
