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
    retries = _Retries(transport, job_id, after, on_cut)
    while True:
        try:
            async with transport.stream(request) as events:
                retries.connected = True
                async for event in events:
                    if not retries.is_new(event):
                        continue
                    yield event
                    if event.terminal:
                        return
                    if skip_to() > retries.after + FAR_BEHIND:
                        break
                else:
                    return
            retries.after = skip_to()
        except (Unreachable, Rejected) as exc:
            await retries.pause(exc)
        request = resume_request(job_id, retries.after, attached=attached)


def resume_request(job_id: str, after: int, *, attached: bool = False) -> Request:
    params = (("on_disconnect", "cancel"),) if attached else ()
    headers = (("Accept", "text/event-stream"), ("Last-Event-ID", str(after)))
    limit_s = ATTACHED_SILENCE_LIMIT_S if attached else SILENCE_LIMIT_S
    return Request("GET", f"/jobs/{job_id}/events", headers=headers, params=params, silence_limit_s=limit_s)


class _Retries:
    """Knows how far the reader has come. Decides after a cut whether to connect again, and waits before it."""

    def __init__(self, transport: Transport, job_id: str, after: int, on_cut: Callable[[str], None]) -> None:
        self._url = transport.address.url
        self._job_id = job_id
        self._on_cut = on_cut
        self.after = after
        """The number of the last event that was seen."""
        self.connected = False
        self._pauses_s = iter(RECONNECT_AFTER_S)

    def is_new(self, event: Event) -> bool:
        """Return False for an event that was seen before the cut. Progress starts the pauses over."""
        if event.id is not None:
            if event.id <= self.after:
                return False
            self.after = event.id
            self._pauses_s = iter(RECONNECT_AFTER_S)
        return True

    async def pause(self, exc: Unreachable | Rejected) -> None:
        if not self.connected:
            raise exc
        if isinstance(exc, Rejected) and not exc.unavailable:
            raise self._forgotten() if exc.status == 404 else exc from None
        if isinstance(exc, StreamCut):
            self._on_cut(f"{exc}; reconnecting")
        pause_s = next(self._pauses_s, None)
        if pause_s is None:
            raise self._lost_touch(exc) from None
        await asyncio.sleep(pause_s)

    def _lost_touch(self, exc: ClientError) -> Unreachable:
        return Unreachable(
            f"lost the server at {self._url} before the end of job {self._job_id} ({exc})",
            remedy=f"when it is back, ask: deadstop show {self._job_id}",
        )

    def _forgotten(self) -> JobForgotten:
        return JobForgotten(f"lost job {self._job_id}: the server at {self._url} was restarted and does not know it")
