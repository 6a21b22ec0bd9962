"""Handlers for those who watch the server."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

import supervisor
from supervisor.api import queries
from supervisor.api.responses import JsonResponse
from supervisor.api.schemas.answers import health_json, readiness_json
from supervisor.api.schemas.diagnosis import stuck_jobs_json
from supervisor.api.service import caller_of, service_of
from supervisor.core.checks import Check
from supervisor.core.loop_lag import WINDOW_S

RETRY_AFTER_S = 1


async def livez(request: Request) -> Response:
    """The event loop answers. That the answer comes at all is the information."""
    checks = None
    if queries.flag(request, "verbose", default=False):
        late_ms = service_of(request).supervisor.loop_lag.longest_s * 1000
        told = f"answers; at most {late_ms:.0f} ms late in the last {WINDOW_S:.0f} s"
        checks = {"event_loop": Check(True, told, numbers={"lag_ms": round(late_ms, 1)})}
    return JsonResponse(readiness_json(ready=True, checks=checks))


async def readyz(request: Request) -> Response:
    """Whether jobs are taken now. Free of the token, so `?verbose` tells strangers no path and no text of a task."""
    checks = service_of(request).checks()
    ready = all(check.ok for check in checks.values() if check.required)
    verbose = queries.flag(request, "verbose", default=False)
    return JsonResponse(
        readiness_json(
            ready=ready, checks={name: check.for_strangers() for name, check in checks.items()} if verbose else None
        ),
        200 if ready else 503,
        None if ready else {"Retry-After": str(RETRY_AFTER_S)},
    )


async def health(request: Request) -> Response:
    """Always 200: the words are in the body. Those who want a status code ask /readyz."""
    service, core = service_of(request), service_of(request).supervisor
    return JsonResponse(
        health_json(supervisor.__version__, core.containment, service.checks(), core.counts(caller_of(request)))
    )


async def stuck(request: Request) -> Response:
    """The jobs that hang, each with where it hangs. 503 when there are any: for monitors that look at the status."""
    rows = await service_of(request).supervisor.stuck_watch.diagnose(caller_of(request))
    return JsonResponse(stuck_jobs_json(rows), 503 if rows else 200)
