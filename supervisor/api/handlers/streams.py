"""Handlers for event streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request
from starlette.responses import Response

from supervisor.api.guard import queries
from supervisor.api.guard.hosts import check_origin
from supervisor.api.guard.rate_limits import StreamPlace
from supervisor.api.handlers.jobs import asked_job
from supervisor.api.handlers.service import caller_of, peer_of, principal_of, service_of
from supervisor.api.schemas.encoding import JsonResponse
from supervisor.api.web.sse import EventStream, Hold, all_events, job_events
from supervisor.core.jobs.event_log import Gap
from supervisor.core.jobs.model import OnDisconnect
from supervisor.core.jobs.registry import AnyJob, LiveJob
from supervisor.core.streams.history import story_of

MAX_ANSWER_BYTES = 8 * 1024 * 1024


async def execute_stream(request: Request) -> Response:
    """Create a job and stream it. Nothing is awaited between the admission and the response."""
    asked, checked = await asked_job(request)
    with _place(request) as place:
        known, _ = service_of(request).supervisor.admit(asked, caller=caller_of(request), checked=checked)
        return _stream(request, place, known, 0, holds=asked.on_disconnect is OnDisconnect.CANCEL)


async def of_job(request: Request) -> Response:
    record = await service_of(request).supervisor.lookup.find(queries.job_id(request), caller_of(request))
    after = queries.resume_after(request)
    holds = queries.holds_life(request)
    # A number that was never assigned (by another job that had this ID, say) means nothing: continue from now.
    after = min(after, record.log.last_id)
    if not queries.flag(request, "follow", default=not _prefers_json(request)):
        return JsonResponse(await _events_json(request, record, after))
    if record.log.ended and after >= record.log.last_id:
        return Response(status_code=204)
    if holds:
        # The only GET that can change something, by its end: pages of other sites must not be able to.
        check_origin(request.headers)
    with _place(request) as place:
        return _stream(request, place, record, after, holds=holds)


async def of_all(request: Request) -> Response:
    service = service_of(request)
    with _place(request) as place:
        return EventStream(all_events(service.supervisor.feed, service.drain, caller_of(request)), place)


@contextmanager
def _place(request: Request) -> Iterator[StreamPlace]:
    """Count a stream of the token for the response made in the block. Raise Problem (429) if it has too many."""
    place = service_of(request).streams.enter(principal_of(request))
    try:
        yield place
    except BaseException:
        place.leave()
        raise


def _stream(request: Request, place: StreamPlace, known: AnyJob, after: int, *, holds: bool) -> Response:
    service = service_of(request)
    chunks = job_events(service.supervisor, story_of(known), after, service.drain)
    if not holds or request.method == "HEAD" or not isinstance(known, LiveJob):
        return EventStream(chunks, place)
    hold = Hold(service.supervisor, known, peer_of(request))
    try:
        return EventStream(chunks, place, hold=hold)
    except BaseException:
        hold.release()
        raise


def _prefers_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/event-stream" not in accept


async def _events_json(request: Request, record: LiveJob, after: int) -> bytes:
    """Return as many events as fit one answer; `last_event_id` is where the next answer continues."""
    supervisor, story = service_of(request).supervisor, story_of(record)
    lines: list[str] = []
    size = 0
    while size < MAX_ANSWER_BYTES and (items := await supervisor.lookup.events(story, after)):
        for item in items:
            if isinstance(item, Gap):
                lines.append(json.dumps({"type": "stream.gap", "from": item.first, "to": item.last}))
                after = item.last
            else:
                lines.append(item.data)
                size += len(item.data)
                after = item.id
    return f'{{"events":[{",".join(lines)}],"last_event_id":{after}}}'.encode("ascii")
