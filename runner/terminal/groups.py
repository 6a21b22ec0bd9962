"""Process groups: send signals to whole groups, and find out whether anything in them is alive."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path


def signal_groups(groups: Iterable[int], number: signal.Signals) -> None:
    """Signal every process in these groups. Stopped processes are continued, so that they receive the signal."""
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or belongs to another user
            os.killpg(group, number)
            os.killpg(group, signal.SIGCONT)


def any_alive(groups: Iterable[int]) -> bool:
    """Return whether a process in one of these groups has not ended. A zombie has ended."""
    candidates = {group for group in groups if _has_members(group)}
    return bool(candidates) and any(group in candidates for _, _, group in _living_processes())


def groups_below(pid: int) -> frozenset[int]:
    """Return the process groups of `pid` and its descendants, as far as /proc shows them."""
    parents: dict[int, tuple[int, int]] = {one: (parent, group) for one, parent, group in _living_processes()}
    found = {pid}
    while more := {one for one, (parent, _) in parents.items() if parent in found} - found:
        found |= more
    return frozenset(parents[one][1] for one in found if one in parents)


def ignores(pid: int, number: signal.Signals) -> bool:
    """Return whether a process ignores a signal. Return False if there is no such process."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return False
    ignored = status.partition(b"\nSigIgn:")[2].split(maxsplit=1)
    return bool(ignored) and bool(int(ignored[0], 16) >> (number - 1) & 1)


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _living_processes() -> Iterator[tuple[int, int, int]]:
    """Yield pid, parent and process group of each process that has not ended."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path("/proc", name, "stat").read_bytes()
            except OSError:  # it has ended, or is not shown to us
                continue
            state, parent, group = stat[stat.rindex(b")") + 2 :].split(maxsplit=3)[:3]
            if state not in b"ZX":
                yield int(name), int(parent), int(group)
