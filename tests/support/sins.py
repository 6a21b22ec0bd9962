"""Run a misbehaving job ("sin") on a real server, close its stream, and observe from outside how it ends."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from tests.children import SINS
from tests.children.stage import READY
from tests.support.client import EventStream
from tests.support.levels import PROOFS
from tests.support.observer import Beacon, Watched, describe, parent_of, snapshot
from tests.support.server import ROOT, RunningServer

Mode = Literal["shell", "task"]
MODES: tuple[Mode, ...] = ("shell", "task")
CASES = [(sin, mode) for sin in SINS for mode in MODES]
TASKS_ENV = {"DEADSTOP_TASKS": "tests.children.tasks"}
"""The server's environment that makes the sins available as tasks."""
BUDGET_S = 2.0
IN_PLACE_BOUND_S = 15.0
GUARDIAN = "deadstop-guard"
SILENT = {"gil_holder"}
"""A sin that cannot print READY; its module says why."""


@dataclass(slots=True)
class CommittedSin:
    """A running sin, seen from outside: its stream, its beacon, and handles on its guardian and all descendants."""

    job_id: str
    runner_pid: int
    server: RunningServer
    stream: EventStream
    beacon: Beacon
    tree: Watched

    @property
    def workspace(self) -> Path:
        return self.server.state_dir / "workspaces" / self.job_id


def request(sin: str, mode: Mode, fifo: Path, job_id: str) -> dict[str, Any]:
    """The body that creates the job."""
    if mode == "task":
        return {"id": job_id, "task": sin, "input": {"beacon": str(fifo)}}
    command = shlex.join([sys.executable, "-P", "-m", "tests.children", sin, "--beacon", str(fifo)])
    return {"id": job_id, "task": "shell", "input": {"command": command, "env": {"PYTHONPATH": str(ROOT)}}}


def guardian_of(runner_pid: int) -> int:
    """Return the PID of the runner's parent, or of the parent of the init between them."""
    pid = parent_of(runner_pid)
    while psutil.Process(pid).name() != GUARDIAN:
        pid = parent_of(pid)
    return pid


@contextmanager
def committed(server: RunningServer, sin: str, mode: Mode, job_id: str) -> Iterator[CommittedSin]:
    """Start the job through POST /execute/stream and wait until the sin is being committed.

    At the end of the block, whatever still holds the beacon is killed.
    """
    fifo = server.state_dir.parent / f"{job_id}.fifo"
    with Beacon(fifo) as beacon:
        try:
            with server.stream(request(sin, mode, fifo, job_id)) as stream:
                assert stream.status == 200, stream.body()
                runner = stream.until_type("job.running").data["pid"]
                if sin not in SILENT:
                    stream.until_output(READY, IN_PLACE_BOUND_S)
                assert beacon.wait_in_place(IN_PLACE_BOUND_S), f"{sin} is not in place"
                with snapshot(guardian_of(runner)) as tree:
                    yield CommittedSin(job_id, runner, server, stream, beacon, tree)
        finally:
            beacon.kill_holders(time.monotonic() + 5)


def assert_gone_within_budget(sin: CommittedSin, hung_up: float) -> float:
    """Every process that was seen is gone and so is every holder of the beacon. When, in seconds after `hung_up`."""
    deadline = hung_up + BUDGET_S
    left = sin.tree.wait_gone(deadline)
    assert not left, f"left after {BUDGET_S} s: {describe(left)}"
    assert sin.beacon.wait_eof(deadline), f"holders of the beacon after {BUDGET_S} s: {sin.beacon.holders()}"
    return time.monotonic() - hung_up


def assert_proven(job: dict[str, Any]) -> None:
    """Check that the API reports the end, with the proof that the job's level of containment gives."""
    assert job["state"] == "cancelled", job
    cancellation = job["cancellation"]
    expected = {
        "reason": "client_disconnected",
        "proof": PROOFS[job["containment"]],
        "within_budget": True,
        "survivors": [],
        "workspace_removed": True,
    }
    assert {name: cancellation[name] for name in expected} == expected, cancellation
    assert cancellation["gone_ms"] <= BUDGET_S * 1000, cancellation


def hang_up_and_check(server: RunningServer, sin: str, mode: Mode, job_id: str) -> str:
    """Run one sin from start to proof. Return a line about how it went."""
    with committed(server, sin, mode, job_id) as job:
        assert job.workspace.is_dir()
        hung_up = job.stream.hang_up()
        gone_s = assert_gone_within_budget(job, hung_up)
        record = server.wait_finished(job_id)
        assert_proven(record)
        assert not job.workspace.exists()
        method = record["cancellation"]["method"]
        return (
            f"{sin:22} {mode:6} gone after {gone_s * 1000:5.0f} ms  {method:12} {len(job.tree.handles)} processes seen"
        )
