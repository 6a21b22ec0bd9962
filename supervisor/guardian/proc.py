"""Read /proc fast enough to win against a fork storm.

`/proc/<pid>/task/<tid>/children` lists a process's children in one read; a psutil walk of the whole table takes ten to
a hundred times as long. The kernel promises an exact list only for frozen processes, so every caller repeats until
nothing is left. See proc_pid_children(5).

A process that has ended is None, or missing in a list. What cannot be read raises Unreadable, or is passed to the
caller's `on_error`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from supervisor.guardian import procfs
from supervisor.guardian.procfs import Unreadable

_ANOTHER_USERS = frozenset({errno.EACCES, errno.EPERM})
"""The errors of /proc for a process of another user, where it is mounted with hidepid: see proc(5)."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def _has_children_files() -> bool:
    try:
        return procfs.read(f"self/task/{os.getpid()}/children") is not None
    except Unreadable:
        return False


HAS_CHILDREN_FILES = _has_children_files()

OnError = Callable[[Unreadable], object]
"""A callback for what could not be read, for a walk that continues without it."""


def reraise(error: Unreadable) -> NoReturn:
    raise error


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/<pid>/stat that we use.

    `start_ticks` counts clock ticks since boot: with the pid it identifies a process for good. `terminal` is the
    controlling terminal's device number, 0 for none. `threads` distinguishes a dead process from one whose main thread
    alone has ended: both show state Z.
    """

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
        """Whether every thread has ended, so that only its parent has to reap it."""
        return self.state in "ZX" and self.threads <= 1


def read_stat(pid: int) -> Stat | None:
    """Return one process's line, or None if there is no such process (any more). Raise Unreadable.

    Return None also for another user's process, where /proc is mounted so that those are hidden.
    """
    try:
        raw = procfs.read(f"{pid}/stat")
    except Unreadable as exc:
        if exc.errno in _ANOTHER_USERS and _is_another_users(pid):
            return None
        raise
    return None if not raw else parse_stat(raw)


def _is_another_users(pid: int) -> bool:
    try:
        return procfs.stat(str(pid)).st_uid != os.geteuid()
    except OSError:
        return False


def try_read_stat(pid: int) -> Stat | None:
    """Return the same, and None also if it cannot be read now, for a caller that can do without it."""
    try:
        return read_stat(pid)
    except Unreadable:
        return None


def parse_stat(raw: bytes) -> Stat:
    """Parse the text of /proc/<pid>/stat. See proc_pid_stat(5)."""
    # The name is in parentheses and may itself contain parentheses and spaces.
    end = raw.rindex(b")")
    name = raw[raw.index(b"(") + 1 : end].decode(errors="replace")
    fields = raw[end + 2 :].split()
    return Stat(
        pid=int(raw[: raw.index(b" ")]),
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


def read_stats(pids: Iterable[int], on_error: OnError) -> Iterator[Stat]:
    """Yield the status of each of these processes that has not been reaped. Pass `on_error` what cannot be read."""
    for pid in pids:
        try:
            stat = read_stat(pid)
        except Unreadable as exc:
            on_error(exc)
            continue
        if stat is not None:
            yield stat


def process_ids() -> list[int]:
    """Return every process that /proc shows. Raise Unreadable."""
    return [int(name) for name in procfs.names() or () if name.isdigit()]


def process_table(on_error: OnError = reraise) -> dict[int, Stat]:
    """Return all of them by pid. This takes some ten microseconds for each process of the machine."""
    table = {stat.pid: stat for stat in read_stats(process_ids(), on_error)}
    if os.getpid() not in table:
        on_error(Unreadable(errno.ENOENT, "it does not show this process", "/proc"))
    return table


def environment_of(pid: int) -> dict[bytes, bytes]:
    """Return the variables that a process was executed with; none if it has ended, or belongs to another user.

    Raise Unreadable if it may be read, but cannot be read now.
    """
    try:
        raw = procfs.read(f"{pid}/environ") or b""
    except Unreadable as exc:
        if exc.errno not in _ANOTHER_USERS:
            raise
        return {}
    return {name: value for entry in raw.split(b"\0") if entry for name, _, value in [entry.partition(b"=")]}


def children(pid: int, *, use_children_files: bool = HAS_CHILDREN_FILES, on_error: OnError = reraise) -> list[int]:
    """Return the direct children of every thread of `pid`; none if the process has ended."""
    if not use_children_files:
        return _children_by_parent(on_error).get(pid, [])
    found: list[int] = []
    for thread in _threads(pid, on_error):
        try:
            text = procfs.read(f"{pid}/task/{thread}/children")
        except Unreadable as exc:
            on_error(exc)
            continue
        found.extend(map(int, (text or b"").split()))
    return found


def _threads(pid: int, on_error: OnError) -> list[str]:
    try:
        return procfs.names(f"{pid}/task") or []
    except Unreadable as exc:
        on_error(exc)
    return [str(pid)]  # the first thread has the number of its process, and its file may still be readable


def _children_by_parent(on_error: OnError) -> dict[int, list[int]]:
    # For kernels built without CONFIG_PROC_CHILDREN: one pass over the whole table.
    found: dict[int, list[int]] = {}
    for stat in process_table(on_error).values():
        found.setdefault(stat.ppid, []).append(stat.pid)
    return found


def descendants(
    pid: int,
    *,
    leave_out: frozenset[int] = frozenset(),
    use_children_files: bool = HAS_CHILDREN_FILES,
    on_error: OnError = reraise,
    first: list[int] | None = None,
) -> list[int]:
    """Return everything below `pid`, parents before children, without `leave_out` and what is below it.

    Zombies are included: they are children until they are reaped. `first` are the direct children of `pid`, if the
    caller knows them better. With an `on_error` that returns, the walk continues with what can be read.
    """
    table = None if use_children_files else _children_by_parent(on_error)
    found: list[int] = []
    seen = set(leave_out) | {pid}

    def add(below: list[int]) -> list[int]:
        fresh = [child for child in dict.fromkeys(below) if child not in seen]
        seen.update(fresh)
        found.extend(fresh)
        return fresh

    def below(parent: int) -> list[int]:
        return children(parent, use_children_files=True, on_error=on_error) if table is None else table.get(parent, [])

    pending = add(below(pid) if first is None else first)
    while pending:
        pending += add(below(pending.pop()))
    return found
