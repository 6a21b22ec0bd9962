"""A real server at its limit of processes: a fork storm reaches the limit, and every stop still works."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.guardian.proc import descendants
from tests.children.stage import python
from tests.support.levels import DEFAULT_PROOF
from tests.support.server import RunningServer, running_server

ROOM = 40
"""How many processes and threads there may be besides those of the server and its jobs at that time."""
PIDS = Path("/sys/fs/cgroup/pids")
"""The controller of version 1: it can limit a server without touching the cgroups of version 2 that the server uses."""
STORM = """
import os, signal, time
signal.alarm(20)
full, end = False, time.monotonic() + 15
while time.monotonic() < end:
    try:
        if os.fork() == 0:
            os.setsid()
            signal.alarm(20)
            time.sleep(20)
            os._exit(0)
    except OSError:
        if not full:
            full = print("FULL", flush=True) is None
        time.sleep(0.001)
"""
"""Bounded by the limit, and by an alarm in each of its processes. It signals no other process."""


class Limited:
    """A cgroup for one server and all of its descendants."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def hold(self, server: RunningServer) -> None:
        for pid in [server.pid, *descendants(server.pid)]:
            (self._folder / "cgroup.procs").write_text(str(pid))
        now = int((self._folder / "pids.current").read_text())
        (self._folder / "pids.max").write_text(str(now + ROOM))

    @property
    def refusals(self) -> int:
        return int((self._folder / "pids.events").read_text().split()[1])


@pytest.fixture
def limited() -> Iterator[Limited]:
    folder = PIDS / f"deadstop-test-{os.getpid()}"
    if not (PIDS / "cgroup.procs").exists() or not os.access(PIDS, os.W_OK):
        pytest.skip("no controller pids of version 1 that this user may use")
    folder.mkdir()
    try:
        yield Limited(folder)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Once the server's forkserver and tracker, which come to the test run when it ends, are reaped."""
    deadline = time.monotonic() + 5
    while True:
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
        else:
            return
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(pid), os.WNOHANG)
        time.sleep(0.01)


def begun(server: RunningServer, stack: contextlib.ExitStack, argv: list[str], text: str) -> str:
    """Start a job, and wait until it has written `text`."""
    body = {"task": "shell", "input": {"argv": argv, "terminal": False}, "on_disconnect": "continue"}
    stream = stack.enter_context(server.stream(body))
    stream.until_output(text)
    return str(stream.events[0].data["job_id"])


def is_proven(job: dict[str, object]) -> bool:
    told = job["cancellation"]
    assert isinstance(told, dict)
    return (job["state"], told["proof"], told["within_budget"]) == ("cancelled", DEFAULT_PROOF, True)


def test_cancels_at_a_limit_of_processes(short_dir: Path, limited: Limited) -> None:
    waits = ["/bin/sh", "-c", "echo READY; exec sleep 60"]
    with running_server(short_dir / "full") as server, contextlib.ExitStack() as stack:
        asked, forced, innocent = (begun(server, stack, waits, "READY") for _ in range(3))
        limited.hold(server)
        storm = begun(server, stack, python("-c", STORM), "FULL")
        for job_id, body in ((asked, {}), (forced, {"force": True})):
            answer = server.http.post(f"/jobs/{job_id}/cancel?wait=5", json=body)
            assert (answer.status_code, is_proven(answer.json())) == (200, True), answer.text
        full = limited.refusals
        assert full > 0
        answer = server.http.post(f"/jobs/{storm}/cancel?wait=5")
        assert (answer.status_code, is_proven(answer.json())) == (200, True), answer.text
        assert server.job(innocent)["state"] == "running"
        with server.stream({"task": "shell", "input": {"command": "true"}}) as stream:
            *_, last = stream.rest(15)
        assert last.type == "job.succeeded"
        assert server.http.post(f"/jobs/{innocent}/cancel?wait=5").json()["state"] == "cancelled"
        assert "Traceback" not in server.stderr
