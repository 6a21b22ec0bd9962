"""Handlers for the server itself: tasks, health checks and metrics."""

from __future__ import annotations

from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

import supervisor
from supervisor.api.guard import queries
from supervisor.api.handlers.service import caller_of, service_of
from supervisor.api.schemas.answers import health_json, readiness_json, tasks_json
from supervisor.api.schemas.diagnosis import stuck_jobs_json
from supervisor.api.schemas.encoding import JsonResponse
from supervisor.core.telemetry.loop_lag import WINDOW_S
from supervisor.engine.inspection import Check

RETRY_AFTER_S = 1


async def list_tasks(request: Request) -> Response:
    return JsonResponse(tasks_json(service_of(request).supervisor.tasks()))


async def livez(request: Request) -> Response:
    """Answer as long as the event loop runs. The information is that there is an answer."""
    checks = None
    if queries.flag(request, "verbose", default=False):
        late_ms = service_of(request).supervisor.loop_lag.longest_s * 1000
        detail = f"answers; at most {late_ms:.0f} ms late in the last {WINDOW_S:.0f} s"
        checks = {"event_loop": Check(True, detail, numbers={"lag_ms": round(late_ms, 1)})}
    return JsonResponse(readiness_json(ready=True, checks=checks))


async def readyz(request: Request) -> Response:
    """Report whether the server accepts jobs. No token is needed, so `?verbose` shows no path and no text of a task."""
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
    """Always answer 200, with the status in the body. /readyz has a status code."""
    service, core = service_of(request), service_of(request).supervisor
    return JsonResponse(
        health_json(supervisor.__version__, core.containment, service.checks(), core.counts(caller_of(request)))
    )


async def stuck(request: Request) -> Response:
    """List the stuck jobs with their stacks. The status is 503 if there are any, for monitors that only look at it."""
    rows = await service_of(request).supervisor.stuck_watch.diagnose(caller_of(request))
    return JsonResponse(stuck_jobs_json(rows), 503 if rows else 200)


async def metrics(request: Request) -> Response:
    """Answer in Prometheus' text format, or in OpenMetrics with exemplars if the client accepts it."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(service_of(request).supervisor.metrics.registry), headers={"Content-Type": content_type})
