"""The files of one cgroup, opened before there is a job in it: no mode, no mount and no name changes then what they do.

Light on purpose: guardians use it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading

GONE = frozenset({errno.ENOENT, errno.ENODEV})
"""By name, and by descriptor: a cgroup that was removed, which only an empty one can be."""
_READ = os.O_RDONLY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CLOEXEC
HELD = {
    "cgroup.kill": _WRITE,
    "cgroup.events": _READ,
    "cgroup.procs": _READ,
    "memory.events": _READ,
    "pids.events": _READ,
}
"""The last two are there only with their controllers."""
_CHUNK_BYTES = 1 << 14


class CgroupFiles:
    """By descriptor where one is held, else by path. `path` is the cgroup's folder."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fds: dict[str, int] = {}
        # The server's backstop may be reading in its thread when the starter's thread gives them back.
        self._lock = threading.Lock()

    def hold(self) -> None:
        """Open all there are. Raises OSError, having kept none."""
        with self._lock:
            try:
                for name, flags in HELD.items():
                    if name not in self._fds:
                        self._hold(name, flags)
            except OSError:
                self._let_go()
                raise

    def _hold(self, name: str, flags: int) -> None:
        with contextlib.suppress(FileNotFoundError):  # each process that uses it will say so
            self._fds[name] = os.open(f"{self._path}/{name}", flags)

    def let_go(self) -> None:
        """Give the descriptors back."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def read(self, name: str) -> str:
        """Raises OSError."""
        with self._lock:
            if name in self._fds:
                return _read_again(self._fds[name])
        return read(f"{self._path}/{name}")

    def read_if_there(self, name: str) -> str:
        """Nothing of a cgroup that is gone. Raises OSError."""
        try:
            return self.read(name)
        except OSError as exc:
            if exc.errno in GONE:
                return ""
            raise

    def write(self, name: str, text: str) -> None:
        """Raises OSError."""
        with self._lock:
            if name in self._fds:
                os.pwrite(self._fds[name], text.encode("ascii"), 0)
                return
        write(f"{self._path}/{name}", text)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self._let_go()


def _read_again(fd: int) -> str:
    text = b""
    while chunk := os.pread(fd, _CHUNK_BYTES, len(text)):
        text += chunk
    return text.decode("ascii")


def read(path: str) -> str:
    """Raises OSError."""
    with open(path, encoding="ascii") as file:  # noqa: PTH123 - read on the way to a kill
        return file.read()


def write(path: str, text: str) -> None:
    """One write(2), as these files want it. Raises OSError."""
    fd = os.open(path, _WRITE)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)
