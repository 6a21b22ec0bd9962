"""The real server, started as a user starts it: a process of its own, found through its state folder."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.support.client import EventStream
from tests.support.levels import leaves, remember_tree

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 15.0
STOP_BOUND_S = 10.0

used: set[Path] = set()
"""The STATE_DIR of every server of this test run."""
live: list[RunningServer] = []
"""Every server of this test run that has not been stopped, for reports and leak checks."""


def server_environment(home: Path, **more: str) -> dict[str, str]:
    """Return this environment without Deadstop's settings, with `tests` importable and user folders below `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEADSTOP_")}
    folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "STATE", "DATA", "CACHE")}
    return {**kept, **folders, "PYTHONPATH": str(ROOT), **more}


def serve_command(state_dir: Path, *flags: str) -> list[str]:
    return [sys.executable, "-P", "-m", "supervisor", "serve", "--port", "0", "--state-dir", str(state_dir), *flags]


class RunningServer:
    """One server that is ready. `process` is its Popen; `stderr` grows while it runs.

    `prefix` is a command that becomes the server, as `env` or `strace -D` do; of one that starts it in a pid namespace
    `pid_inside` is the process id that the server has inside.
    """

    def __init__(
        self,
        state_dir: Path,
        *flags: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        prefix: Sequence[str] = (),
        pid_inside: int | None = None,
    ) -> None:
        self.state_dir = state_dir
        self._pid_inside = pid_inside
        used.add(state_dir)
        self.stderr_path = state_dir.with_name(state_dir.name + ".stderr")
        home = state_dir.with_name(state_dir.name + ".home")
        state_dir.parent.mkdir(parents=True, exist_ok=True)
        with self.stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*prefix, *serve_command(state_dir, *flags)],
                env=server_environment(home, **(env or {})),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )
        self.pidfd = os.pidfd_open(self.process.pid)
        self._held = contextlib.ExitStack()
        self._held.callback(os.close, self.pidfd)
        live.append(self)
        try:
            self.url = self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        remember_tree(state_dir)
        given = (env or {}).get("DEADSTOP_TOKEN")
        self.token = given or (self.state_dir / "token").read_text(encoding="ascii").strip()
        self.http = self._held.enter_context(self._client())

    def _client(self) -> httpx.Client:
        """Without idle connections: of a server that several tests share, they would look like a test's leak."""
        headers = {"Authorization": f"Bearer {self.token}"}
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(base_url=self.url, headers=headers, timeout=10, limits=limits)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stderr(self) -> str:
        return self.stderr_path.read_text(encoding="utf-8", errors="replace")

    def _wait_until_ready(self) -> str:
        # server.json has no event that one could wait for without a library; a dying server ends the wait at once.
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                written = json.loads((self.state_dir / "server.json").read_text(encoding="utf-8"))
                if written["pid"] == (self._pid_inside or self.pid):
                    return str(written["url"])
            if self.has_ended(0.005):
                raise AssertionError(f"the server ended with {self.process.wait()}:\n{self.stderr}")
        raise AssertionError(f"the server was not ready within {START_TIMEOUT_S} s:\n{self.stderr}")

    def has_ended(self, bound_s: float) -> bool:
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        return bool(poller.poll(bound_s * 1000))

    def stream(self, body: Any, **request: Any) -> EventStream:
        """Send POST /execute/stream on a socket of its own."""
        return EventStream(self.url, self.token, body=body, **request)

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def wait_finished(self, job_id: str, bound_s: float = 5.0) -> dict[str, Any]:
        """Read the job's events to their end, and return the finished job."""
        with EventStream(self.url, self.token, method="GET", path=f"/jobs/{job_id}/events", bound_s=bound_s) as stream:
            if stream.status == 200:
                try:
                    for _ in stream.rest(bound_s):
                        pass
                except TimeoutError as exc:
                    raise TimeoutError(f"not finished within {bound_s} s: {self.job(job_id)}\n{self.stderr}") from exc
        return self.job(job_id)

    def workspaces(self) -> list[Path]:
        """The workspaces of jobs that are in their place; there is one for each job that runs."""
        folder = self.state_dir / "workspaces"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def stop(self) -> int:
        """Send SIGTERM, wait, and return the exit status. Raise AssertionError if it does not end in time."""
        if self.process.poll() is None:
            self.process.terminate()
        if not self.has_ended(STOP_BOUND_S):
            self.kill()
            raise AssertionError(f"the server did not end within {STOP_BOUND_S} s of SIGTERM:\n{self.stderr}")
        return self._put_away()

    def kill(self) -> int:
        """Send SIGKILL."""
        self.process.kill()
        return self._put_away()

    def _put_away(self) -> int:
        status = self.process.wait()
        if self in live:
            live.remove(self)
            self._held.close()
        return status


@contextlib.contextmanager
def running_server(
    state_dir: Path,
    *flags: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[RunningServer]:
    """Run a server for the length of a block, and stop it at the end unless the test has done so itself.

    Raise AssertionError if a server that ended in order left a workspace in its place or a cgroup.
    """
    server = RunningServer(state_dir, *flags, env=env, cwd=cwd, prefix=prefix)
    try:
        yield server
    finally:
        if server in live:
            status = server.stop()
            if 0 <= status < 128:
                assert not server.workspaces(), f"the server left {server.workspaces()}"
                assert not leaves(state_dir), f"the server left {leaves(state_dir)}"
