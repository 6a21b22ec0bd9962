"""Resources that a job holds are released however it ends: each resource is tested with each end.

The ordinary run has, for each end, one job that holds every resource that is acquired quickly. The suite has every cell
of the table in docs/resources.md and prints its figures.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.children.holding import HOLDERS, LIGHT, TERMINALS
from tests.support.client import EventStream
from tests.support.held import SweepTarget, files_below
from tests.support.observer import Beacon, Handle, Watched, describe, parent_of, snapshot
from tests.support.server import ROOT, RunningServer, running_server

BUDGET_S = 2.0
HELD_BOUND_S = 15.0
TRASH_BOUND_S = 5.0
TIMEOUT_S = 3.0
BROWSER_TIMEOUT_S = 8.0
"""Both are much longer than the job needs to acquire everything."""
ENV = {"DEADSTOP_TASKS": "tests.children.holding"}
ENDS = {
    "success": "succeeded",
    "failure": "failed",
    "cancel": "cancelled",
    "timeout": "timed_out",
    "force": "cancelled",
    "runner killed": "failed",
    "server killed": "lost",
}
"""How a job ends → the state that it is then in."""
THEN = {"success": "return", "failure": "raise"}
PUBLISHED = {"success": {"files/{id}", "files/{id}/result.txt"}}


@dataclass(slots=True)
class HoldingJob:
    """A job that holds the requested resources, seen from outside."""

    id: str
    server: RunningServer
    stream: EventStream
    runner: Handle
    tree: Watched
    beacon: Beacon
    held: SweepTarget
    shared: Path


@contextmanager
def holding(server: RunningServer, what: list[str], end: str, shared: Path) -> Iterator[HoldingJob]:
    """Start the job and wait until it holds everything."""
    values = {"what": what, "shared": str(shared), "beacon": str(shared / "beacon"), "then": THEN.get(end, "wait")}
    body: dict[str, Any] = {"task": "hold", "input": values, "on_disconnect": "continue"}
    if end == "timeout":
        body["timeout_s"] = BROWSER_TIMEOUT_S if "browser" in what else TIMEOUT_S
    with Beacon(shared / "beacon") as beacon, server.stream(body) as stream:
        try:
            assert stream.status == 200, stream.body()
            running = stream.until_type("job.running", HELD_BOUND_S)
            told = stream.until(lambda event: event.data.get("message") == "HELD", HELD_BOUND_S)
            held = SweepTarget(told.data["fields"])
            # The control: everything that is looked for afterwards exists now and is found.
            assert len(held.there()) == len(held) > 0
            assert beacon.wait_in_place(HELD_BOUND_S)
            pid = running.data["pid"]
            with snapshot(server.pid if end == "server killed" else parent_of(pid)) as tree:
                runner = next(handle for handle in tree.handles if handle.pid == pid)
                yield HoldingJob(running.data["job_id"], server, stream, runner, tree, beacon, held, shared)
        finally:
            beacon.kill_holders(time.monotonic() + 5)


def bring_about(job: HoldingJob, end: str) -> float:
    """End the job in this way. Return the time in monotonic seconds."""
    began = time.monotonic()
    match end:
        case "success" | "failure":
            (job.shared / "go").touch()
        case "cancel" | "force":
            job.server.http.post(f"/jobs/{job.id}/cancel", json={"force": end == "force"})
        case "timeout":
            job.stream.until_type("cancel.requested", BROWSER_TIMEOUT_S + BUDGET_S)
            began = time.monotonic()
        case "runner killed":
            job.runner.kill()
        case "server killed":
            job.server.kill()
        case _:
            raise AssertionError(f"there is no end {end!r}")
    return began


def assert_nothing_is_left(job: HoldingJob, began: float) -> float:
    """Check that the tree, the holders of the beacon and the resources are gone. Return after how many seconds."""
    deadline = began + BUDGET_S
    left = job.tree.wait_gone(deadline)
    assert not left, f"left after {BUDGET_S} s: {describe(left)}"
    assert job.beacon.wait_eof(deadline), f"holders of the beacon: {job.beacon.holders()}"
    things = job.held.wait_gone(deadline)
    assert not things, f"left after {BUDGET_S} s: {things}"
    return time.monotonic() - began


def assert_no_file_is_left(server: RunningServer, before: set[str], expected: set[str]) -> None:
    """Search the whole state folder, including the trash, which is emptied in the background."""
    deadline = time.monotonic() + TRASH_BOUND_S
    while (new := files_below(server.state_dir) - before) != expected and time.monotonic() < deadline:
        time.sleep(0.005)
    assert new == expected


def end_and_check(server: RunningServer, what: list[str], end: str, shared: Path) -> float:
    """Run one job to an end that the server survives. Return how long it took from the cause, in seconds."""
    before = files_below(server.state_dir)
    with holding(server, what, end, shared) as job:
        took_s = assert_nothing_is_left(job, bring_about(job, end))
        record = server.wait_finished(job.id)
        assert record["state"] == ENDS[end], record
        # Everything that was acquired was released by the job, or removed after it.
        assert record["resources"]
        assert all(entry["released_at"] or entry["removed_at"] for entry in record["resources"]), record["resources"]
        if end == "force":
            assert record["cancellation"]["method"] == "sigkill"
        half = {"files/{id}/half.txt"} if "file" in what and end == "success" else set()
        published = {name.format(id=job.id) for name in PUBLISHED.get(end, set()) | half}
        assert_no_file_is_left(server, before, published)
        return took_s


def kill_server_and_check(folder: Path, what: list[str], shared: Path) -> float:
    """After the server is killed, no process is left, and no file once the next server has started."""
    with running_server(folder, env=ENV) as server, holding(server, what, "server killed", shared) as job:
        job.held.forget_files()  # those in the workspace wait for the next server
        took_s = assert_nothing_is_left(job, bring_about(job, "server killed"))
    with running_server(folder, env=ENV) as server:
        deadline = time.monotonic() + TRASH_BOUND_S
        while (left := jobs_files(folder)) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert not left
        assert server.job(job.id)["state"] == ENDS["server killed"]
    return took_s


def jobs_files(folder: Path) -> set[str]:
    return {name for place in ("workspaces", "trash", "files") for name in files_below(folder / place)}


@pytest.fixture(scope="module")
def server(short_dir: Path) -> Iterator[RunningServer]:
    with running_server(short_dir / "held", env=ENV) as running:
        yield running


def check(server: RunningServer, what: list[str], end: str, shared: Path) -> float:
    if end == "server killed":
        return kill_server_and_check(shared / "state", what, shared)
    return end_and_check(server, what, end, shared)


@pytest.mark.parametrize("end", ENDS)
def test_a_job_that_holds_everything_leaves_nothing(server: RunningServer, end: str, tmp_path: Path) -> None:
    check(server, LIGHT, end, tmp_path)


@contextmanager
def holding_without_a_server(shared: Path) -> Iterator[tuple[subprocess.Popen[bytes], Watched, Beacon, SweepTarget]]:
    """The same task as a plain process in a session of its own. At the end everything is cleaned up."""
    ours, theirs = socket.socketpair()
    with Beacon(shared / "beacon") as beacon, ours, ours.makefile("rb") as channel:
        with theirs:
            root = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.children.holding", str(theirs.fileno()), str(shared)],
                cwd=shared,
                env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(shared), "XDG_RUNTIME_DIR": str(shared)},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        ours.settimeout(HELD_BOUND_S)
        try:
            told = next(frame for frame in map(json.loads, channel) if frame.get("message") == "HELD")
            held = SweepTarget(told["fields"])
            assert len(held.there()) == len(held)
            with snapshot(root.pid) as tree:
                try:
                    yield root, tree, beacon, held
                finally:
                    tree.kill()
                    root.wait()
                    tree.wait_gone(time.monotonic() + 5)
                    held.unlink_shared_memory()
        finally:
            root.kill()
            root.wait()


def test_control_without_containment_most_of_it_stays(tmp_path: Path) -> None:
    with holding_without_a_server(tmp_path) as (root, tree, beacon, held):
        os.killpg(root.pid, signal.SIGKILL)
        root.wait()
        assert not beacon.wait_eof(time.monotonic() + 0.5)
        left = held.there()
        assert len([handle for handle in tree.left() if handle.name == "sleep"]) == TERMINALS + 1
        for kind in ("file", "lock", "port", "socket", "file /dev/shm/psm_", "file /dev/shm/sem."):
            assert any(line.startswith(kind) for line in left), (kind, left)


@pytest.mark.suite
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("what", HOLDERS)
def test_each_resource_by_each_end(server: RunningServer, what: str, end: str, tmp_path: Path) -> None:
    took_s = check(server, [what], end, tmp_path)
    print(f"{what:10} {end:14} gone after {took_s * 1000:5.0f} ms")
