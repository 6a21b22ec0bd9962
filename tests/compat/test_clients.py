"""Common clients and a common proxy, unmodified: each receives every event once, in order, and nothing else."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from httpx_sse import connect_sse
from playwright.sync_api import sync_playwright

from tests.support.client import EventStream
from tests.support.dashboard import FLAGS
from tests.support.server import RunningServer, running_server

pytestmark = [pytest.mark.suite, pytest.mark.timeout(120)]

HERE = Path(__file__).parent
# Longer than two heartbeats, of which no client may make an event.
BODY = {"task": "shell", "input": {"command": "for i in 1 2 3; do echo $i; sleep 0.4; done", "terminal": False}}
LONG = {"task": "shell", "input": {"command": "echo up; sleep 61", "terminal": False}}
BOUND_S = 20.0
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log stderr warn; worker_processes 1;
events {{ }}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {url}; }} }}
}}
"""


@pytest.fixture(scope="module")
def server(short_dir: Path) -> Iterator[RunningServer]:
    with running_server(short_dir / "compat") as running:
        yield running


def told(server: RunningServer, job_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the events that every client should have received."""
    events = server.http.get(f"/jobs/{job_id}/events", params={"follow": "false"}).json()["events"]
    return [(str(event["id"]), event["type"], event) for event in events]


def given(lines: str) -> list[tuple[str, str, dict[str, Any]]]:
    events = [json.loads(line) for line in lines.splitlines()]
    return [(event["id"], event["event"], json.loads(event["data"])) for event in events]


def node(*arguments: str) -> str:
    done = subprocess.run(
        ["node", "clients.mjs", *arguments], cwd=HERE, capture_output=True, text=True, timeout=BOUND_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def cancelled(server: RunningServer, job_id: str) -> bool:
    job = server.wait_finished(job_id, BOUND_S)
    cancellation = job["cancellation"]
    return (job["state"], cancellation["reason"], cancellation["within_budget"]) == (
        "cancelled",
        "client_disconnected",
        True,
    )


@pytest.mark.parametrize("package", ["eventsource-parser", "@microsoft/fetch-event-source"])
def test_packages_that_stream_a_post(server: RunningServer, package: str) -> None:
    got = given(node(package, f"{server.url}/execute/stream", server.token, json.dumps(BODY)))
    assert got == told(server, got[0][2]["job_id"])


def test_the_eventsource_package_reads_a_job_and_stays_away_after_its_end(server: RunningServer) -> None:
    job_id = server.http.post("/jobs", json=BODY).json()["id"]
    assert given(node("eventsource", f"{server.url}/jobs/{job_id}/events", server.token)) == told(server, job_id)


def test_httpx_sse(server: RunningServer) -> None:
    with (
        httpx.Client(headers={"Authorization": f"Bearer {server.token}"}, timeout=BOUND_S) as client,
        connect_sse(client, "POST", f"{server.url}/execute/stream", json=BODY) as source,
    ):
        got = [(event.id, event.event, json.loads(event.data)) for event in source.iter_sse()]
    assert got == told(server, got[0][2]["job_id"])


def test_curl_sees_each_event_at_once_and_its_end_cancels(server: RunningServer) -> None:
    command = ["curl", "-sN", f"{server.url}/execute/stream", "-H", f"Authorization: Bearer {server.token}"]
    curl = subprocess.Popen([*command, "--json", json.dumps(LONG)], stdout=subprocess.PIPE, text=True)
    try:
        assert curl.stdout is not None
        lines = iter(curl.stdout)
        queued = next(line for line in lines if line.startswith("data: "))
        assert any('"text": "up' in line for line in lines)
    finally:
        curl.kill()
        curl.communicate()
    assert cancelled(server, json.loads(queued.removeprefix("data: "))["job_id"])


# --- a browser's own EventSource


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # cut
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def relay(url: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """A way to `url` whose open connections can be cut, as by a proxy that restarts."""
    address = urlsplit(url)
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection((address.hostname, address.port))
            ends.extend((near, far))
            threads.extend(threading.Thread(target=pump, args=pair) for pair in ((near, far), (far, near)))
            for thread in threads[-2:]:
                thread.start()

    def cut() -> None:
        for end in ends:
            with contextlib.suppress(OSError):  # its peer was faster
                end.shutdown(socket.SHUT_RDWR)

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", cut
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        cut()
        for thread in threads:
            thread.join(BOUND_S)
        for end in ends:
            end.close()


READ = """async ([path, types]) => {
  window.got = [];
  const source = window.source = new EventSource(path);
  for (const type of types) {
    source.addEventListener(type, (e) => window.got.push([e.lastEventId, e.type, JSON.parse(e.data)]));
  }
}"""


def test_chromium_s_eventsource_comes_back_where_it_was_and_stays_away_after_the_end(server: RunningServer) -> None:
    command = "echo first; while ! test -e go; do sleep 0.05; done; for i in 1 2 3; do echo $i; done"
    body = {"task": "shell", "input": {"command": command, "terminal": False}}
    with relay(server.url) as (url, cut), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            page = browser.new_page(bypass_csp=True)  # for the test's own evaluation, not for the code under test
            page.goto(f"{url}/docs")
            assert page.evaluate(
                "async (token) => (await fetch('/session', {method: 'POST', headers: {'content-type': "
                "'application/json'}, body: JSON.stringify({token})})).status",
                server.token,
            ) in {200, 204}
            job_id = server.http.post("/jobs", json=body).json()["id"]
            types = ["job.queued", "job.starting", "job.running", "job.phase", "job.output", "job.resource", "message"]
            page.evaluate(READ, [f"/jobs/{job_id}/events", [*types, "job.succeeded"]])
            page.wait_for_function("got.some(([, type]) => type === 'job.output')")
            cut()
            page.wait_for_function("source.readyState === EventSource.CONNECTING")
            (server.state_dir / "workspaces" / job_id / "go").touch()
            page.wait_for_function("source.readyState === EventSource.CLOSED", timeout=BOUND_S * 1000)
            got = [tuple(event) for event in page.evaluate("got")]
        finally:
            browser.close()
    assert got == told(server, job_id)


# --- behind nginx with what it does by default


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def proxied(server: RunningServer, tmp_path: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "nginx.conf"
    config.write_text(NGINX.format(folder=tmp_path, port=port, url=server.url))
    nginx = subprocess.Popen([shutil.which("nginx") or "/usr/sbin/nginx", "-p", tmp_path, "-c", config])
    try:
        deadline = time.monotonic() + BOUND_S
        while not answers(port):
            assert time.monotonic() < deadline
            assert nginx.poll() is None
        yield f"http://127.0.0.1:{port}"
    finally:
        nginx.terminate()
        nginx.wait(BOUND_S)


def test_nginx_passes_events_on_as_they_come(server: RunningServer, proxied: str) -> None:
    with EventStream(proxied, server.token, body=LONG) as stream:
        stream.until_output("up")  # while the job runs for another minute
        stream.hang_up()
    assert cancelled(server, stream.events[0].data["job_id"])


def test_behind_nginx_every_event_comes_once(server: RunningServer, proxied: str) -> None:
    with EventStream(proxied, server.token, body=BODY) as stream:
        got = [(str(event.id), event.type, event.data) for event in stream.rest(BOUND_S)]
    assert got == told(server, got[0][2]["job_id"])
