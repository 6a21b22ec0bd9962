"""Streams of server-sent events.

A stream only reads a log: it never awaits the job, and the job never awaits it. If the job depends on the stream, the
stream reports its end to the core by a synchronous call in a `finally`, whatever the cause.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus
from starlette.types import Receive, Scope, Send

from supervisor.api.guard.rate_limits import StreamPlace
from supervisor.api.web.drain import Drain
from supervisor.api.web.peer import Peer
from supervisor.core.jobs.event_log import Event, Gap
from supervisor.core.jobs.model import Caller
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.streams.feed import Feed
from supervisor.core.streams.history import Story
from supervisor.core.supervisor import Supervisor

HEARTBEAT = b": hb\n"
HOLDING_HEARTBEAT_S = 0.3
"""Streams that a job depends on send something this often, so that a vanished client is noticed."""
IDLE_HEARTBEAT_S = 15.0
"""On other streams the heartbeat only keeps proxies from closing them."""
MAX_CHUNK_BYTES = 64 * 1024


def leave_shutdown_to_drain() -> None:
    """Keep sse-starlette from ending streams as soon as the server stops: they must deliver their last events first."""
    AppStatus.enable_automatic_graceful_drain = False


class _Heartbeat(ServerSentEvent):
    """A comment without the blank line after it, which some clients would take for an event without data."""

    def encode(self) -> bytes:
        return HEARTBEAT


class Hold:
    """One stream's part in a job's life. It begins at once and ends exactly once, with `release`."""

    def __init__(self, supervisor: Supervisor, record: LiveJob, peer: Peer | None) -> None:
        self._supervisor = supervisor
        self._record = record
        self._peer = peer
        self._released = False
        supervisor.attach(record)
        if peer is not None:
            peer.watch(supervisor.settings.vanished_after_s)

    def release(self) -> None:
        """Leave. When this was the last stream the core cancels the job."""
        if self._released:
            return
        self._released = True
        vanished, left_at = False, None
        if self._peer is not None:
            self._peer.unwatch()
            vanished, left_at = self._peer.vanished, self._peer.left_at
        self._supervisor.detach(self._record, vanished=vanished, left_at=left_at)


class EventStream(EventSourceResponse):
    """A 200 with events. `place` and `hold` are given back when the response is over, whatever ended it."""

    def __init__(self, chunks: AsyncIterator[bytes], place: StreamPlace, *, hold: Hold | None = None) -> None:
        super().__init__(
            chunks,
            ping=IDLE_HEARTBEAT_S if hold is None else HOLDING_HEARTBEAT_S,
            ping_message_factory=_Heartbeat,
            sep="\n",
        )
        self._place = place
        self._hold = hold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._place.leave()
            if self._hold is not None:
                self._hold.release()


async def job_events(supervisor: Supervisor, story: Story, after: int, drain: Drain) -> AsyncGenerator[bytes]:
    """Yield the events after number `after`, then new ones, until the job's last."""
    log = story.log
    while True:
        chunk = bytearray()
        for item in await supervisor.lookup.events(story, after):
            chunk += encode(item)
            after = item.last if isinstance(item, Gap) else item.id
            if len(chunk) >= MAX_CHUNK_BYTES:
                break
        if chunk:
            yield bytes(chunk)
        elif log.ended:
            return
        elif drain.started:
            yield CLOSING
            return
        else:
            with drain.waiting():
                await log.wait_beyond(after)


async def all_events(feed: Feed, drain: Drain, caller: Caller) -> AsyncGenerator[bytes]:
    """Yield the events of the caller's jobs from now on. They have no `id:`, because each job counts its own."""
    subscription = feed.subscribe(caller)
    try:
        async with aclosing(cast("AsyncGenerator[Event]", aiter(subscription))) as events:
            while True:
                event = None
                with drain.waiting():
                    event = await anext(events, None)
                if subscription.dropped:
                    dropped, subscription.dropped = subscription.dropped, 0
                    yield _frame("stream.gap", {"from": None, "to": None, "dropped": dropped})
                if event is None:
                    yield CLOSING
                    return
                yield f"event: {event.type}\ndata: {event.data}\n\n".encode("ascii")
    finally:
        feed.unsubscribe(subscription)


def encode(item: Event | Gap) -> bytes:
    """Return one frame. Only events are numbered: a gap must not move the number from which a client resumes."""
    if isinstance(item, Gap):
        return _frame("stream.gap", {"from": item.first, "to": item.last})
    return f"id: {item.id}\nevent: {item.type}\ndata: {item.data}\n\n".encode("ascii")


def _frame(type_: str, fields: dict[str, int | None]) -> bytes:
    return f"event: {type_}\ndata: {json.dumps({'type': type_, **fields})}\n\n".encode("ascii")


CLOSING = _frame("stream.closing", {})
"""Sent when the server ends the stream before its job has ended. The client can resume at the next server."""
