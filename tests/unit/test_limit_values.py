"""Limits that are measured: the exact values at which each is reached, with invented processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.guardian import limits
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.limits import MAX_PIDS, RUNNER_THREADS, LimitWatch
from supervisor.guardian.memory import Share
from supervisor.guardian.proc import Stat
from supervisor.guardian.protocol import Limit, LimitReached

MEMFD = (1, 2)


class Tree:
    """The processes that the watch finds: pid → threads, resident bytes, share, and bytes in one shared memfd."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: dict[int, int] = {}
        self.rss: dict[int, int] = {}
        self.shares: dict[int, Share | None] = {}
        self.memfd = 0
        self.measured: list[int] = []
        monkeypatch.setattr(limits, "try_read_stat", self._stat)
        monkeypatch.setattr(limits, "share_of", self._share)
        monkeypatch.setattr(limits, "memfds_of", lambda _: {MEMFD: self.memfd} if self.memfd else {})

    def _stat(self, pid: int) -> Stat | None:
        if pid not in self.threads:
            return None
        return Stat(pid, "x", "S", 1, pid, pid, 0, self.threads[pid], 1, self.rss.get(pid, 0))

    def _share(self, pid: int) -> Share | None:
        self.measured.append(pid)
        return self.shares.get(pid)

    def seen(self, limit: Limit) -> LimitReached | None:
        watch = LimitWatch(None)
        watch.set(limit, 0.0)
        watch.check([*self.threads, 999], 0.2)
        return watch.reached


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(monkeypatch)


def test_the_kernels_and_our_own_figures() -> None:
    assert (limits.SAMPLE_EVERY_S, RUNNER_THREADS, MAX_PIDS) == (0.2, 8, 4 * 1024 * 1024)
    assert (limits.CPU_PERIOD_US, limits.MIN_QUOTA_US) == (100_000, 1000)


def test_threads_count_without_those_of_our_runner(tree: Tree) -> None:
    tree.threads = {1: 10, 2: 0}
    assert tree.seen(Limit(processes=4)) is None
    assert tree.seen(Limit(processes=3)) is None
    assert tree.seen(Limit(processes=2)) == LimitReached("processes", 2, 3)
    tree.threads = {1: 1, 2: 1}
    assert tree.seen(Limit(processes=2)) is None
    assert tree.seen(Limit(processes=1)) == LimitReached("processes", 1, 2)
    tree.threads = dict.fromkeys(range(1, 13), 0)  # a zombie counts as one
    assert tree.seen(Limit(processes=11)) == LimitReached("processes", 11, 12)
    tree.threads |= {1: 10}
    assert tree.seen(Limit(processes=11)) == LimitReached("processes", 11, 13)


def test_a_shared_page_counts_once_and_only_what_is_above_the_limit_ends_a_job(tree: Tree) -> None:
    tree.threads, tree.rss = {1: 1, 2: 1}, {1: 60, 2: 60}
    assert tree.seen(Limit(memory_bytes=121)) is None
    assert tree.seen(Limit(memory_bytes=120)) is None
    assert not tree.measured, "an exact sum costs too much while the simple one is within the limit"
    assert tree.seen(Limit(memory_bytes=119)) == LimitReached("memory", 119, 120), "a share that cannot be read"
    tree.shares = {1: Share(pss_bytes=40, shmem_bytes=0), 2: Share(pss_bytes=45, shmem_bytes=0)}
    assert tree.seen(Limit(memory_bytes=85)) is None
    assert tree.seen(Limit(memory_bytes=84)) == LimitReached("memory", 84, 85)
    tree.shares[2] = None
    assert tree.seen(Limit(memory_bytes=99)) == LimitReached("memory", 99, 100)


def test_a_memfd_counts_once_without_its_mapped_part(tree: Tree) -> None:
    tree.threads, tree.rss, tree.memfd = {1: 1, 2: 1}, {1: 60, 2: 60}, 100
    tree.shares = {1: Share(pss_bytes=50, shmem_bytes=20), 2: Share(pss_bytes=50, shmem_bytes=10)}
    assert tree.seen(Limit(memory_bytes=220)) is None
    assert tree.seen(Limit(memory_bytes=170)) is None
    assert tree.seen(Limit(memory_bytes=169)) == LimitReached("memory", 169, 170)
    tree.memfd = 29
    assert tree.seen(Limit(memory_bytes=99)) == LimitReached("memory", 99, 100)


