"""The process tree of a job in this process's own supervisor, and two ways to make a process in it unkillable."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from supervisor.core.jobs.model import Cancellation, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.guardian.proc import descendants, read_stat
from tests.support.attempts import guardian_pid

TREE = "setsid sleep 60 & setsid sh -c 'sleep 60 & sleep 60' & (setsid sleep 60 &) ; echo READY; wait"
"""A command with daemons of three kinds."""
BUDGET_MS = 2000
DAEMONS = 4
"""The number of processes named sleep that it has once all are in place."""

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


def a_tree(record: LiveJob) -> set[tuple[int, int]]:
    """Return (PID, start time) of the guardian and all of its descendants."""
    assert guardian_pid(record)
    stats = [read_stat(pid) for pid in (guardian_pid(record), *descendants(guardian_pid(record)))]
    return {(stat.pid, stat.start_ticks) for stat in stats if stat is not None}


def alive(tree: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the processes that still run. Zombies are left out."""
    stats = [read_stat(pid) for pid, _ in tree]
    return {(s.pid, s.start_ticks) for s in stats if s is not None and s.state != "Z"} & tree


def there(tree: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the processes that run or wait to be reaped."""
    stats = [read_stat(pid) for pid, _ in tree]
    return {(s.pid, s.start_ticks) for s in stats if s is not None} & tree


def named(record: LiveJob, name: str) -> list[int]:
    """Return the PIDs of the guardian's descendants whose command has this name."""
    assert guardian_pid(record)
    stats = [read_stat(pid) for pid in descendants(guardian_pid(record))]
    return [stat.pid for stat in stats if stat is not None and stat.name == name]


def cancelled_in_time(record: LiveJob) -> Cancellation:
    """The proof of a job that must have been cancelled, and be gone within the default budget."""
    assert record.job.state is State.CANCELLED
    proof = record.job.cancellation
    assert proof is not None
    assert proof.gone_ms is not None
    assert proof.gone_ms < BUDGET_MS
    return proof


@contextlib.contextmanager
def held(*pids: int) -> Iterator[None]:
    """Trace the processes from outside the job, as a debugger does, while the block runs.

    A traced process that is killed stays a zombie, which its parent cannot reap until the tracer detaches. It is the
    only way without privileges to make a process that no signal removes.
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


FREEZER = Path("/sys/fs/cgroup/freezer")
"""The freezer of version 1: frozen processes sleep uninterruptibly, and a SIGKILL waits until they are thawed."""


@contextlib.contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Put the processes into uninterruptible sleep (state D) while the block runs, as a disk that hangs does."""
    folder = FREEZER / f"deadstop-test-{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        for pid in pids:
            (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")
        state = folder / "freezer.state"
        state.write_text("FROZEN", encoding="ascii")
        deadline = time.monotonic() + 5
        while state.read_text(encoding="ascii") != "FROZEN\n" and time.monotonic() < deadline:
            time.sleep(0.002)
        assert [stat.state for pid in pids if (stat := read_stat(pid)) is not None] == ["D"] * len(pids)
        yield
    finally:
        (folder / "freezer.state").write_text("THAWED", encoding="ascii")
        deadline = time.monotonic() + 5
        while (folder / "cgroup.procs").read_text(encoding="ascii") and time.monotonic() < deadline:
            time.sleep(0.002)
        folder.rmdir()


def why_no_freezer() -> str | None:
    return None if os.access(FREEZER, os.W_OK) else f"no freezer of cgroup version 1 at {FREEZER} that is ours to use"
