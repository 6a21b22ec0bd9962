"""Limits that the kernel holds: what is written for it, and what its counters mean. A folder stands in for a cgroup."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.engine.containment import Enforcer, Limits, enforcement
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.limits import MAX_PIDS, RUNNER_THREADS, SAMPLE_EVERY_S, LimitWatch
from supervisor.guardian.protocol import LimitReached
from supervisor.node.explain_end import explain_limit
from supervisor.node.levels.enforcement import order_for

ALL = frozenset({"memory", "pids", "cpu"})
LIMITS = Limits(memory_bytes=1000, processes=5, cpus=0.5)
FILES = ("pids.max", "cpu.max", "memory.max", "memory.oom.group", "memory.swap.max")


@pytest.fixture
def leaf(tmp_path: Path) -> AttemptCgroup:
    for name in FILES:
        (tmp_path / name).write_text("")
    return AttemptCgroup(str(tmp_path))


def written(leaf: AttemptCgroup) -> dict[str, str]:
    return {name: Path(leaf.path, name).read_text() for name in FILES if Path(leaf.path, name).read_text()}


def test_a_limit_is_written_where_there_is_a_controller(leaf: AttemptCgroup) -> None:
    LimitWatch(leaf).set(order_for(LIMITS, ALL), 0.0)
    assert written(leaf) == {
        "pids.max": str(5 + RUNNER_THREADS),
        "cpu.max": "50000 100000",
        "memory.max": "1000",
        "memory.oom.group": "1",
        "memory.swap.max": "0",
    }


def test_and_nowhere_else(leaf: AttemptCgroup) -> None:
    LimitWatch(leaf).set(order_for(LIMITS, frozenset({"memory"})), 0.0)
    assert set(written(leaf)) == {"memory.max", "memory.oom.group", "memory.swap.max"}
    LimitWatch(None).set(order_for(LIMITS, frozenset()), 0.0)


def test_the_enforcer_of_each_limit_is_reported(leaf: AttemptCgroup) -> None:
    by = enforcement(LIMITS, ALL)
    assert (by.memory_bytes, by.processes, by.cpus) == (Enforcer.CGROUP,) * 3
    by = enforcement(LIMITS, frozenset())
    assert (by.memory_bytes, by.processes, by.cpus) == (Enforcer.SAMPLED, Enforcer.SAMPLED, Enforcer.NONE)
    by = enforcement(Limits(), ALL)
    assert (by.memory_bytes, by.processes, by.cpus) == (None, None, None)


def test_what_the_kernel_killed_or_refused_counts(leaf: AttemptCgroup) -> None:
    watch = LimitWatch(leaf)
    watch.set(order_for(LIMITS, ALL), 0.0)
    Path(leaf.path, "memory.events").write_text("low 0\noom 0\noom_kill 1\n")  # the machine's shortage, not the limit's
    watch.check([], SAMPLE_EVERY_S)
    assert watch.reached is None
    Path(leaf.path, "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    watch.check_counters()
    assert watch.reached == LimitReached("memory", 1000, None)
    other = LimitWatch(leaf)
    other.set(order_for(Limits(processes=5), ALL), 0.0)
    Path(leaf.path, "pids.events").write_text("max 3\n")
    other.check_counters()
    assert other.reached == LimitReached("processes", 5, None)


def test_a_sample_counts_the_existing_processes() -> None:
    watch = LimitWatch(None)
    watch.set(order_for(Limits(processes=1), frozenset()), 0.0)
    assert watch.next_due == SAMPLE_EVERY_S
    watch.check([os.getpid()], SAMPLE_EVERY_S)
    assert watch.reached is None
    assert watch.next_due == 2 * SAMPLE_EVERY_S
    watch.check([os.getpid(), os.getppid()], 2 * SAMPLE_EVERY_S)
    assert watch.reached == LimitReached("processes", 1, 2)


def test_more_than_the_kernel_takes_is_as_much_as_it_takes(leaf: AttemptCgroup) -> None:
    LimitWatch(leaf).set(order_for(Limits(processes=MAX_PIDS), ALL), 0.0)
    assert written(leaf) == {"pids.max": str(MAX_PIDS)}


@pytest.mark.parametrize("refused", ["pids.max", "memory.max", "memory.oom.group"])
def test_a_limit_that_the_kernel_refuses_is_measured_instead(leaf: AttemptCgroup, refused: str) -> None:
    path = Path(leaf.path, refused)
    path.unlink()
    path.mkdir()  # open(2) says EISDIR, also to root
    watch = LimitWatch(leaf)
    watch.set(order_for(Limits(processes=1, memory_bytes=1), ALL), 0.0)
    watch.check([os.getpid(), os.getppid()], SAMPLE_EVERY_S)
    assert watch.reached is not None
    assert watch.reached.kind == ("processes" if refused == "pids.max" else "memory")
    control = LimitWatch(leaf)
    path.rmdir()
    path.write_text("")
    control.set(order_for(Limits(processes=1, memory_bytes=1), ALL), 0.0)
    control.check([os.getpid(), os.getppid()], SAMPLE_EVERY_S)
    assert control.reached is None, "the kernel holds it: nothing is measured"


def test_threads_and_zombies_count() -> None:
    def seen(pid: int, processes: int) -> LimitReached | None:
        watch = LimitWatch(None)
        watch.set(order_for(Limits(processes=processes), frozenset()), 0.0)
        watch.check([os.getpid(), pid], SAMPLE_EVERY_S)
        return watch.reached

    with subprocess.Popen([sys.executable, "-c", ""]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        assert seen(zombie.pid, 1) == LimitReached("processes", 1, 2)
        assert seen(zombie.pid, 2) is None
    threads = "import sys, threading; [threading.Thread(target=sys.stdin.read, daemon=True).start() for _ in range(40)]"
    threads += "; print(flush=True); threading.Event().wait()"
    with subprocess.Popen([sys.executable, "-c", threads], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as many:
        assert many.stdout is not None
        many.stdout.readline()
        reached = seen(many.pid, 20)
        many.kill()
    assert reached is not None
    assert reached.seen is not None
    assert reached.seen > 20


@pytest.mark.parametrize("mapped", [False, True])
def test_a_memfd_counts_once_whether_it_is_mapped_or_not(mapped: bool) -> None:
    """A control each: with the limit above what is there nothing is reached."""
    size = 64 << 20
    script = "import mmap, os; fd = os.memfd_create('held'); block = bytes(1 << 20)\n"
    script += f"for _ in range({size >> 20}): os.write(fd, block)\n"
    if mapped:
        script += f"held = mmap.mmap(fd, {size}); [held[at] for at in range(0, {size}, 4096)]\n"
    script += "other = os.dup(fd); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        reached = {}
        for limit in (size, 2 * size):
            watch = LimitWatch(None)
            watch.set(order_for(Limits(memory_bytes=limit), frozenset()), 0.0)
            watch.check([holder.pid], SAMPLE_EVERY_S)
            reached[limit] = watch.reached
        holder.kill()
    assert reached[2 * size] is None
    assert reached[size] is not None


def test_without_limits_nothing_is_sampled() -> None:
    watch = LimitWatch(None)
    watch.set(order_for(Limits(cpus=1), frozenset()), 0.0)
    assert watch.next_due is None


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        (LimitReached("memory", 100, 120), "may have 100 bytes of memory (limits.memory_bytes), and it had 120"),
        (LimitReached("memory", 100, None), "and it needed more"),
        (LimitReached("processes", 4, 9), "may have 4 processes (limits.processes), and it had 9"),
        (LimitReached("processes", 4, None), "and it tried to start more"),
    ],
)
def test_the_reason_names_the_limit_and_what_was_seen(reached: LimitReached, said: str) -> None:
    error = explain_limit(reached)
    assert error.kind == reached.kind
    assert said in error.message
