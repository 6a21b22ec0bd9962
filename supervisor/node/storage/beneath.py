"""Read a folder that a job has filled, without being led out of it.

No symbolic link is followed, at any step of a path, and only ordinary files are opened: a FIFO would block, and opening
a device may have effects. See openat(2), O_NOFOLLOW. A file that belongs to another user than the folder is not read
either: a job may rename a file that it may not read, if it can write to the folder around it, or link to it where the
kernel does not forbid that (proc_sys_fs(5), protected_hardlinks). A folder of root was filled by root, who may read
everything.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from supervisor.engine.inspection import FoundFile

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_READABLE_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_ROOT = 0
MAX_DEPTH = 64
_OUR_OWN = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO})
"""Errors of the machine, which say nothing about the file."""


def open_file(root: Path, parts: Sequence[bytes]) -> int:
    """Return a descriptor for reading the ordinary file at root/part/part. Raise OSError if there is none."""
    if not parts or any(part in (b"", b".", b"..") or b"/" in part or b"\0" in part for part in parts):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    folder = _open_folder(root, parts[:-1], _FOLDER)
    try:
        owner = root.lstat().st_uid
        # Check before opening, because opening a device may have effects, and after, because names can be changed.
        _check(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False), owner)
        opened = os.open(parts[-1], _FILE, dir_fd=folder)
        try:
            _check(os.fstat(opened), owner)
        except BaseException:
            os.close(opened)
            raise
        return opened
    finally:
        os.close(folder)


def list_files(root: Path, limit: int) -> tuple[list[FoundFile], bool]:
    """Return the ordinary files below `root`, sorted by path, at most `limit`, and whether there are more, or deeper
    ones.

    It takes as long as the disk needs: call it from a thread. Return an empty list if there is nothing. Raise OSError
    if it cannot be read.
    """
    found: list[FoundFile] = []
    pending: list[tuple[bytes, ...]] = [()]
    try:
        owner = root.lstat().st_uid
    except FileNotFoundError:
        return found, False
    while pending:
        parts = pending.pop()
        try:
            folder = _open_folder(root, parts, _READABLE_FOLDER)
        except OSError as exc:
            if is_our_own(exc):
                raise
            continue  # it was removed meanwhile, or its own creator cannot read it
        try:
            for name, status in _entries(folder):
                if stat.S_ISDIR(status.st_mode):
                    if len(parts) == MAX_DEPTH:
                        return _sorted(found), True
                    pending.append((*parts, name))
                elif _is_the_jobs(status, owner):
                    if len(found) == limit:
                        return _sorted(found), True
                    found.append(FoundFile(b"/".join((*parts, name)), status.st_size))
        finally:
            os.close(folder)
    return _sorted(found), False


def is_our_own(exc: OSError) -> bool:
    """Return whether the machine failed, so that the file may well be there."""
    return exc.errno in _OUR_OWN


def _entries(folder: int) -> Iterator[tuple[bytes, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                yield os.fsencode(entry.name), entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it was removed meanwhile, because its job is being forgotten


def _is_the_jobs(status: os.stat_result, owner: int) -> bool:
    return stat.S_ISREG(status.st_mode) and owner in (status.st_uid, _ROOT)


def _check(status: os.stat_result, owner: int) -> None:
    if not _is_the_jobs(status, owner):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _sorted(found: list[FoundFile]) -> list[FoundFile]:
    return sorted(found, key=lambda file: file.path)


def _open_folder(root: Path, parts: Sequence[bytes], flags: int) -> int:
    folder = os.open(root, flags)
    for part in parts:
        try:
            inner = os.open(part, flags, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder
