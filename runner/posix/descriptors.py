"""File descriptors: how many a process may have, and what a forked one has inherited and has no use for."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

Limit = tuple[int, int]
"""Soft and hard."""


def close_all_but(*keep: int) -> None:
    """Close every descriptor but stdin, stdout, stderr and these."""
    kept = sorted({0, 1, 2, *keep})
    for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(low + 1, high)


def allow_as_many_as_possible() -> Limit:
    """Raise the soft limit of this process to the hard one. The limit as it was, for `limit_process`.

    The usual 1024 is there for programs that use select(2), which cannot name more: see RLIMIT_NOFILE in setrlimit(2).
    """
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    return before


def limit_process(pid: int, limit: Limit) -> None:
    """Set the limit of another process of ours, and of what it will start."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)


def raise_again(limit: Limit) -> bool:
    """Set the limit of this process back, which a job of the same user may have lowered. False: it may not."""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    except (OSError, ValueError):
        return False  # the hard limit was lowered too, and raising that is for root
    return True


class Reserve:
    """Descriptors that are kept for the moment when there are no others."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._fds: list[int] = []
        self._fill()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Their numbers are free inside the block, and taken again behind it, as far as there are any."""
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
            return  # still none to be had: the next release frees fewer

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())
