"""Files that are never seen half-written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

_O_TMPFILE = getattr(os, "O_TMPFILE", 0)


@contextlib.contextmanager
def open_atomic(
    path: Path, mode: str = "w", *, commit: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext
) -> Iterator[IO[Any]]:
    """Open a new file in the folder of `path`, and put it at `path` when the block ends without an exception.

    The old file stays until then, and for good if the block raises or the process is killed. Where the file system
    supports O_TMPFILE, the new file has no name before it is complete, so that not even SIGKILL leaves one behind. It
    is synced to the disk first, and keeps the permissions of the old file. `mode` is "w" (UTF-8) or "wb"; anything else
    raises ValueError. `commit` surrounds the replacement, and prevents it by raising.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"cannot open {path} atomically with mode {mode!r}: use 'w' or 'wb'")
    target = Path(os.path.realpath(path))  # a link stays a link, as for any program that writes to it
    _check_replaceable(target)
    draft = _Draft(target)
    try:
        # A descriptor of its own, so that the block may close the file.
        with os.fdopen(os.dup(draft.fd), mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
        os.fsync(draft.fd)
        with commit():
            draft.put_in_place()
    finally:
        draft.close()


def _check_replaceable(target: Path) -> None:
    """Raise OSError if there is something other than a regular file: for root, a rename would replace even
    /dev/null.
    """
    with contextlib.suppress(FileNotFoundError):
        mode = target.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not a regular file, and not to be replaced by one", str(target))


class _Draft:
    """A new file for `target`. Without O_TMPFILE it has a hidden name beside the target until it is complete."""

    def __init__(self, target: Path) -> None:
        self._target = target.name
        self._folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._name: str | None = None
        try:
            self.fd = self._open(target.parent)
        except BaseException:
            os.close(self._folder)
            raise
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(self.fd, stat.S_IMODE(target.stat().st_mode))

    def _open(self, folder: Path) -> int:
        if _O_TMPFILE:
            with contextlib.suppress(OSError):  # some file systems do not support it, such as NFS and some overlays
                return os.open(folder, _O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
        self._name = self._new_name()
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        return os.open(self._name, flags, 0o666, dir_fd=self._folder)

    def _new_name(self) -> str:
        return f".{self._target[:200]}.{secrets.token_hex(4)}"

    def put_in_place(self) -> None:
        if self._name is None:
            name = self._new_name()
            # With a dir_fd Python calls linkat(2), which can follow the link in /proc to a file without a name.
            os.link(f"/proc/self/fd/{self.fd}", name, dst_dir_fd=self._folder)
            self._name = name
        os.replace(self._name, self._target, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._name = None
        os.fsync(self._folder)

    def close(self) -> None:
        if self._name is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._folder)  # Path has no dir_fd
        os.close(self.fd)
        os.close(self._folder)
