"""This process as /proc shows it, through files that stay open: they can be read when no descriptor is free any
more.
"""

from __future__ import annotations

import contextlib
import errno
import os

from supervisor.guardian import procfs
from supervisor.guardian.proc import HAS_CHILDREN_FILES, children, parse_stat
from supervisor.guardian.procfs import Unreadable


class OwnProcess:
    """Create it in the process itself, after the last fork. Orphans are reparented to the first thread."""

    def __init__(self, *, use_children_files: bool = HAS_CHILDREN_FILES) -> None:
        self.pid = os.getpid()
        self._use_children_files = use_children_files
        self._stat = _Held(f"{self.pid}/stat")
        self._children = _Held(f"{self.pid}/task/{self.pid}/children")

    def is_seen(self) -> bool:
        """Return whether /proc shows this very process. If not, it is another /proc, and proves nothing."""
        try:
            text = self._stat.read()
        except OSError:
            return False
        stat = parse_stat(text)
        return (stat.pid, stat.ppid, stat.sid) == (self.pid, os.getppid(), os.getsid(0))

    def children(self) -> list[int]:
        """Return the children of this process, zombies and reparented orphans included. Raise Unreadable."""
        if not self._use_children_files:
            return children(self.pid, use_children_files=False)
        try:
            first = [int(child) for child in self._children.read().split()]
        except OSError as exc:
            raise Unreadable(exc.errno, exc.strerror, f"/proc/{self.pid}/task/{self.pid}/children") from exc
        # Children that other threads have forked are never orphans, so they are left out if they cannot be read.
        others: list[int] = children(self.pid, on_error=lambda _: None)
        return list(dict.fromkeys([*first, *others]))

    def proven_children(self) -> list[int]:
        """Return the same for a proof. Raise Unreadable too if this /proc does not show all children.

        The list is read twice, because a list that changes meanwhile may leave a child out, and compared with
        waitid(2).
        """
        if not self.is_seen():
            raise Unreadable(errno.ENOENT, "it does not show this process", "/proc")
        shown = set(self.children())
        try:
            # WNOWAIT leaves the child to its own waiter.
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return self.children()
        shown.update(self.children())
        if not shown or (ended is not None and ended.si_pid not in shown):
            raise Unreadable(errno.ENOENT, "it does not show a child that the kernel knows of", "/proc")
        return sorted(shown)

    def close(self) -> None:
        self._stat.close()
        self._children.close()


class _Held:
    """A file that stays open. If it could not be opened at first, each read tries again."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None
        with contextlib.suppress(OSError):
            self._fd = procfs.open_file(path)

    def read(self) -> bytes:
        if self._fd is None:
            self._fd = procfs.open_file(self._path)
        return procfs.read_again(self._fd)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None

    def __del__(self) -> None:
        self.close()
