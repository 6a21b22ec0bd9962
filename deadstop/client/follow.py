"""A job's events as one unbroken sequence, although connections break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from deadstop.client.client import HOLDING_SILENCE_LIMIT_S, SILENCE_LIMIT_S, Client, Request
from deadstop.client.events import Event
from supervisor.cli.exit_codes import ExitCode
from supervisor.cli.exits import CommandError, Refused, StreamCut, Unreachable

FAR_BEHIND = 50
"""Events. Fewer than these are read faster than a new connection is made."""
RECONNECT_AFTER_S = (0.1, 0.4, 1.0, 1.5, 2.0)


async def follow(
    client: Client,
    job_id: str,
    opening: Request,
    *,
    after: int = 0,
    leaving_cancels: bool = False,
    on_cut: Callable[[str], None],
    skip_to: Callable[[], int] = lambda: 0,
) -> AsyncGenerator[Event]:
    """Events from `opening`, and after a cut from `GET /jobs/{id}/events` behind the last one seen.

    Ends after the terminal event, or when the server says that nothing is left. `on_cut` is told about each cut.
    With `leaving_cancels` the new streams stop the job as the first one did when we leave. When `skip_to` names an
    event far ahead, what lies between is left out: a flood may have filled every buffer on its way to us.

    Raises Refused when the opening is refused; Unreachable when no new connection works within some seconds;
    CommandError (3) when the server has forgotten the job, because it is then another server process.
    """
    request = opening
    attempts = iter(RECONNECT_AFTER_S)
    connected = False
    while True:
        try:
            async with client.stream(request) as events:
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
        except (Unreachable, Refused) as exc:
            if not connected or exc.code is not ExitCode.UNREACHABLE:
                raise _forgotten(client, job_id) if connected and _is_not_found(exc) else exc from None
            if isinstance(exc, StreamCut):
                on_cut(f"{exc}; reconnecting")
            pause_s = next(attempts, -1.0)
            if pause_s < 0:
                raise _lost_touch(client, job_id, exc) from None
        await asyncio.sleep(pause_s)
        request = resume_request(job_id, after, leaving_cancels=leaving_cancels)


def resume_request(job_id: str, after: int, *, leaving_cancels: bool = False) -> Request:
    params = (("on_disconnect", "cancel"),) if leaving_cancels else ()
    headers = (("Accept", "text/event-stream"), ("Last-Event-ID", str(after)))
    limit_s = HOLDING_SILENCE_LIMIT_S if leaving_cancels else SILENCE_LIMIT_S
    return Request("GET", f"/jobs/{job_id}/events", headers=headers, params=params, silence_limit_s=limit_s)


def _is_not_found(exc: CommandError) -> bool:
    return isinstance(exc, Refused) and exc.status == 404


def _lost_touch(client: Client, job_id: str, exc: CommandError) -> Unreachable:
    return Unreachable(
        f"lost the server at {client.address.url} before the end of job {job_id} ({exc}); "
        f"when it is back, ask: deadstop show {job_id}"
    )


def _forgotten(client: Client, job_id: str) -> CommandError:
    return CommandError(
        f"lost job {job_id}: the server at {client.address.url} was restarted and does not know it",
        ExitCode.UNPROVEN,
    )
