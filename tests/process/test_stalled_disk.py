"""A hanging disk of STATE_DIR delays no cancel, and operations that waited for it are done when it responds again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.node.cleanup.attempt_records import AttemptRecords
from supervisor.node.storage.published_files import Files
from supervisor.node.storage.trash import Trash
from tests.support import core
from tests.support.attempts import guardian_pid

BUDGET_S = 2.0
DEAF = "trap '' TERM HUP; echo UP; while :; do sleep 0.05; done"
STALLED = {
    "the rename into the trash": (Trash, "_move"),
    "the rename of out/": (Files, "publish"),
    "the record of an attempt": (AttemptRecords, "_remove"),
}


@contextmanager
def stalled(monkeypatch: pytest.MonkeyPatch, place: str) -> Iterator[None]:
    """One operation on files blocks, in whichever thread it is called, until the end of the block."""
    owner, name = STALLED[place]
    go_on, original = threading.Event(), getattr(owner, name)

    def blocked(*args: object) -> object:
        assert go_on.wait(60)
        return original(*args)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, blocked)
        try:
            yield
        finally:
            go_on.set()


def check_cancelled(record: LiveJob, workspaces: Path, *, stays: bool) -> None:
    """In time, and its workspace is reported as removed if it is."""
    cancellation = record.job.cancellation
    assert record.job.state is State.CANCELLED
    assert cancellation is not None
    assert cancellation.within_budget
    assert cancellation.workspace_removed is (not stays)
    assert (workspaces / record.job.id).exists() is stays


@pytest.mark.parametrize("place", list(STALLED))
def test_cancels_and_ends_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    async def body() -> None:
        async with core.running(tmp_path) as supervisor:
            jobs = [
                core.submit(supervisor, "shell", command=command, terminal=False)
                for command in (DEAF, DEAF, "echo kept > out/x; echo UP; while [ ! -e go ]; do sleep 0.05; done", DEAF)
            ]
            for job in jobs:
                await core.says(job, "UP")
            with stalled(monkeypatch, place):
                (tmp_path / "workspaces" / jobs[2].job.id / "go").touch()
                await core.ended(jobs[2])
                assert jobs[2].job.state is State.SUCCEEDED
                for job in (jobs[0], jobs[1]):
                    core.cancel(supervisor, job)
                asked = time.monotonic()
                for job in (jobs[0], jobs[1]):
                    await core.ended(job)
                assert time.monotonic() - asked < BUDGET_S + 0.5
                for job in (jobs[0], jobs[1]):
                    check_cancelled(job, tmp_path / "workspaces", stays=place == "the rename into the trash")
                await core.until(lambda: not supervisor.checks()["store"].ok)
                assert "STATE_DIR" in supervisor.checks()["store"].detail
                said = [event["message"] for event in core.events(jobs[2]) if event["type"] == "job.log"]
                assert any("does not answer" in message for message in said) is (place != "the record of an attempt")
            await core.until(lambda: supervisor.checks()["store"].ok)
            await core.until(lambda: not (tmp_path / "workspaces" / jobs[0].job.id).exists())
            await core.until((tmp_path / "files" / jobs[2].job.id / "x").exists)
            core.cancel(supervisor, jobs[3])
            await core.ended(jobs[3])
            assert jobs[3].job.cancellation is not None
            assert jobs[3].job.cancellation.workspace_removed
        assert list((tmp_path / "attempts").iterdir()) == []

    core.scenario(body)


def test_a_cancel_during_the_wait_for_the_disk_is_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with core.running(tmp_path) as supervisor:
            command = "echo UP; while [ ! -e go ]; do sleep 0.05; done; kill -9 $PPID"
            job = core.submit(supervisor, "shell", command=command, terminal=False)
            await core.says(job, "UP")
            with stalled(monkeypatch, "the rename into the trash"):
                (tmp_path / "workspaces" / job.job.id / "go").touch()
                await core.until(lambda: not guardian_pid(job) and job.job.state is State.RUNNING)
                core.cancel(supervisor, job)
                await core.ended(job)
                cancellation = job.job.cancellation
                assert cancellation is not None
                assert (cancellation.gone_ms, cancellation.within_budget) == (0.0, True)
                assert cancellation.workspace_removed is False

    core.scenario(body)
