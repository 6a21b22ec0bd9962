"""The files of one cgroup, opened before there is a job in it: no later chmod, mount or rename changes what they do.

This module is light, because guardians import it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading

GONE = frozenset({errno.ENOENT, errno.ENODEV})
"""The errors for a removed cgroup, by name and by descriptor. Only an empty cgroup can be removed."""
_READ = os.O_RDONLY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CLOEXEC
KEPT_OPEN = {
    "cgroup.kill": _WRITE,
    "cgroup.events": _READ,
    "cgroup.procs": _READ,
    "memory.events": _READ,
    "pids.events": _READ,
}
"""The last two exist only with their controllers."""
_CHUNK_BYTES = 1 << 14


class CgroupFiles:
    """Access by descriptor where one is open, otherwise by path. `path` is the folder of the cgroup."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fds: dict[str, int] = {}
        # The server's backstop may read in its thread while the starter's thread closes the files.
        self._lock = threading.Lock()

    def hold(self) -> None:
        """Open all files that exist. Raise OSError, and then keep none open."""
        with self._lock:
            try:
                for name, flags in KEPT_OPEN.items():
                    if name not in self._fds:
                        self._hold(name, flags)
            except OSError:
                self._close_files()
                raise

    def _hold(self, name: str, flags: int) -> None:
        with contextlib.suppress(FileNotFoundError):  # reported by whatever uses the file
            self._fds[name] = os.open(f"{self._path}/{name}", flags)

    def close_files(self) -> None:
        with self._lock:
            self._close_files()

    def _close_files(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def read(self, name: str) -> str:
        """Raise OSError if the file cannot be accessed."""
        with self._lock:
            if name in self._fds:
                return _read_again(self._fds[name])
        return read(f"{self._path}/{name}")

    def read_if_there(self, name: str) -> str:
        """Return an empty text for a removed cgroup. Raise OSError."""
        try:
            return self.read(name)
        except OSError as exc:
            if exc.errno in GONE:
                return ""
            raise

    def write(self, name: str, text: str) -> None:
        """Raise OSError if the file cannot be accessed."""
        with self._lock:
            if name in self._fds:
                os.pwrite(self._fds[name], text.encode("ascii"), 0)
                return
        write(f"{self._path}/{name}", text)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self._close_files()


def _read_again(fd: int) -> str:
    text = b""
    while chunk := os.pread(fd, _CHUNK_BYTES, len(text)):
        text += chunk
    return text.decode("ascii")


def read(path: str) -> str:
    """Raise OSError if the file cannot be read."""
    with open(path, encoding="ascii") as file:  # noqa: PTH123 - read on the way to a kill
        return file.read()


def write(path: str, text: str) -> None:
    """Write with one write(2), as these files require. Raise OSError."""
    fd = os.open(path, _WRITE)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)
