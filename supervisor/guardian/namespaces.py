"""unshare(2), mount(2) and capset(2) through the C library: Python offers the first from 3.12 on, and the others not at
all.

On other systems than Linux each raises OSError with ENOSYS. Errors name the operation.
"""

from __future__ import annotations

import ctypes
import errno
import os

from runner.posix import LIBC

NEWNS = 0x00020000
NEWUSER = 0x10000000
NEWPID = 0x20000000
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REC = 0x4000
MS_PRIVATE = 0x40000
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_WORDS = 6  # effective, permitted, inheritable; 64 bits each as two words


def unshare(flags: int, what: str) -> None:
    """Move this process (NEWPID: its future children) into new namespaces. `what` names the operation in errors.

    NEWUSER requires a process without threads.
    """
    _call("unshare", what, ctypes.c_int(flags))


def make_mounts_private() -> None:
    """Stop the propagation of mounts between this mount namespace and others, in both directions."""
    _mount("none", "/", None, MS_REC | MS_PRIVATE, "make mounts private")


def mount_proc() -> None:
    """Mount a /proc of this process's own pid namespace over the existing one."""
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mount /proc")


def drop_capabilities() -> None:
    """Give up every capability of this thread, since an ordinary user's process has none. See capabilities(7)."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * _CAPABILITY_WORDS)()
    _call("capset", "drop capabilities", header, none)


def _mount(source: str, target: str, kind: str | None, flags: int, what: str) -> None:
    kind_bytes = None if kind is None else kind.encode()
    _call("mount", what, source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), None)


def _call(name: str, what: str, *arguments: object) -> None:
    number = errno.ENOSYS
    if LIBC is not None:
        if getattr(LIBC, name)(*arguments) == 0:
            return
        number = ctypes.get_errno()
    raise OSError(number, f"cannot {what}: {os.strerror(number)}")
