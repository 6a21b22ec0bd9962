"""The real server in a process of its own, asked by clients that are no more than sockets.

Nothing here hides what goes over the wire: these tests are about closing, resetting, stalling and malformed bytes.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.api.raw_stream import PATIENCE_S, RawStream, connect
from tests.support.server import running_server, serve_command, server_environment


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The end of the problem's type, after checking that it is a well-formed problem."""
        assert self.headers["content-type"] == "application/problem+json", self
        document = self.json
        assert {"type", "title", "status", "detail"} <= document.keys()
        assert document["status"] == self.status
        if self.status == 422:
            assert document["errors"]
            assert all(set(error) == {"field", "message"} for error in document["errors"])
        return str(document["type"]).rpartition("/")[2]

    @property
    def fields(self) -> list[str]:
        return [error["field"] for error in self.json["errors"]]


class AnyServer:
    """The requests that a test may send to a server, wherever it runs. `log` is the file that it logs to."""

    url: str
    token: str
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        token: bool = True,
        data: bytes | None = None,
    ) -> Reply:
        """One request on a connection of its own. `body` is sent as JSON, `data` as it is."""
        sent = {"Authorization": f"Bearer {self.token}"} if token else {}
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)
        try:
            connection.request(method, path, data, sent | (headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def job(self, job_id: str) -> dict[str, Any]:
        reply = self.ask("GET", f"/jobs/{job_id}")
        assert reply.status == 200, reply
        job: dict[str, Any] = reply.json
        return job

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job once it has ended; waits on its event stream."""
        with self.stream("GET", f"/jobs/{job_id}/events") as stream:
            stream.read_to_end()
        job = self.job(job_id)
        assert job["state"] in {"succeeded", "failed", "cancelled", "timed_out"}, job
        return job

    def run(self, command: str, **more: Any) -> str:
        """Submit a shell job that no client holds, and return its id."""
        reply = self.ask("POST", "/jobs", {"task": "shell", "input": {"command": command}, **more})
        assert reply.status == 202, reply
        return str(reply.json["id"])

    def active(self) -> int:
        counts = self.ask("GET", "/health").json["counts"]
        return sum(counts[state] for state in ("queued", "starting", "running", "cancelling"))

    def connect(self, *, receive_buffer: int | None = None) -> socket.socket:
        return connect(self.address, receive_buffer=receive_buffer)

    def head(self, method: str, path: str, *more: str) -> bytes:
        """The first lines of a request, without the empty one."""
        host, port = self.address
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", f"Authorization: Bearer {self.token}", *more]
        return "".join(f"{line}\r\n" for line in lines).encode()

    def stream_request(self, body: Any) -> bytes:
        data = json.dumps(body).encode()
        head = self.head("POST", "/execute/stream", "Content-Type: application/json", f"Content-Length: {len(data)}")
        return head + b"\r\n" + data

    @contextmanager
    def stream(self, method: str, path: str, body: Any = None, *more: str) -> Iterator[RawStream]:
        if body is None:
            request = self.head(method, path, *more) + b"\r\n"
        else:
            data = json.dumps(body).encode()
            extra = ("Content-Type: application/json", f"Content-Length: {len(data)}")
            request = self.head(method, path, *more, *extra) + b"\r\n" + data
        sock = self.connect()
        try:
            sock.sendall(request)
            yield RawStream(sock)
        finally:
            sock.close()


@dataclass
class RealServer(AnyServer):
    process: subprocess.Popen[bytes]
    url: str
    token: str
    state_dir: Path
    log: Path


@contextmanager
def real_server(state_dir: Path, **settings: str) -> Iterator[RealServer]:
    """Start the server on a free port, yield it when it says that it serves, and stop it."""
    env = {f"DEADSTOP_{name}": value for name, value in settings.items()}
    with running_server(state_dir, env=env | {"NO_COLOR": "1"}) as running:
        yield RealServer(running.process, running.url, running.token, state_dir, running.stderr_path)


@contextmanager
def serving(state_dir: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A server that need not come up, with pipes; killed at the end if it still runs."""
    env = server_environment(Path("/nonexistent"), **{f"DEADSTOP_{name}": v for name, v in settings.items()})
    process = subprocess.Popen(
        serve_command(state_dir), env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE_S)
