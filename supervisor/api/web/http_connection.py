"""uvicorn's HTTP/1.1 protocol, extended for slow clients, disconnects, and the limit on connections."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from supervisor.api.guard.connections import Connections
from supervisor.api.guard.problems import Kind, Problem
from supervisor.api.guard.request_guard import MAX_HEAD_BYTES
from supervisor.api.web.peer import Peer
from supervisor.api.web.rejection import rejection, unreadable
from supervisor.core.loop.awake_clock import AwakeClock, AwakeTimer
from supervisor.core.loop.loop_clock import callback_since, event_since

READ_BYTES = 16 * 1024
"""How much is read and parsed at a time."""
MANY_PIECES, SMALL_PIECE = 64, 16
"""A body with more pieces than this, of a smaller size than this, costs far more than its bytes."""
LINGER_S = 2.0
LINGER_BYTES = 16 * 1024 * 1024
"""How much of a rejected body is read and discarded, so that the client can read the answer. Closing at once would send
a reset, which makes the client's kernel discard it."""
READ_AHEAD_BYTES = 64 * 1024
"""How much of the next request is buffered while a response is in progress."""
DRAIN_TIMEOUT_S = 0.5
"""How long a shutdown waits for clients to read the rest of their responses."""


_BUFFER = bytearray(READ_BYTES)
"""Shared by all connections: what is read is parsed before the next read."""


@dataclass(frozen=True, slots=True)
class ClientTimeouts:
    """How long a client may keep a connection without progress, in seconds."""

    head_s: float = 10.0
    """From the first byte of a request (or from connecting) to the end of its headers, even if bytes keep arriving."""
    frozen_s: float = 30.0
    """While a response is waiting, and the client reads none of it."""
    clock: AwakeClock = field(default_factory=AwakeClock)
    """The server's clock: while the machine sleeps, the server cannot see what a client does."""


class _Counting(h11.Connection):
    """Counts the pieces of received bodies."""

    pieces = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.Data):
            self.pieces += 1
        return event


class HttpConnection(H11Protocol, asyncio.BufferedProtocol):
    """One client connection. Handlers find it as `scope["state"]["connection"]`, and its `Peer` as `…["peer"]`.

    It reads into a buffer, because that limits how much is parsed before other tasks run.
    """

    def __init__(
        self, *args: Any, timeouts: ClientTimeouts, connections: Connections | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.conn: _Counting = _Counting(h11.SERVER, MAX_HEAD_BYTES)
        self.peer = Peer(None)
        self._connections = Connections() if connections is None else connections
        self._timeouts = timeouts
        self._discarded_bytes = 0
        self._idle_since = 0.0
        self._head_timer: AwakeTimer | None = None
        self._frozen_timer: AwakeTimer | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = Peer(transport.get_extra_info("socket"))
        self.app_state = {**self.app_state, "peer": self.peer, "connection": self}
        self._idle_since = self.loop.time()
        self._connections.enter(self)
        self._expect_head()

    @property
    def idle_since(self) -> float | None:
        """Since when no request has been in progress: none is complete, or its answer is. None if one is."""
        idle = self.cycle is None or self.cycle.response_complete or self._body_is_coming()
        return self._idle_since if idle else None

    def give_way(self) -> None:
        self.transport.abort()

    def get_buffer(self, _sizehint: int) -> bytearray:
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(memoryview(_BUFFER)[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.leave(self)
        # This comes first: uvicorn wakes the handlers, and they ask the peer how it left.
        self.peer.lost(exc, callback_since(self.loop))
        self._head_is_there()
        self._stop_frozen_timer()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        self.peer.hung_up(event_since(self.loop))

    def data_received(self, data: bytes) -> None:
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self.peer.heard(event_since(self.loop))
        pieces = self.conn.pieces
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.conn.pieces - pieces > MANY_PIECES + len(data) // SMALL_PIECE and self._body_is_coming():
            self._reject(Problem(Kind.BAD_REQUEST, f"the body's chunks are smaller than {SMALL_PIECE} bytes"))
            return
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        else:
            self._head_is_there()
        if self._rejected_body_still_coming():
            self._discard(len(data))
        elif self.flow.read_paused and len(self.conn.trailing_data[0]) < READ_AHEAD_BYTES:
            # A pipelined request waits for its turn. uvicorn then stops reading, and would not notice a disconnect.
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        # A request that waited for this one is read now.
        self.peer.heard_at = None
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            # The start of the next request arrived with the one that was just answered.
            self._expect_head()

    def _expect_head(self) -> None:
        """Start the timer for the headers of a request, unless it is running: bytes that arrive do not extend it."""
        if self._head_timer is None:
            self._head_timer = self._timeouts.clock.call_later(self._timeouts.head_s, self._head_is_late)

    def _head_is_there(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            return
        if self.conn.trailing_data[0]:
            late = f"the headers did not arrive within {self._timeouts.head_s:g} s"
            self._reject(Problem(Kind.REQUEST_TIMEOUT, late))
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_frozen(self._taken())

    def resume_writing(self) -> None:
        self._stop_frozen_timer()
        super().resume_writing()

    def _taken(self) -> int:
        """Return a number that grows as the client reads what we send."""
        acknowledged = self.peer.acknowledged_bytes()
        return -self.transport.get_write_buffer_size() if acknowledged is None else acknowledged

    def _watch_frozen(self, taken: int) -> None:
        self._frozen_timer = self._timeouts.clock.call_later(self._timeouts.frozen_s, self._check_frozen, taken)

    def _check_frozen(self, taken_before: int) -> None:
        taken = self._taken()
        if taken > taken_before:
            self._watch_frozen(taken)
        else:
            # The client may be stopped, or wait for a pager. It reads nothing, and what waits for it uses memory.
            self.peer.reset()
            self.transport.abort()

    def _stop_frozen_timer(self) -> None:
        if self._frozen_timer is not None:
            self._frozen_timer.cancel()
            self._frozen_timer = None

    def _body_is_coming(self) -> bool:
        return not self.cycle.response_started and self.conn.their_state is h11.SEND_BODY

    def _rejected_body_still_coming(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete and self.conn.their_state is h11.SEND_BODY

    def _discard(self, received_bytes: int) -> None:
        if not self._discarded_bytes:
            self.loop.call_later(LINGER_S, self._end_linger)
        self._discarded_bytes += received_bytes
        if self._discarded_bytes > LINGER_BYTES:
            self.transport.close()

    def _end_linger(self) -> None:
        self._discarded_bytes = 0
        if self._rejected_body_still_coming():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with a problem, like every other error."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            # A response is already in progress and cannot be withdrawn.
            self.transport.close()
            return
        self._reject(unreadable(msg, sys.exception()))

    def _reject(self, problem: Problem) -> None:
        """Answer without a request that a handler could get, and close the connection."""
        for event in rejection(problem):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def shutdown(self) -> None:
        super().shutdown()
        # A client that does not read its response must not delay the shutdown.
        self.loop.call_later(DRAIN_TIMEOUT_S, self.transport.abort)