def test_the_first_limit_that_is_reached_stays_and_memory_comes_first(tree: Tree) -> None:
    tree.threads, tree.rss = {1: 1, 2: 1}, {1: 60, 2: 60}
    watch = LimitWatch(None)
    watch.check([1, 2], 5.0)
    assert (watch.next_due, watch.reached) == (None, None), "there is nothing to check without a limit"
    watch.set(Limit(processes=1, memory_bytes=10), 1.0)
    assert watch.next_due == pytest.approx(1.2)
    watch.check([1, 2], 1.2)
    assert watch.next_due == pytest.approx(1.4)
    assert watch.reached == LimitReached("memory", 10, 120)
    tree.rss = {1: 1000, 2: 1000}
    watch.check([1, 2], 9.0)
    assert watch.reached == LimitReached("memory", 10, 120)
    assert watch.next_due == pytest.approx(1.4)


def test_what_a_counter_shows_goes_before_a_measurement(tree: Tree, tmp_path: Path) -> None:
    tree.threads, tree.rss = {1: 1, 2: 1}, {1: 60, 2: 60}
    for name in ("pids.max", "memory.max", "memory.oom.group"):
        (tmp_path / name).write_text("")
    (tmp_path / "pids.events").write_text("max 1\n")
    (tmp_path / "memory.events").write_text("oom 1\noom_kill 1\n")
    watch = LimitWatch(AttemptCgroup(str(tmp_path)))
    watch.check_counters()
    assert watch.reached is None, "a counter without a limit means nothing"
    watch.set(Limit(processes=1, memory_bytes=10, controllers=["pids"]), 0.0)
    watch.check([1, 2], 0.2)
    assert watch.reached == LimitReached("processes", 1, None)
    watch.set(Limit(processes=1, memory_bytes=10, controllers=["memory", "pids"]), 0.0)
    watch.check_counters()
    assert watch.reached == LimitReached("processes", 1, None), "the first one stays"


@pytest.mark.parametrize(("controller", "kind"), [("memory", "memory"), ("pids", "processes")])
def test_a_limit_of_zero_is_named_as_it_was_given(tmp_path: Path, controller: str, kind: str) -> None:
    for name in ("pids.max", "memory.max", "memory.oom.group"):
        (tmp_path / name).write_text("")
    (tmp_path / "pids.events").write_text("max 1\n")
    (tmp_path / "memory.events").write_text("oom 1\noom_kill 1\n")
    watch = LimitWatch(AttemptCgroup(str(tmp_path)))
    watch.set(Limit(processes=0, memory_bytes=0, controllers=[controller]), 0.0)
    watch.check_counters()
    assert watch.reached is not None
    assert (watch.reached.kind, watch.reached.limit) == (kind, 0)


@pytest.mark.parametrize(("cpus", "text"), [(0.001, "1000 100000"), (0.02, "2000 100000"), (2.0, "200000 100000")])
def test_a_share_of_a_processor_has_a_least(tmp_path: Path, cpus: float, text: str) -> None:
    (tmp_path / "cpu.max").write_text("")
    LimitWatch(AttemptCgroup(str(tmp_path))).set(Limit(cpus=cpus, controllers=["cpu", "pids", "memory"]), 0.0)
    assert (tmp_path / "cpu.max").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["cpu.max"], "no other limit was asked for"


def test_a_kernel_without_swap_accounting_gets_the_other_limits(tmp_path: Path) -> None:
    for name in ("memory.max", "memory.oom.group"):
        (tmp_path / name).write_text("")
    LimitWatch(AttemptCgroup(str(tmp_path))).set(Limit(memory_bytes=5, controllers=["memory"]), 0.0)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"memory.max": "5", "memory.oom.group": "1"}
