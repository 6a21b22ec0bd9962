"""The negative controls: without containment, every sin survives a stop that looks reasonable."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.children import SINS
from tests.children.locked_files import COUNT, PREFIX
from tests.support.naive import NaiveJob
from tests.support.observer import Watched

BUDGET_S = 2.0
BURNING = {"busy_loop", "gil_holder", "fork_storm"}
CLEAN_UP_BOUND_S = 25.0
"""Longer than the sins' own lifetime."""


@contextlib.contextmanager
def naive_job(sin: str, folder: Path) -> Iterator[NaiveJob]:
    folder.mkdir()
    job = NaiveJob(sin, folder)
    try:
        yield job
    finally:
        assert job.clean_up(time.monotonic() + CLEAN_UP_BOUND_S), f"cannot clean up after {sin}"


def test_without_containment_every_sin_survives(short_dir: Path) -> None:
    # All start together, to wait for the budget only once. Those that use a whole core start last.
    jobs: dict[str, NaiveJob] = {}
    with contextlib.ExitStack() as stack:
        for sin in sorted(SINS, key=BURNING.__contains__):
            jobs[sin] = stack.enter_context(naive_job(sin, short_dir / sin))
            jobs[sin].wait_ready()
            jobs[sin].stop(SINS[sin])
        deadline = time.monotonic() + BUDGET_S
        gone = [f"{sin} after {SINS[sin]}" for sin, job in jobs.items() if job.beacon.wait_eof(deadline)]
        assert not gone


def test_stopped_children_wait_with_their_signal_pending(tmp_path: Path) -> None:
    with naive_job("stopped_child", tmp_path / "job") as job:
        job.wait_ready()
        job.stop(SINS[job.sin])
        job.root.wait(BUDGET_S)
        states = [psutil.Process(pid).status() for pid in job.beacon.holders()]
        assert states == [psutil.STATUS_STOPPED] * 2


def test_locks_stay_held_and_files_stay_there(tmp_path: Path) -> None:
    with naive_job("locked_files", tmp_path / "job") as job:
        job.wait_ready()
        job.stop(SINS[job.sin])
        job.root.wait(BUDGET_S)
        files = list(job.folder.glob(f"{PREFIX}*"))
        assert len(files) == COUNT
        assert not any(_can_lock(path) for path in files)


def test_the_observer_counts_a_zombie_as_not_gone(tmp_path: Path) -> None:
    with naive_job("time_sleep", tmp_path / "job") as job, Watched([job.root.pid]) as watched:
        job.wait_ready()
        job.root.kill()
        assert [handle.status() for handle in watched.wait_gone(time.monotonic() + 0.2)] == [psutil.STATUS_ZOMBIE]
        job.root.wait()
        assert watched.wait_gone(time.monotonic() + 0.2) == []


def _can_lock(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
