"""More clients than the server has room for: a job can still be stopped, and health checks still get a response."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from supervisor.api.guard.connections import bound_for
from tests.api.wire import RealServer
from tests.support.server import running_server

OPEN_FILES = 200
FEW_FILES = 160
MOST = bound_for(OPEN_FILES)


@contextmanager
def small_server(state_dir: Path, open_files: int = OPEN_FILES, warm: int = 1) -> Iterator[RealServer]:
    """A server that may open few files."""
    prefix = ["prlimit", f"--nofile={open_files}:{open_files}"]
    with running_server(state_dir, env={"NO_COLOR": "1", "DEADSTOP_WARM": str(warm)}, prefix=prefix) as running:
        yield RealServer(running.process, running.url, running.token, state_dir, running.stderr_path)


def events_named(server: RealServer, name: str) -> int:
    return server.log.read_text().count(f'"{name}"')


def test_when_all_connections_are_busy(tmp_path: Path) -> None:
    with small_server(tmp_path / "state", FEW_FILES, warm=2) as server, contextlib.ExitStack() as streams:
        job_id, *_ = [server.run("sleep 60") for _ in range(3)]
        for _ in range(bound_for(FEW_FILES)):
            assert streams.enter_context(server.stream("GET", "/events")).status == 200
        refused = server.ask("POST", "/jobs", {"task": "shell", "input": {"command": "true"}})
        assert (refused.status, refused.problem, refused.headers["connection"]) == (503, "not-ready", "close")
        assert int(refused.headers["retry-after"]) >= 1
        assert server.ask("GET", "/jobs").status == 503
        assert server.ask("GET", "/jobs", token=False).status == 401
        assert server.ask("GET", "/readyz").status == 200
        check = server.ask("GET", "/health").json["checks"]["connections"]
        assert (check["ok"], check["numbers"]["most"]) == (False, bound_for(FEW_FILES))
        assert server.ask("POST", f"/jobs/{job_id}/cancel?wait=5").json["state"] == "cancelled"
        streams.close()
        # The control: with room again everything is served, once the server has seen them leave.
        while (reply := server.ask("POST", "/jobs", {"task": "shell", "input": {"command": "true"}})).status == 503:
            continue
        assert reply.status == 202
        server.ended(reply.json["id"])
        assert "Traceback" not in server.log.read_text()


def test_idle_connections_give_way(tmp_path: Path) -> None:
    """Far more silent connections than there is room for: the newest connection is still served."""
    with small_server(tmp_path / "state") as server, contextlib.ExitStack() as idle:
        for _ in range(3 * MOST):
            idle.enter_context(server.connect())
        # Connections made a moment ago do not count as idle yet.
        while not server.ask("GET", "/health").json["checks"]["connections"]["ok"]:
            continue
        server.ended(server.run("true"))
        assert events_named(server, "accept_paused") == 0


def test_without_descriptors_accepting_pauses_and_a_cancel_comes_through(tmp_path: Path) -> None:
    with small_server(tmp_path / "state") as server, contextlib.ExitStack() as idle:
        job_id = server.run("sleep 60")
        with server.stream("GET", f"/jobs/{job_id}/events") as watching:
            watching.until("job.running")
            pid = server.process.pid
            for _ in range(20):
                idle.enter_context(server.connect())
            server.ask("GET", "/livez")
            taken = len(os.listdir(f"/proc/{pid}/fd"))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (taken, OPEN_FILES))
            try:
                for _ in range(30):
                    idle.enter_context(server.connect())
                reply = server.ask("POST", f"/jobs/{job_id}/cancel?wait=5")
                assert reply.json["state"] == "cancelled"
                assert reply.json["cancellation"]["within_budget"]
                assert not server.ask("GET", "/health").json["checks"]["connections"]["ok"]
                assert server.ask("GET", "/readyz").status == 503
            finally:
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
            watching.read_to_end()
        while not server.ask("GET", "/health").json["checks"]["connections"]["ok"]:
            continue
        while not events_named(server, "accept_resumed"):
            continue  # the log is written beside the event loop
        assert (events_named(server, "accept_paused"), events_named(server, "accept_resumed")) == (1, 1)
        assert "socket.accept()" not in server.log.read_text()
