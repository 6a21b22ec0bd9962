"""SIGTERM to every process of the server at once, as service managers send it: jobs are cancelled, not failed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from supervisor.guardian.proc import descendants
from tests.api.raw_stream import PATIENCE_S
from tests.api.wire import RealServer, real_server

COMMANDS: list[dict[str, Any]] = [
    {"command": "echo up; exec sleep 60"},
    {"command": "echo up; sleep 60; exit $?"},
    {"command": "echo up; exec sleep 60", "terminal": False},
    {"command": "echo up; exec sleep 60", "stdin": "open"},
    {"argv": ["bash", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"]},
]
ROUNDS = 2


def start(server: RealServer) -> list[str]:
    ids = []
    for number in range(ROUNDS):
        for place, given in enumerate(COMMANDS):
            job_id = f"job-{number}-{place}"
            assert server.ask("POST", "/jobs", {"id": job_id, "task": "shell", "input": given}).status == 202
            ids.append(job_id)
    for job_id in ids:
        with server.stream("GET", f"/jobs/{job_id}/events") as stream:
            stream.until('"text": "up')
    return ids


ORDERS: dict[str, Callable[[list[int]], list[int]]] = {
    "server first": lambda pids: pids,
    "server last": lambda pids: [*pids[1:], pids[0]],
    "leaves first": lambda pids: pids[::-1],
}


@pytest.mark.parametrize("order", ORDERS)
def test_the_jobs_are_cancelled_whichever_process_is_signalled_first(tmp_path: Path, order: str) -> None:
    with real_server(tmp_path / "state") as server:
        ids = start(server)
        pids = [server.process.pid, *descendants(server.process.pid)]
        for pid in ORDERS[order](pids):
            with suppress(ProcessLookupError):  # it has ended because of those before it
                os.kill(pid, signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 0
    with real_server(tmp_path / "state") as server:
        jobs = [server.ask("GET", f"/jobs/{job_id}").json for job_id in ids]
    ends = [(job["state"], (job["cancellation"] or {}).get("reason"), job["error"]) for job in jobs]
    assert ends == [("cancelled", "shutdown", None)] * len(ids)


def test_the_control_a_job_that_alone_is_signalled_has_failed(tmp_path: Path) -> None:
    with real_server(tmp_path / "state") as server:
        for number, command in enumerate(("kill -TERM $$", "kill -TERM $PPID; sleep 60", "exit 143")):
            given = {"id": f"job-{number}", "task": "shell", "input": {"command": command}}
            server.ask("POST", "/jobs", given)
            with server.stream("GET", f"/jobs/job-{number}/events") as stream:
                stream.until("job.failed")
            job = server.ask("GET", f"/jobs/job-{number}").json
            assert (job["state"], job["cancellation"]) == ("failed", None)
            assert (job["error"]["signal"], job["error"]["exit_code"]) in (("SIGTERM", None), (None, 143))
