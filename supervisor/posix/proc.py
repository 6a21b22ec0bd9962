"""Reading /proc fast enough to win against a fork storm.

`/proc/<pid>/task/<tid>/children` lists a process's children in one read; a psutil walk of the whole table costs
ten to a hundred times as much. The kernel promises an exact list only for frozen processes, so every caller
repeats until nothing is left. See proc_pid_children(5).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

_NOT_SHOWN = (FileNotFoundError, ProcessLookupError, PermissionError)
"""No such process, any more; or another user's, where /proc is mounted with hidepid, see proc(5)."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
HAS_CHILDREN_FILES = Path(f"/proc/self/task/{os.getpid()}/children").exists()


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/<pid>/stat that we use. `start_ticks` counts clock ticks since boot: with the pid it
    names a process for good. `terminal` is the controlling terminal's device number, 0 for none. `threads` tells a
    dead process from one whose main thread alone has ended: both show state Z."""

    pid: int
    name: str
    state: str
    ppid: int
    pgid: int
    sid: int
    terminal: int
    threads: int
    start_ticks: int
    rss_bytes: int

    @property
    def ended(self) -> bool:
        """Whether all of it has ended, so that only its parent's wait is missing."""
        return self.state in "ZX" and self.threads <= 1


def read_stat(pid: int) -> Stat | None:
    """One process's line, or None when there is no such process (any more), or none that is shown to us."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - this runs inside kill sweeps
            raw = file.read()
    except _NOT_SHOWN:
        return None
    # The name is in parentheses and may itself contain parentheses and spaces.
    end = raw.rindex(b")")
    name = raw[raw.index(b"(") + 1 : end].decode(errors="replace")
    fields = raw[end + 2 :].split()
    return Stat(
        pid=pid,
        name=name,
        state=fields[0].decode(),
        ppid=int(fields[1]),
        pgid=int(fields[2]),
        sid=int(fields[3]),
        terminal=int(fields[4]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        rss_bytes=int(fields[21]) * PAGE_BYTES,
    )


def boot_id() -> str:
    """What names this boot of the machine: start times of two boots cannot be compared."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # containers may hide it
        return f"booted at {psutil.boot_time():.0f}"


def process_ids() -> list[int]:
    """Every process that /proc shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def process_table() -> dict[int, Stat]:
    """All of them, by pid. Some ten microseconds for each process of the machine."""
    return {stat.pid: stat for pid in process_ids() if (stat := read_stat(pid)) is not None}


def environment_of(pid: int) -> dict[bytes, bytes]:
    """The variables that a process was exec'd with; empty when it is gone, or somebody else's."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    return {name: value for entry in raw.split(b"\0") for name, _, value in [entry.partition(b"=")]}


def pss_bytes(pid: int) -> int | None:
    """Resident memory with each shared page divided among its users; None where that may not be known.

    The kernel walks the process's page tables for it: some milliseconds for gigabytes.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123 - beside its siblings
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:  # gone, without an address space, somebody else's, or a kernel without this file
        pass
    return None


def children(pid: int, *, use_children_files: bool = HAS_CHILDREN_FILES) -> list[int]:
    """The direct children of every thread of `pid`; empty when the process is gone, or not shown to us."""
    if not use_children_files:
        return _children_by_parent().get(pid, [])
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except _NOT_SHOWN:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                found.extend(int(child) for child in file.read().split())
        except _NOT_SHOWN:
            continue
    return found


def _children_by_parent() -> dict[int, list[int]]:
    # For kernels built without CONFIG_PROC_CHILDREN: one pass over the whole table.
    found: dict[int, list[int]] = {}
    for pid in process_ids():
        stat = read_stat(pid)
        if stat is not None:
            found.setdefault(stat.ppid, []).append(stat.pid)
    return found


def descendants(
    pid: int, *, leave_out: frozenset[int] = frozenset(), use_children_files: bool = HAS_CHILDREN_FILES
) -> list[int]:
    """Everything below `pid`, parents before children, without `leave_out` and what is below it.

    Zombies are included: they are children until somebody reaps them.
    """
    table = None if use_children_files else _children_by_parent()
    found: list[int] = []
    seen = set(leave_out) | {pid}
    pending = [pid]
    while pending:
        parent = pending.pop()
        for child in children(parent, use_children_files=True) if table is None else table.get(parent, ()):
            if child not in seen:
                seen.add(child)
                found.append(child)
                pending.append(child)
    return found
