"""uvicorn's HTTP/1.1 protocol, with what it does not do for streams that hold a job's life."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from supervisor.api.peer import Peer
from supervisor.api.problems import MEDIA_TYPE, Kind, Problem

LINGER_S = 2.0
LINGER_BYTES = 16 * 1024 * 1024
"""How much of a refused body is read and thrown away, so that the client gets to see the refusal. Closing at once
would send a reset, which makes the client's kernel discard the answer."""
READ_AHEAD_BYTES = 64 * 1024
"""How much of a further request is taken in while a response is running."""
DRAIN_BOUND_S = 0.5
"""How long a shutdown waits for clients to take the rest of their responses."""


class Connection(H11Protocol):
    """One client connection. Handlers find its `Peer` as `scope["state"]["peer"]`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.peer = Peer(None)
        self._discarded_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = Peer(transport.get_extra_info("socket"))
        self.app_state = {**self.app_state, "peer": self.peer}

    def connection_lost(self, exc: Exception | None) -> None:
        # First: uvicorn wakes the handlers, and they ask the peer how it left.
        self.peer.lost(exc)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._refused_body_still_coming():
            self._discard(len(data))
        elif self.flow.read_paused and len(self.conn.trailing_data[0]) < READ_AHEAD_BYTES:
            # A pipelined request waits for its turn. uvicorn stops reading then, and would not see the client close.
            self.flow.resume_reading()

    def _refused_body_still_coming(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete and self.conn.their_state is h11.SEND_BODY

    def _discard(self, received_bytes: int) -> None:
        if not self._discarded_bytes:
            self.loop.call_later(LINGER_S, self._end_linger)
        self._discarded_bytes += received_bytes
        if self._discarded_bytes > LINGER_BYTES:
            self.transport.close()

    def _end_linger(self) -> None:
        self._discarded_bytes = 0
        if self._refused_body_still_coming():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem, like every other refusal."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            # It came in the middle of a response, which cannot be taken back.
            self.transport.close()
            return
        problem = Problem(Kind.BAD_REQUEST, f"cannot read the request: {msg.rstrip('.')}")
        body = problem.body()
        headers = [
            ("content-type", MEDIA_TYPE),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ]
        for event in (
            h11.Response(status_code=problem.status, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def shutdown(self) -> None:
        super().shutdown()
        # A client that does not read its response must not hold up the end of the server.
        self.loop.call_later(DRAIN_BOUND_S, self.transport.abort)
