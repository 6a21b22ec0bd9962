"""File descriptors: how many a process may have, and what a forked one has inherited and has no use for."""

from __future__ import annotations

import os
import resource

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
