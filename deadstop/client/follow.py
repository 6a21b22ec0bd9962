"""A job's events as one unbroken sequence, although connections break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from deadstop.client.errors import ClientError, JobForgotten, Rejected, StreamCut, Unreachable
from deadstop.client.events import Event
from deadstop.client.transport import ATTACHED_SILENCE_LIMIT_S, SILENCE_LIMIT_S, Request, Transport

FAR_BEHIND = 50
"""Events. Reading fewer than these takes less time than making a new connection."""
RECONNECT_AFTER_S = (0.1, 0.4, 1.0, 1.5, 2.0)


async def follow(
    transport: Transport,
    job_id: str,
    opening: Request,
    *,
    after: int = 0,
    attached: bool = False,
    on_cut: Callable[[str], None],
    skip_to: Callable[[], int] = lambda: 0,
) -> AsyncGenerator[Event]:
    """Yield the events from `opening`, and after a cut from `GET /jobs/{id}/events` behind the last one seen.

    The events end after the terminal one, or when the server answers that nothing is left. `on_cut` is called with
    a line about each cut. With `attached`, leaving the new streams cancels the job, as leaving the first one does.
    If `skip_to` names an event far ahead, those in between are left out: a flood may have filled every buffer.

    Raise Rejected if the server rejects the opening, Unreachable if no new connection succeeds within some seconds,
    and JobForgotten if the server does not know the job any more, because it is another server process by then.
    """
    request = opening
    attempts = iter(RECONNECT_AFTER_S)
    connected = False
    while True:
        try:
            async with transport.stream(request) as events:
                connected = True
                async for event in events:
                    if event.id is not None:
                        if event.id <= after:
                            continue
                        after = event.id
                        attempts = iter(RECONNECT_AFTER_S)
                    yield event
                    if event.terminal:
                        return
                    if skip_to() > after + FAR_BEHIND:
                        break
                else:
                    return
            after, pause_s = skip_to(), 0.0
        except (Unreachable, Rejected) as exc:
            if not connected:
                raise
            if isinstance(exc, Rejected) and not exc.unavailable:
                raise _forgotten(transport, job_id) if exc.status == 404 else exc from None
            if isinstance(exc, StreamCut):
                on_cut(f"{exc}; reconnecting")
            pause_s = next(attempts, -1.0)
            if pause_s < 0:
                raise _lost_touch(transport, job_id, exc) from None
        await asyncio.sleep(pause_s)
        request = resume_request(job_id, after, attached=attached)


def resume_request(job_id: str, after: int, *, attached: bool = False) -> Request:
    params = (("on_disconnect", "cancel"),) if attached else ()
    headers = (("Accept", "text/event-stream"), ("Last-Event-ID", str(after)))
    limit_s = ATTACHED_SILENCE_LIMIT_S if attached else SILENCE_LIMIT_S
    return Request("GET", f"/jobs/{job_id}/events", headers=headers, params=params, silence_limit_s=limit_s)


def _lost_touch(transport: Transport, job_id: str, exc: ClientError) -> Unreachable:
    return Unreachable(
        f"lost the server at {transport.address.url} before the end of job {job_id} ({exc})",
        remedy=f"when it is back, ask: deadstop show {job_id}",
    )


def _forgotten(transport: Transport, job_id: str) -> JobForgotten:
    return JobForgotten(f"lost job {job_id}: the server at {transport.address.url} was restarted and does not know it")
