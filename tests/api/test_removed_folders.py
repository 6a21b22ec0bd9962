"""Folders of STATE_DIR that are removed or replaced under a running server are created again or reported."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.raw_stream import PATIENCE_S
from tests.api.wire import RealServer, real_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    state = tmp_path_factory.mktemp("removed") / "state"
    with real_server(state) as running:
        yield running


def runs(server: RealServer, job_id: str, then: str = "sleep 60") -> None:
    server.run(f"echo kept > out/x; echo UP; {then}", id=job_id)
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until("UP")


def ready(server: RealServer, status: int, says: str = "") -> None:
    """Wait until readyz answers with this status and this text."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := server.ask("GET", "/readyz?verbose")).status != status or says not in str(answer.json):
        assert time.monotonic() < deadline, answer


def state_of(server: RealServer) -> Path:
    return server.state_dir


def works(server: RealServer, job_id: str) -> None:
    job = server.ended(server.run("echo kept > out/x", id=job_id))
    assert job["state"] == "succeeded", job
    assert server.ask("GET", f"/jobs/{job_id}/files").json["files"][0]["path"] == "x"
    assert not (state_of(server) / "workspaces" / job_id).exists()


@pytest.mark.parametrize("name", ["trash", "workspaces", "files", "attempts"])
def test_what_is_removed_is_made_again(server: RealServer, name: str) -> None:
    runs(server, f"removed-{name}")
    shutil.rmtree(state_of(server) / name)
    job = server.ask("POST", f"/jobs/removed-{name}/cancel?wait=10").json
    assert job["state"] == "cancelled"
    assert job["cancellation"]["workspace_removed"] is True
    assert not (state_of(server) / "workspaces" / f"removed-{name}").exists()
    works(server, f"after-{name}")
    ready(server, 200)


def check_files_are_missed(server: RealServer, job_id: str) -> None:
    events = server.ask("GET", f"/jobs/{job_id}/events?follow=false").json["events"]
    said = [event["message"] for event in events if event["type"] == "job.log"]
    assert any("cannot keep the files" in message and "not a folder" in message for message in said), said
    for path in (f"/jobs/{job_id}/files", f"/jobs/{job_id}/files/x"):
        answer = server.ask("GET", path)
        assert answer.status in (404, 503), answer
    assert server.ask("GET", f"/jobs/{job_id}/files").json["detail"].endswith("STATE_DIR/files: Not a directory")


@pytest.mark.parametrize("name", ["trash", "workspaces", "files", "attempts"])
def test_what_cannot_be_made_again_is_named_until_it_is_right(server: RealServer, name: str) -> None:
    place, moved = state_of(server) / name, state_of(server) / f"{name}-moved"
    for number in range(2):
        runs(server, f"spoiled-{name}-{number}")
    runs(server, f"ends-{name}", then="while [ ! -e go ]; do sleep 0.05; done")
    workspaces = moved if name == "workspaces" else state_of(server) / "workspaces"
    place.rename(moved)
    place.touch()
    try:
        job = server.ask("POST", f"/jobs/spoiled-{name}-0/cancel?wait=10").json
        assert job["state"] == "cancelled"
        here = (workspaces / f"spoiled-{name}-0").exists()
        assert job["cancellation"]["workspace_removed"] is (not here)
        assert here is (name == "trash")
        (workspaces / f"ends-{name}" / "go").touch()
        ended = server.ended(f"ends-{name}")
        assert ended["state"] == "succeeded"
        if name == "files":
            check_files_are_missed(server, f"ends-{name}")
        ready(server, 503, f"STATE_DIR/{name}")
        refused = server.ended(server.run("true", id=f"new-{name}"))
        if name == "workspaces":
            assert refused["error"]["kind"] == "store"
            assert "STATE_DIR/workspaces" in refused["error"]["message"]
        else:
            assert refused["state"] == "succeeded"
    finally:
        place.unlink()
        moved.rename(place)
    ready(server, 200)
    deadline = time.monotonic() + PATIENCE_S
    while (state_of(server) / "workspaces" / f"spoiled-{name}-0").exists():
        assert time.monotonic() < deadline
    server.ask("POST", f"/jobs/spoiled-{name}-1/cancel?wait=10")
    works(server, f"healed-{name}")


def test_a_workspace_that_cannot_be_made_is_why_the_job_failed(server: RealServer) -> None:
    (state_of(server) / "workspaces" / "taken").touch()
    job = server.ended(server.run("true", id="taken"))
    assert job["state"] == "failed"
    assert job["error"]["kind"] == "store"
    assert "File exists" in job["error"]["message"], job


def test_a_journal_that_was_removed_is_named(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with real_server(state) as server:
        runs(server, "old")
        for path in state.glob("journal.sqlite3*"):
            path.unlink()
        ready(server, 503, "journal")
        refused = server.ask("POST", "/jobs", {"task": "shell", "input": {"command": "true"}})
        assert (refused.status, refused.problem) == (507, "storage-full")
        assert "start the server again" in refused.json["detail"]
        job = server.ask("POST", "/jobs/old/cancel?wait=10").json
        assert (job["state"], job["cancellation"]["within_budget"]) == ("cancelled", True)
        log = server.log.read_text()
    assert "Traceback" not in log
    assert log.count("journal_cannot_write") < 5


def test_a_state_dir_that_was_moved_is_named_and_comes_back(tmp_path: Path) -> None:
    state, moved = tmp_path / "state", tmp_path / "moved"
    with real_server(state) as server:
        runs(server, "old")
        state.rename(moved)
        ready(server, 503, "STATE_DIR/workspaces")
        job = server.ask("POST", "/jobs/old/cancel?wait=10").json
        assert job["state"] == "cancelled"
        assert job["cancellation"]["workspace_removed"] is False
        assert (moved / "workspaces" / "old").exists()
        moved.rename(state)
        ready(server, 200)
        deadline = time.monotonic() + PATIENCE_S
        while (state / "workspaces" / "old").exists():
            assert time.monotonic() < deadline
        assert server.ended(server.run("true"))["state"] == "succeeded"
        assert "Traceback" not in server.log.read_text()
