"""The process tree of a job in this process's own supervisor, and a way to keep one of it from ever being reaped."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from supervisor.core.registry import Record
from supervisor.posix.proc import descendants, read_stat

TREE = "setsid sleep 60 & setsid sh -c 'sleep 60 & sleep 60' & (setsid sleep 60 &) ; echo READY; wait"
"""A command with daemons of three kinds."""
DAEMONS = 4
"""How many processes named sleep it has once all are in place."""

_TRACER = """
import ctypes, sys
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long] * 4
for pid in map(int, sys.argv[1:]):
    if ptrace(0x4206, pid, 0, 0):  # PTRACE_SEIZE
        raise OSError(ctypes.get_errno(), f"cannot trace {pid}")
print("held", flush=True)
sys.stdin.read()
"""


def a_tree(record: Record) -> set[tuple[int, int]]:
    """(pid, start time) of the guardian and all below it."""
    assert record.guardian_pid is not None
    stats = [read_stat(pid) for pid in (record.guardian_pid, *descendants(record.guardian_pid))]
    return {(stat.pid, stat.start_ticks) for stat in stats if stat is not None}


def alive(tree: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those of them that still run. Zombies do not."""
    stats = [read_stat(pid) for pid, _ in tree]
    return {(s.pid, s.start_ticks) for s in stats if s is not None and s.state != "Z"} & tree


def there(tree: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those of them that run or wait to be reaped."""
    stats = [read_stat(pid) for pid, _ in tree]
    return {(s.pid, s.start_ticks) for s in stats if s is not None} & tree


def named(record: Record, name: str) -> list[int]:
    """The pids below the job's guardian whose command has this name."""
    assert record.guardian_pid is not None
    stats = [read_stat(pid) for pid in descendants(record.guardian_pid)]
    return [stat.pid for stat in stats if stat is not None and stat.name == name]


@contextlib.contextmanager
def held(*pids: int) -> Iterator[None]:
    """Trace them from outside the job, as a debugger does, while the block runs.

    A traced process that is killed stays a zombie which its parent cannot reap until the tracer lets go: the one way
    without privilege to make something that no signal gets rid of, as a task in uninterruptible sleep does.
    """
    tracer = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _TRACER, *map(str, pids)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert tracer.stdin is not None
    assert tracer.stdout is not None
    try:
        assert tracer.stdout.readline() == b"held\n"
        yield
    finally:
        tracer.stdin.close()
        tracer.wait()
        tracer.stdout.close()
