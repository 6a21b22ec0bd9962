"""A client's action while the event loop was busy is dated to when it happened, or earlier, but never later."""

from __future__ import annotations

import asyncio
import selectors
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from supervisor.api.web.http_connection import ClientTimeouts, HttpConnection
from supervisor.api.web.peer import Peer
from supervisor.core.loop.loop_clock import ClockedLoop, PollClock

BUSY_S = 0.3
SOON_S = 0.1
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
RESET = struct.pack("ii", 1, 0)


def close(client: socket.socket) -> None:
    client.close()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()


class Waiting:
    """An application whose requests wait for their client to leave."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.peer: Peer | None = None
        self.heard_at: float | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.peer = scope["state"]["peer"]
        self.heard_at = self.peer.heard_at
        self.asked.set()
        while (await receive())["type"] != "http.disconnect":
            continue
        self.left.set()


async def one_client(act: Callable[[socket.socket], None], *, before: bytes) -> tuple[float, Waiting]:
    """A client that acts while the loop is busy, and the moment at which it did."""
    app = Waiting()
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, ws="none")
    config.load()
    state = ServerState()
    make = partial(HttpConnection, config=config, server_state=state, app_state={}, timeouts=ClientTimeouts())
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    try:
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.sendall(before)
            if before.endswith(b"\r\n\r\n"):
                await app.asked.wait()
            else:
                while not state.connections:
                    await asyncio.sleep(0)
            acted = time.monotonic()
            act(client)
            time.sleep(BUSY_S)  # the loop is busy
            await asyncio.wait_for(app.asked.wait(), 5)
            client.close()
            await asyncio.wait_for(app.left.wait(), 5)
    finally:
        server.close()
        await server.wait_closed()
    return acted, app


def run(
    loop: type[asyncio.SelectorEventLoop], act: Callable[[socket.socket], None], before: bytes
) -> tuple[float, Waiting]:
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(one_client(act, before=before))


@pytest.mark.parametrize(
    ("loop", "kernel", "act", "late"),
    [
        (ClockedLoop, True, close, False),
        (ClockedLoop, False, close, False),
        (ClockedLoop, True, reset, False),
        (asyncio.SelectorEventLoop, True, close, False),
        (asyncio.SelectorEventLoop, False, close, True),  # the controls: neither the loop nor the kernel is asked
        (asyncio.SelectorEventLoop, True, reset, True),
    ],
)
def test_a_hang_up(
    loop: type[asyncio.SelectorEventLoop],
    kernel: bool,
    act: Callable[[socket.socket], None],
    late: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not kernel:
        monkeypatch.setattr(Peer, "_info", lambda _: None)
    acted, app = run(loop, act, GET)
    assert app.peer is not None
    assert app.peer.left_at is not None
    assert (app.peer.left_at - acted > SOON_S) is late
    assert app.peer.left_at > acted - SOON_S


@pytest.mark.parametrize(
    ("loop", "kernel", "late"),
    [
        (ClockedLoop, True, False),
        (ClockedLoop, False, False),
        (asyncio.SelectorEventLoop, True, False),
        (asyncio.SelectorEventLoop, False, True),
    ],
)
def test_a_request(
    loop: type[asyncio.SelectorEventLoop], kernel: bool, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernel:
        monkeypatch.setattr(Peer, "_info", lambda _: None)
    acted, app = run(loop, lambda client: client.sendall(GET[-6:]), GET[:-6])
    assert app.heard_at is not None
    assert (app.heard_at - acted > SOON_S) is late
    assert app.heard_at > acted - SOON_S


def test_what_is_waited_for_has_just_come() -> None:
    """Data that was already there may be as old as the last look."""
    clock = PollClock()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        clock.register(ours, 1)
        clock.select(0)
        began = time.monotonic()
        clock.select(0.05)
        assert clock.since >= began + 0.04
        looked = clock.since
        theirs.send(b"x")
        time.sleep(0.05)
        assert clock.select(None)
        assert clock.since <= looked + 0.02
        assert clock.since_before == looked
    clock.close()


@pytest.mark.parametrize("found_late", [True, False])
@pytest.mark.parametrize("timeout", [0.0, 0.05])
def test_what_came_while_the_process_was_stopped_is_as_old_as_the_stop(
    monkeypatch: pytest.MonkeyPatch, timeout: float, found_late: bool
) -> None:
    """Whether the wait that was stopped reports it, or the one after."""
    clock = PollClock()
    select = selectors.EpollSelector.select

    def stopped(self: selectors.EpollSelector, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        time.sleep(BUSY_S)
        theirs.send(b"x")
        return select(self, 0) if found_late else []

    ours, theirs = socket.socketpair()
    with ours, theirs:
        clock.register(ours, selectors.EVENT_READ)
        clock.select(0)
        began = time.monotonic()
        with monkeypatch.context() as patched:
            patched.setattr(selectors.EpollSelector, "select", stopped)
            assert bool(clock.select(timeout)) is found_late
        assert clock.since <= began + timeout + SOON_S
        assert clock.select(None)
        assert clock.since <= began + timeout + SOON_S
        assert time.monotonic() - began >= BUSY_S
    clock.close()
