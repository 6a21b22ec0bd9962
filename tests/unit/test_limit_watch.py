"""Limits that the kernel holds: what is written for it, and what its counters mean. A folder stands in for a cgroup."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.containment.cgroup import Leaf
from supervisor.containment.limit_watch import RUNNER_THREADS, SAMPLE_EVERY_S, LimitWatch
from supervisor.containment.limits import Enforcer, Limits, enforcement, order_for
from supervisor.containment.protocol import LimitReached
from supervisor.core.explain import explain_limit

ALL = frozenset({"memory", "pids", "cpu"})
LIMITS = Limits(memory_bytes=1000, processes=5, cpus=0.5)
FILES = ("pids.max", "cpu.max", "memory.max", "memory.oom.group", "memory.swap.max")


@pytest.fixture
def leaf(tmp_path: Path) -> Leaf:
    for name in FILES:
        (tmp_path / name).write_text("")
    return Leaf(str(tmp_path))


def written(leaf: Leaf) -> dict[str, str]:
    return {name: Path(leaf.path, name).read_text() for name in FILES if Path(leaf.path, name).read_text()}


def test_a_limit_is_written_where_there_is_a_controller(leaf: Leaf) -> None:
    LimitWatch(leaf).set(order_for(LIMITS, ALL), 0.0)
    assert written(leaf) == {
        "pids.max": str(5 + RUNNER_THREADS),
        "cpu.max": "50000 100000",
        "memory.max": "1000",
        "memory.oom.group": "1",
        "memory.swap.max": "0",
    }


def test_and_nowhere_else(leaf: Leaf) -> None:
    LimitWatch(leaf).set(order_for(LIMITS, frozenset({"memory"})), 0.0)
    assert set(written(leaf)) == {"memory.max", "memory.oom.group", "memory.swap.max"}
    LimitWatch(None).set(order_for(LIMITS, frozenset()), 0.0)


def test_who_enforces_is_said(leaf: Leaf) -> None:
    by = enforcement(LIMITS, ALL)
    assert (by.memory_bytes, by.processes, by.cpus) == (Enforcer.CGROUP,) * 3
    by = enforcement(LIMITS, frozenset())
    assert (by.memory_bytes, by.processes, by.cpus) == (Enforcer.SAMPLED, Enforcer.SAMPLED, Enforcer.NONE)
    by = enforcement(Limits(), ALL)
    assert (by.memory_bytes, by.processes, by.cpus) == (None, None, None)


def test_what_the_kernel_killed_or_refused_counts(leaf: Leaf) -> None:
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


def test_a_sample_counts_who_is_there() -> None:
    watch = LimitWatch(None)
    watch.set(order_for(Limits(processes=1), frozenset()), 0.0)
    assert watch.next_due == SAMPLE_EVERY_S
    watch.check([os.getpid()], SAMPLE_EVERY_S)
    assert watch.reached is None
    assert watch.next_due == 2 * SAMPLE_EVERY_S
    watch.check([os.getpid(), os.getppid()], 2 * SAMPLE_EVERY_S)
    assert watch.reached == LimitReached("processes", 1, 2)


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
