"""The only access to /proc: through one descriptor, which is opened before there is a job.

A job of root can mount something over /proc, or over /proc/PID. So root reads a /proc of its own: a mount without a
path, over which nothing can be mounted (open_tree(2)). Without the right to create one, the folder is opened once, and
mounts inside of it are not followed (RESOLVE_NO_XDEV, see openat2(2)).

What cannot be read never counts as ended: see Unreadable.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable
from typing import TypeVar

from runner.posix import LIBC

Answer = TypeVar("Answer")

# The same on every architecture of ours.
_NR_OPEN_TREE, _NR_FSOPEN, _NR_FSCONFIG, _NR_FSMOUNT, _NR_OPENAT2, _NR_MOUNT_SETATTR = 428, 430, 431, 432, 437, 442
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_MS_PRIVATE = 1 << 18
_OPEN_TREE_CLONE = 1
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_FSCONFIG_CMD_CREATE = 6
_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
_RESOLVE_NO_XDEV = 1
_CHUNK_BYTES = 1 << 14
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_DIRECTORY", 0)
_GONE = frozenset({errno.ENOENT, errno.ESRCH})


class Unreadable(OSError):
    """Raised when something in /proc may exist but cannot be read now: no descriptors, no memory, not permitted.

    It never means that a process has ended. A sweep goes on without it, a proof waits.
    """


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _syscall(number: int, *arguments: object) -> int:
    if LIBC is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    result = int(LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _clone_mount() -> int:
    """Copy the mount at /proc, with its options. Raise OSError."""
    flags = ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC)
    clone = _syscall(_NR_OPEN_TREE, ctypes.c_int(_AT_FDCWD), b"/proc", flags)
    try:
        # Otherwise mounts inside of one could appear in the other.
        private = _MountAttributes(propagation=_MS_PRIVATE)
        size = ctypes.c_size_t(ctypes.sizeof(private))
        empty_path = ctypes.c_uint(_AT_EMPTY_PATH)
        _syscall(_NR_MOUNT_SETATTR, ctypes.c_int(clone), b"", empty_path, ctypes.byref(private), size)
    except OSError:
        os.close(clone)
        raise
    return clone


def _new_mount() -> int:
    """Create a new one, for a process whose /proc has something else mounted on it. Raise OSError."""
    context = _syscall(_NR_FSOPEN, b"proc", ctypes.c_uint(_FSOPEN_CLOEXEC))
    try:
        create = ctypes.c_uint(_FSCONFIG_CMD_CREATE)
        _syscall(_NR_FSCONFIG, ctypes.c_int(context), create, None, None, ctypes.c_int(0))
        attributes = ctypes.c_uint(_NOSUID_NODEV_NOEXEC)
        return _syscall(_NR_FSMOUNT, ctypes.c_int(context), ctypes.c_uint(_FSMOUNT_CLOEXEC), attributes)
    finally:
        os.close(context)


def _open_mount(mount: int) -> int | None:
    """Open the folder: the descriptors from fsmount and open_tree are only paths. Return None if it does not show this
    process.
    """
    try:
        folder = os.open(".", _FOLDER, dir_fd=mount)
    finally:
        os.close(mount)
    try:
        os.stat(f"{os.getpid()}/stat", dir_fd=folder)
    except OSError:
        os.close(folder)
        return None
    return folder


def _mount_detached() -> int | None:
    """Return a mount of /proc that only this descriptor leads to, or None if this process may not create one."""
    for mount in (_clone_mount, _new_mount):
        try:
            folder = _open_mount(mount())
        except OSError:
            continue
        if folder is not None:
            return folder
    return None


def _open_folder() -> tuple[int, bool]:
    """Return a descriptor (-1 if there is none), and whether others can mount something inside of it."""
    detached = _mount_detached()
    try:
        folder = os.open("/proc", _FOLDER) if detached is None else detached
    except OSError:
        return -1, True
    if folder > 2:
        return folder, detached is None
    # The server was started without stdin, stdout or stderr: their numbers are reserved.
    above = fcntl.fcntl(folder, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(folder)
    return above, detached is None


FOLDER_FD, _SHARED = _open_folder()
"""Guardians inherit it, and keep it when they close everything else."""


def _refuses_mounts() -> bool:
    try:
        os.close(_open_beneath(".", _FOLDER))
    except OSError:
        return False
    return True


def _open_beneath(path: str, flags: int) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_NO_XDEV)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    return _syscall(_NR_OPENAT2, ctypes.c_int(FOLDER_FD), path.encode(), ctypes.byref(how), size)


_BENEATH = _SHARED and _refuses_mounts()


def open_file(path: str, flags: int = os.O_RDONLY) -> int:
    """Open /proc/`path`. Raise OSError."""
    if _BENEATH:
        return _open_beneath(path, flags)
    return os.open(path, flags | os.O_CLOEXEC, dir_fd=FOLDER_FD)


def read(path: str) -> bytes | None:
    """Return the text of /proc/`path`, or None if it does not exist any more. Raise Unreadable."""
    return _opened(path, os.O_RDONLY, _read_all)


def _opened(path: str, flags: int, use: Callable[[int], Answer]) -> Answer | None:
    try:
        fd = open_file(path, flags)
        try:
            return use(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        if exc.errno in _GONE:
            return None
        raise Unreadable(exc.errno, exc.strerror, f"/proc/{path}") from exc


def read_again(fd: int) -> bytes:
    """Return the present text of an open file. Raise OSError."""
    text = b""
    while chunk := os.pread(fd, _CHUNK_BYTES, len(text)):
        text += chunk
    return text


def names(path: str = ".") -> list[str] | None:
    """Return the names in the folder /proc/`path`, or None if it does not exist any more. Raise Unreadable."""
    return _opened(path, _FOLDER, os.listdir)


def link(path: str) -> str:
    """Return the target of the link /proc/`path`. Raise OSError."""
    return os.readlink(path, dir_fd=FOLDER_FD)


def stat(path: str) -> os.stat_result:
    """Return the status of what /proc/`path` leads to. Raise OSError."""
    return os.stat(path, dir_fd=FOLDER_FD)


def _read_all(fd: int) -> bytes:
    text = os.read(fd, _CHUNK_BYTES)
    while chunk := os.read(fd, _CHUNK_BYTES):
        text += chunk
    return text
