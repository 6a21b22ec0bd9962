"""Accept connections from the listening socket, and pause when that fails.

When the process has no descriptor left, asyncio's own server logs a traceback for each connection of its backlog, every
second. It also has no limit on connections.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable

import structlog

from supervisor.api.guard.connections import Connections

PER_TURN = 32
"""How many connections are accepted before other tasks run."""
PAUSE_S = 0.2
GIVE_WAY = 8
"""How many idle connections are closed when one cannot be accepted."""
CALM_S = 2.0
"""The trouble counts as over when nothing has failed for this time."""

_NEXT_ONE = frozenset(
    {
        errno.EINTR,
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.EPERM,
    }
)
"""Errors that concern the new connection and not the listening socket: see accept(2)."""

log = structlog.get_logger()


class Acceptor:
    """Accepts connections on `sock` until `close`. Only for use on the event loop. uvicorn takes it for a server."""

    def __init__(
        self,
        sock: socket.socket,
        make: Callable[[], asyncio.Protocol],
        connections: Connections,
        *,
        pause_s: float = PAUSE_S,
        calm_s: float = CALM_S,
    ) -> None:
        self._sock = sock
        self._make = make
        self._connections = connections
        self._pause_s = pause_s
        self._calm_s = calm_s
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        self._calm: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        """Stop accepting. The socket stays open, because its owner closes it."""
        self._loop.remove_reader(self._sock)
        for timer in (self._again, self._calm):
            if timer is not None:
                timer.cancel()

    async def wait_closed(self) -> None:
        """Wait for the connections that are being opened."""
        if self._opening:
            await asyncio.wait(self._opening)

    def _listen(self) -> None:
        self._again = None
        try:
            self._loop.add_reader(self._sock, self._take)
        except OSError as exc:
            self._failed(exc)

    def _take(self) -> None:
        for _ in range(PER_TURN):
            if not self._connections.make_room(len(self._opening)):
                if self._opening:
                    return  # these are open in a turn or two, and may be idle then
                self._pause(f"{len(self._connections)} are open, and all are busy")
                return
            try:
                conn, _ = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in _NEXT_ONE:
                    continue
                self._failed(exc)
                return
            conn.setblocking(False)
            task = self._loop.create_task(self._open(conn))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, conn: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, conn)
        except OSError as exc:
            conn.close()
            self._failed(exc)

    def _failed(self, exc: OSError) -> None:
        # Close idle connections to get descriptors for waiting clients: one of them may want to stop a job.
        gave_way = sum(self._connections.close_idle() for _ in range(GIVE_WAY))
        self._pause(os.strerror(exc.errno) if exc.errno else str(exc), short=gave_way > 0)

    def _pause(self, why: str, *, short: bool = False) -> None:
        self._loop.remove_reader(self._sock)
        if self._again is None:
            self._again = self._loop.call_later(self._pause_s / (10 if short else 1), self._listen)
        if self._connections.trouble is None:
            log.warning("accept_paused", reason=why, connections=len(self._connections))
        self._connections.trouble = why
        if self._calm is not None:
            self._calm.cancel()
        self._calm = self._loop.call_later(self._calm_s, self._is_calm)

    def _is_calm(self) -> None:
        self._calm = None
        self._connections.trouble = None
        log.info("accept_resumed", connections=len(self._connections))
