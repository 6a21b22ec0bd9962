"""`deadstop top` on a real terminal, against a real server: find what hangs, see its line, end it, by keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import environment, on_terminal, started
from tests.support.server import RunningServer, running_server

SETTINGS = {"DEADSTOP_TASKS": "tests.children.hung", "DEADSTOP_STUCK_NO_EVENT_S": "0.5"}


@pytest.fixture(scope="module")
def server(short_dir: Path) -> Iterator[RunningServer]:
    with running_server(short_dir / "top", env=SETTINGS) as running:
        yield running


def submit(server: RunningServer, task: str, **settings: object) -> str:
    answer = server.http.post("/jobs", json={"task": task, "input": {}} | settings)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_a_hanging_job_is_found_and_ended_by_keys(server: RunningServer) -> None:
    env = environment(server.state_dir, DEADSTOP_URL=server.url)
    job_id = submit(server, "deadlock")
    stopped = submit(server, "stopped_child")
    with on_terminal("top", env=env) as terminal:
        terminal.read_until(f"deadlock {job_id}: ")
        terminal.read_until(f"stopped_child {stopped}: ")
        terminal.process.write(b"j")
        terminal.process.write(b"s")
        terminal.read_until("in deadlock")
        terminal.process.write(b"c")
        terminal.read_until("cancels in the last hour 1")
        assert server.wait_finished(job_id)["state"] == "cancelled"
        terminal.process.write(b"t")
        terminal.read_until("stopped")
        terminal.process.write(b"f")
        job = server.wait_finished(stopped)
        assert (job["state"], job["cancellation"]["force"]) == ("cancelled", True)
        terminal.read_until("no jobs are running")
        terminal.process.write(b"q")
        assert terminal.read_to_end() == 0


def test_in_a_pipe_it_is_shown_once(server: RunningServer) -> None:
    job_id = submit(server, "shell", input={"command": "sleep 60"}, stuck_no_event_s=0)
    with started("top", env=environment(server.state_dir, DEADSTOP_URL=server.url, COLUMNS="100")) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert job_id in out
    assert "\x1b" not in out
    server.http.post(f"/jobs/{job_id}/cancel?wait=5")
