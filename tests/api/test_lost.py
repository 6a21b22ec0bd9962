"""A job whose server was killed is lost, and its record says what is known of the end of its processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.api.raw_stream import PATIENCE_S
from tests.api.wire import real_server
from tests.support.observer import Watched

DAEMONS = "setsid sleep 60 & (setsid sleep 60 &); trap '' TERM; echo up; sleep 60; sleep 60"


@pytest.mark.parametrize("level", ["subreaper", "cgroup", "pidns"])
def test_the_guardian_says_when_everything_was_gone_and_how_it_knows(tmp_path: Path, level: str) -> None:
    state = tmp_path / "state"
    with real_server(state, CONTAINMENT=level) as server:
        server.run(DAEMONS, id="job")
        with server.stream("GET", "/jobs/job/events") as stream:
            stream.until('"text": "up')
        pids = [row["pid"] for row in server.ask("GET", "/jobs/job/processes").json["processes"]]
        with Watched(pids) as watched:
            server.process.kill()
            server.process.wait(PATIENCE_S)
            assert watched.wait_gone(time.monotonic() + 2.0) == []
    with real_server(state) as server:
        job = server.job("job")
        assert (job["state"], job["error"]["kind"], job["cancellation"]) == ("lost", "lost", None)
        assert job["error"]["proof"] == {"subreaper": "echild", "cgroup": "cgroup_empty", "pidns": "pidns_gone"}[level]
        last = server.ask("GET", "/jobs/job/events?follow=false").json["events"][-1]
        assert (last["type"], last["error"]) == ("job.lost", job["error"])
        assert job["started_at"] < job["finished_at"] < last["at"]
        assert [path.suffix for path in (state / "attempts").iterdir()] == [".json"]  # the new server's own


def test_the_error_says_that_the_next_server_ended_the_processes(tmp_path: Path) -> None:
    """The guardian dies together with the server. The next server finds the processes that have left the tree."""
    state = tmp_path / "state"
    with real_server(state, CONTAINMENT="subreaper") as server:
        server.run(DAEMONS, id="job")
        with server.stream("GET", "/jobs/job/events") as stream:
            stream.until('"text": "up')
        rows = server.ask("GET", "/jobs/job/processes").json["processes"]
        (runner,) = [row for row in rows if row["name"] == "deadstop-runner"]
        with Watched([runner["ppid"], *(row["pid"] for row in rows if row["name"] == "sleep")]) as watched:
            guardian = watched.handles[0]
            os.kill(server.process.pid, signal.SIGSTOP)
            guardian.kill()
            server.process.kill()
            server.process.wait(PATIENCE_S)
            with real_server(state, CONTAINMENT="subreaper") as after:
                job = after.job("job")
            assert watched.wait_gone(time.monotonic() + 2.0) == []
    assert (job["state"], job["error"]["kind"], job["error"]["proof"]) == ("lost", "lost", None)
    assert "the next server found" in job["error"]["message"]
    assert job["finished_at"] is not None
