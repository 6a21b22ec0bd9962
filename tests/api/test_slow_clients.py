"""Clients that send or read slowly, or not at all: each is cut after its bound, on raw sockets.

The connection class is the real one, with short bounds, in front of an application that only answers; the last tests
ask the whole server with its own bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvicorn
from uvicorn.server import ServerState

from supervisor.api.web.http_connection import ClientTimeouts, HttpConnection
from tests.api.raw_stream import RawStream, connect
from tests.api.wire import RealServer, real_server

HEAD_S, FROZEN_S = 0.4, 0.6
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ENDLESS = b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n"


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """Respond with "ok", and under /endless without end for as long as the client is connected."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if scope["path"] == "/endless":
        await receive()
        left = asyncio.ensure_future(receive())
        while not left.done():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await asyncio.sleep(0)
        return
    await send({"type": "http.response.body", "body": b"ok"})


@dataclass
class Door:
    """A listening HttpConnection class in a thread of its own."""

    address: tuple[str, int]
    state: ServerState

    def open(self, *, receive_buffer: int | None = None) -> socket.socket:
        return connect(self.address, receive_buffer=receive_buffer)


@pytest.fixture
def door() -> Iterator[Door]:
    config = uvicorn.Config(answering, lifespan="off", log_config=None, access_log=False, ws="none")
    config.load()
    state = ServerState()
    timeouts = ClientTimeouts(head_s=HEAD_S, frozen_s=FROZEN_S)
    ready: list[Door] = []
    is_ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        make = partial(HttpConnection, config=config, server_state=state, app_state={}, timeouts=timeouts)
        server = await loop.create_server(make, "127.0.0.1", 0)
        ready.append(Door(server.sockets[0].getsockname(), state))
        is_ready.set()
        await stop.wait()
        server.close()
        for task in [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert is_ready.wait(5)
        yield ready[0]
        assert wait_for(lambda: not state.connections, 2.0)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def drip(sock: socket.socket, data: bytes, every_s: float = 0.02) -> float:
    """Send byte by byte until the server closes the connection. Return how long that took."""
    began = time.monotonic()
    sock.settimeout(every_s)
    for byte in data:
        try:
            sock.sendall(bytes([byte]))
            if sock.recv(1, socket.MSG_PEEK) is not None:
                break
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            break
    sock.settimeout(5)
    return time.monotonic() - began


def rest(sock: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionResetError):
        return b"".join(iter(lambda: sock.recv(65536), b""))
    return b""


def test_headers_that_drip_are_cut_with_an_answer(door: Door) -> None:
    with door.open() as sock:
        took_s = drip(sock, b"GET / HTTP/1.1\r\nX-A: " + b"a" * 1000)
        answer = rest(sock)
    assert HEAD_S * 0.9 < took_s < HEAD_S + 1.0
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"].endswith("/request-timeout")


def test_who_connects_and_says_nothing_is_cut(door: Door) -> None:
    began = time.monotonic()
    with door.open() as sock:
        assert rest(sock) == b""
    assert time.monotonic() - began < HEAD_S + 1.0


@pytest.mark.parametrize("together", [True, False])
def test_a_second_request_has_the_same_bound(door: Door, together: bool) -> None:
    """Whether its first bytes come with the request before it or on their own."""
    with door.open() as sock:
        sock.sendall(GET + (b"GET /" if together else b""))
        sock.settimeout(5)
        seen = b""
        while b"ok" not in seen:
            seen += sock.recv(4096)
        drip(sock, b"G" * 1000)
        assert b"408" in seen + rest(sock)


def test_a_request_in_time_is_not_cut_while_it_is_answered(door: Door) -> None:
    """The negative control: the clock stops with the last header."""
    with door.open() as sock:
        sock.sendall(ENDLESS)
        end = time.monotonic() + HEAD_S + FROZEN_S + 0.3
        while time.monotonic() < end:
            assert sock.recv(65536)


def test_a_reader_that_stands_still_is_cut(door: Door) -> None:
    with door.open(receive_buffer=4096) as sock:
        sock.sendall(ENDLESS)
        assert wait_for(lambda: bool(door.state.connections), 5.0)
        gone = wait_for(lambda: not door.state.connections, FROZEN_S + 3.0)
        assert gone


def test_a_reader_that_is_only_slow_is_not(door: Door) -> None:
    with door.open(receive_buffer=4096) as sock:
        sock.sendall(ENDLESS)
        end = time.monotonic() + 3 * FROZEN_S
        while time.monotonic() < end:
            assert sock.recv(4096)
            threading.Event().wait(FROZEN_S / 10)
        assert door.state.connections


@pytest.mark.parametrize("head", [b"GET /" + b"a" * 20_000, b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 3_000])
def test_headers_have_a_size(door: Door, head: bytes) -> None:
    with door.open() as sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        sock.sendall(head)
        answer = rest(sock)
        assert not answer or answer.startswith(b"HTTP/1.1 431 ")


def wait_for(condition: Callable[[], bool], bound_s: float) -> bool:
    end = time.monotonic() + bound_s
    while not condition() and time.monotonic() < end:
        threading.Event().wait(0.01)
    return condition()


def test_a_frozen_reader_costs_little_and_ends(tmp_path: Path) -> None:
    """A whole server and a job that prints without end: its memory stays flat, the job goes on, the reader is cut."""
    with real_server(tmp_path / "state", FROZEN_AFTER_S="1.5") as server:
        job_id = server.run("yes $(head -c 2000 /dev/zero | tr '\\0' x)")
        frozen = [open_stream(server, path) for path in (f"/jobs/{job_id}/events", "/events", "/events")]
        process = psutil.Process(server.process.pid)
        wait_for(lambda: last_id(server, job_id) > 5_000, 20)
        before = process.memory_info().rss
        seen = last_id(server, job_id)
        assert wait_for(lambda: all(is_closed(sock) for sock in frozen), 20), "a frozen reader was kept"
        assert wait_for(lambda: last_id(server, job_id) > seen + 2_000, 20), "the job stood still"
        assert process.memory_info().rss - before < 64 * 1024 * 1024
        assert server.job(job_id)["state"] == "running"
        for sock in frozen:
            sock.close()
        server.ask("POST", f"/jobs/{job_id}/cancel?wait=5")


def open_stream(server: RealServer, path: str) -> socket.socket:
    sock = server.connect(receive_buffer=4096)
    sock.sendall(server.head("GET", path) + b"\r\n")
    return sock


def last_id(server: RealServer, job_id: str) -> int:
    return int(server.job(job_id)["last_event_id"])


def is_closed(sock: socket.socket) -> bool:
    """Return whether the server has closed the connection. It looks at the state of the socket and does not read."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 1  # TCP_ESTABLISHED


@pytest.mark.suite
def test_the_servers_own_bounds(tmp_path: Path) -> None:
    """Ten seconds for headers and for a body, on a hundred connections at once, while others are served."""
    with real_server(tmp_path / "state") as server:
        heads = [server.connect() for _ in range(50)]
        bodies = [server.connect() for _ in range(50)]
        for sock in heads:
            sock.sendall(server.head("GET", "/jobs"))
        for sock in bodies:
            sock.sendall(
                server.head("POST", "/jobs", "Content-Type: application/json", "Content-Length: 100") + b"\r\n{"
            )
        began = time.monotonic()
        while time.monotonic() - began < 8.5:
            for sock in (*heads, *bodies):
                sock.sendall(b" " if sock in bodies else b"X: y\r\n")
            assert server.ask("GET", "/health").status == 200
            threading.Event().wait(0.3)
        for sock in (*heads, *bodies):
            assert RawStream(sock).status == 408
            sock.close()
        assert time.monotonic() - began < 13
