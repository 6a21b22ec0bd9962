"""The listening socket when descriptors run out, and the connections when there are too many."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from supervisor.api.guard.connections import FEWEST, MOST, Connections, bound_for
from supervisor.api.web.accepting import Acceptor

PAUSE_S, CALM_S = 0.01, 0.1


class Failing(socket.socket):
    """A listening socket whose accept fails as long as `error` is set."""

    error: int | None = None
    failed = 0

    def accept(self) -> Any:
        if self.error is not None:
            self.failed += 1
            raise OSError(self.error, os.strerror(self.error))
        return super().accept()


class Counted(asyncio.Protocol):
    """A connection that says hello."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


class Idle:
    """A client as `Connections` sees it."""

    def __init__(self, *, idle: bool = True, for_s: float = 60.0) -> None:
        self.idle_since = time.monotonic() - for_s if idle else None
        self.closed = False

    def give_way(self) -> None:
        self.closed = True


def listening() -> Failing:
    sock = Failing(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sock.listen(64)
    sock.setblocking(False)
    return sock


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # the socket under test announces nothing
            await asyncio.sleep(PAUSE_S)


async def hello(address: Any) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    try:
        return await reader.read()
    finally:
        writer.close()


async def with_acceptor(use: Callable[[Failing, Connections], Awaitable[None]]) -> None:
    connections = Connections(16)
    with listening() as sock:
        acceptor = Acceptor(sock, Counted, connections, pause_s=PAUSE_S, calm_s=CALM_S)
        try:
            await use(sock, connections)
        finally:
            acceptor.close()
            await acceptor.wait_closed()


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EIO, errno.EINVAL])
def test_a_failing_accept_pauses_and_says_so_once(error: int) -> None:
    async def use(sock: Failing, connections: Connections) -> None:
        idle = Idle()
        connections.enter(idle)
        sock.error = error
        waiting = asyncio.create_task(hello(sock.getsockname()))
        await until(lambda: sock.failed >= 5)
        assert idle.closed  # it gave its descriptor away
        check = connections.check()
        assert (check.ok, check.required) == (False, True)
        assert os.strerror(error) in check.detail
        sock.error = None
        assert await waiting == b"hello"
        await until(lambda: connections.trouble is None)
        assert connections.check().ok

    with capture_logs() as lines:
        asyncio.run(with_acceptor(use))
    assert [line["event"] for line in lines] == ["accept_paused", "accept_resumed"]


@pytest.mark.parametrize("error", [errno.ECONNABORTED, errno.EPROTO, errno.ENETUNREACH, errno.EPERM])
def test_an_error_of_the_connection_is_not_the_sockets(error: int) -> None:
    async def use(sock: Failing, connections: Connections) -> None:
        sock.error = error
        waiting = asyncio.create_task(hello(sock.getsockname()))
        await until(lambda: sock.failed >= 1)
        sock.error = None
        assert await waiting == b"hello"
        assert connections.check().ok

    with capture_logs() as lines:
        asyncio.run(with_acceptor(use))
    assert lines == []


def test_asyncios_own_server_tells_each_of_its_backlog(caplog: pytest.LogCaptureFixture) -> None:
    """The control, without the acceptor."""

    async def use() -> None:
        with listening() as sock:
            server = await asyncio.get_running_loop().create_server(Counted, sock=sock, backlog=64)
            sock.error = errno.EMFILE
            with socket.create_connection(sock.getsockname()):
                await until(lambda: sock.failed > 0)
            server.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(use())
    assert len(caplog.records) > 50


def test_the_one_that_is_idle_longest_gives_way() -> None:
    connections = Connections(3)
    busy, first, second = Idle(idle=False), Idle(), Idle()
    for client in (busy, first, second):
        assert connections.make_room()
        connections.enter(client)
    assert connections.make_room()
    assert (busy.closed, first.closed, second.closed) == (False, True, False)


def test_one_that_was_just_made_is_not_idle_yet() -> None:
    """Its request may be on its way. Only when there is no spare one either, it has to go."""
    connections = Connections(3)
    fresh = [Idle(for_s=0.0) for _ in range(7)]
    for client in fresh:
        assert connections.make_room()
        connections.enter(client)
    assert not any(client.closed for client in fresh)
    assert connections.make_room()
    assert [client.closed for client in fresh] == [True, *[False] * 6]


def test_when_all_are_busy_there_are_spare_ones_and_then_none() -> None:
    connections = Connections(3)
    busy = [Idle(idle=False) for _ in range(3)]
    spare = []
    for client in busy:
        connections.enter(client)
    while connections.make_room():
        spare.append(Idle(idle=False))
        connections.enter(spare[-1])
    assert len(spare) == 4
    assert all(map(connections.is_spare, spare))
    assert not any(map(connections.is_spare, busy))
    assert (connections.check().ok, connections.check().required) == (False, False)
    spare[0].idle_since = 0.0
    assert connections.make_room()
    assert spare[0].closed
    for client in (*busy, *spare[:2]):
        connections.leave(client)
    assert not any(map(connections.is_spare, spare))
    assert connections.check().ok


def test_a_server_without_room_waits_for_some() -> None:
    async def use(sock: Failing, connections: Connections) -> None:
        clients = [Idle(idle=False) for _ in range(20)]
        for client in clients:
            connections.enter(client)
        waiting = asyncio.create_task(hello(sock.getsockname()))
        await until(lambda: connections.trouble is not None)
        assert not waiting.done()
        connections.leave(clients[0])
        assert await waiting == b"hello"

    asyncio.run(with_acceptor(use))


def test_a_burst_of_connections_waits_for_those_that_are_being_opened() -> None:
    async def use(sock: Failing, connections: Connections) -> None:
        with contextlib.ExitStack() as clients:
            for _ in range(3 * connections.most):
                clients.enter_context(socket.create_connection(sock.getsockname()))
            assert await hello(sock.getsockname()) == b"hello"

    with capture_logs() as lines:
        asyncio.run(with_acceptor(use))
    assert lines == []


@pytest.mark.parametrize(("open_files", "most"), [(-1, MOST), (20, FEWEST), (160, 48), (1024, 480), (1 << 20, MOST)])
def test_the_bound_goes_with_the_limit_of_open_files(open_files: int, most: int) -> None:
    assert bound_for(open_files) == most
