"""System calls that Python does not offer (prctl, clone, fflush), and the file descriptors of a process.

This is the one place of the runner and the guardian that loads the C library. It imports only the standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_CLONE_PARENT = 0x8000
_SYS_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220}
_MACHINE = os.uname().machine

_IS_LINUX = sys.platform == "linux"
_C_STDOUT = "__stdoutp" if sys.platform == "darwin" else "stdout"

# Loaded once, at import: after a fork in a threaded process, dlopen may wait for a lock that is never released.
_libc = ctypes.CDLL(None, use_errno=True)
LIBC = _libc if _IS_LINUX else None
"""The C library, for calls that exist only on Linux; None elsewhere."""
# PyDLL keeps the interpreter lock: the child of a fork has a single thread, which must not give the lock up.
_libc_with_lock = ctypes.PyDLL(None, use_errno=True)

Limit = tuple[int, int]
"""A soft and a hard limit."""


# --- prctl(2). Each function returns False where there is no such call.


def _prctl(option: int, argument: int) -> bool:
    if LIBC is None:
        return False
    if LIBC.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot set prctl option {option}: {os.strerror(number)}")
    return True


def become_subreaper() -> bool:
    """Adopt every orphaned descendant of this process (PR_SET_CHILD_SUBREAPER)."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable(dumpable: bool) -> bool:
    """Allow or deny other processes of the same user to read this one's memory and environment."""
    return _prctl(_PR_SET_DUMPABLE, int(dumpable))


def forbid_new_privileges() -> bool:
    """Take the effect from set-user-ID programs, for this process and everything that it will start."""
    return _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_parent_death_signal(signal_number: int) -> bool:
    """Have the kernel signal this process when the thread that forked it ends.

    It is the thread that counts and not its process. Check getppid() afterwards: the parent may have ended before.
    The kernel forgets the signal when the credentials change: see PR_SET_PDEATHSIG(2const).
    """
    return _prctl(_PR_SET_PDEATHSIG, signal_number)


def set_name(name: str) -> bool:
    """Name this thread, as `ps` and `top` show it. Only the first 15 bytes are used."""
    if LIBC is None:
        return False
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    return bool(LIBC.prctl(_PR_SET_NAME, ctypes.cast(buffer, ctypes.c_void_p), 0, 0, 0) == 0)


# --- clone(2) and stdio


def fork_sibling() -> int | None:
    """Fork a child of this process's parent. Return its pid, 0 in the new process, or None where that is impossible.

    Call it in a process with a single thread. Raise OSError if the kernel refuses.
    """
    if not _IS_LINUX or _MACHINE not in _SYS_CLONE:
        return None
    pid = int(_libc_with_lock.syscall(_SYS_CLONE[_MACHINE], _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0))
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone")
    return pid


def flush_c_stdout() -> None:
    """Write out what printf(3) in C code still holds.

    Only stdout is flushed: a thread that the task has left running may hold the lock of another stream for ever.
    """
    with contextlib.suppress(ValueError):  # the C library has no such symbol
        _libc.fflush(ctypes.c_void_p.in_dll(_libc, _C_STDOUT))


# --- file descriptors


def close_all_but(*keep: int) -> None:
    """Close every descriptor except stdin, stdout, stderr and `keep`."""
    kept = sorted({0, 1, 2, *keep})
    for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(low + 1, high)


def raise_open_files_limit() -> Limit:
    """Raise the soft limit of this process to the hard limit. Return the previous limits.

    The usual 1024 exists for programs that use select(2), which cannot handle more: see RLIMIT_NOFILE in setrlimit(2).
    """
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    return before


def set_open_files_limit(pid: int, limit: Limit) -> None:
    """Set the limits of another process of ours, and of everything that it will start."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)


def restore_open_files_limit(limit: Limit) -> bool:
    """Set the limits of this process again after a job of the same user may have lowered them.

    Return False if that is not permitted.
    """
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    except (OSError, ValueError):
        return False  # the hard limit was lowered too, and only root may raise it
    return True


class DescriptorReserve:
    """Open descriptors that are kept so that their numbers can be freed when no others are left."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._fds: list[int] = []
        self._fill()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Free the descriptors during the block, and take as many as possible again after it."""
        self.close()
        try:
            yield
        finally:
            self._fill()

    def _fill(self) -> None:
        try:
            while len(self._fds) < self._count:
                self._fds.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return  # none are free at the moment: the next release frees fewer

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())
