"""Handlers for jobs: create, list, show, send input, renew the lease, cancel, forget, inspect."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from supervisor.api.guard import queries
from supervisor.api.guard.json_body import MAX_VALUES, parse_object
from supervisor.api.handlers.service import caller_of, peer_of, service_of, trace_of
from supervisor.api.schemas.answers import job_json, unknown_job_json
from supervisor.api.schemas.bodies import CancelBody, CreateBody, InputBody, LeaseBody, validate
from supervisor.api.schemas.contents import input_json, lease_json
from supervisor.api.schemas.diagnosis import processes_json, stack_json
from supervisor.api.schemas.encoding import JsonResponse, json_bytes
from supervisor.core.jobs.model import Cause, JobRequest, Reason
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.tasks.checking import Checked
from supervisor.errors import InvalidRequest, StorageFull

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""A page of the list ends early beyond this size: inputs and results can be large, and one response must not delay
others."""
AT_ONCE_BYTES = 16 * 1024
"""Bodies up to this size are parsed on the event loop, which takes a few milliseconds."""


async def create(request: Request) -> Response:
    supervisor, caller = service_of(request).supervisor, caller_of(request)
    asked, checked = await asked_job(request)
    known, created = await supervisor.submit(asked, caller=caller, checked=checked)
    record = known if isinstance(known, LiveJob) else await supervisor.lookup.find(known.id, caller)
    headers = {"Location": f"/jobs/{record.job.id}"}
    return JsonResponse(job_json(record), 202 if created else 200, headers)


async def asked_job(request: Request) -> tuple[JobRequest, Checked]:
    """Return the job in the body, and the result of checking its input against its task.

    Nothing is awaited after the check. Raise InvalidRequest, or NotReady if too many large bodies are waiting.
    """
    supervisor, data = service_of(request).supervisor, await request.body()
    large = len(data) > AT_ONCE_BYTES

    def read() -> CreateBody:
        return validate(CreateBody, parse_object(data, max_values=MAX_VALUES))

    body = await supervisor.checking.read(read, large=large)
    asked = body.request(queries.idempotency_key(request), trace_of(request))
    return asked, await supervisor.checking.input(asked, large=large)


async def list_jobs(request: Request) -> Response:
    found = await service_of(request).supervisor.lookup.page(queries.wanted_jobs(request), caller_of(request))
    before = found.before
    page: list[bytes] = []
    page_bytes = 0
    for record in found.records:
        page.append(json_bytes(job_json(record)))
        page_bytes += len(page[-1])
        if page_bytes > MAX_PAGE_BYTES and record is not found.records[-1]:
            before = record.seq
            break
        if len(page[-1]) > AT_ONCE_BYTES:
            await asyncio.sleep(0)  # let other tasks run between two large jobs
    next_cursor = None if before is None else queries.cursor(before)
    return JsonResponse(b'{"jobs":[%b],"next_cursor":%b}' % (b",".join(page), json_bytes(next_cursor)))


async def show(request: Request) -> Response:
    record = await service_of(request).supervisor.lookup.find(queries.job_id(request), caller_of(request))
    return JsonResponse(job_json(record))


async def cancel(request: Request) -> Response:
    """Cancel a job. This is never rejected for load: an overloaded server needs work to be stopped."""
    service, peer = service_of(request), peer_of(request)
    detected = time.monotonic() if peer is None or peer.heard_at is None else peer.heard_at
    job_id = queries.job_id(request)
    wait_s = queries.wait_s(request)
    cause = _cause(await request.body(), detected, service.supervisor.settings.cancel_budget_s)
    caller = caller_of(request)
    if not service.supervisor.cancel(job_id, cause, caller=caller):
        with suppress(StorageFull):  # the cancellation is then kept only in memory
            await service.supervisor.journal.written()
        return JsonResponse(unknown_job_json(job_id), 202)
    record = await service.supervisor.lookup.find(job_id, caller)
    if wait_s > 0:
        with service.drain.waiting(), suppress(TimeoutError):
            await asyncio.wait_for(record.finished.wait(), wait_s)
    return JsonResponse(job_json(record), 200 if record.job.state.terminal else 202)


def _cause(body: bytes, detected: float, max_budget_s: float) -> Cause:
    asked = validate(CancelBody, parse_object(body)) if body.strip() else CancelBody()
    if asked.budget_s is not None and asked.budget_s > max_budget_s:
        raise InvalidRequest.at("budget_s", f"must be at most {max_budget_s:g}, the server's DEADSTOP_CANCEL_BUDGET_S")
    return Cause(
        reason=Reason.API,
        detected=detected,
        requested_at=datetime.now(UTC) - timedelta(seconds=time.monotonic() - detected),
        detail=asked.reason,
        force=bool(asked.force),
        budget_s=asked.budget_s,
    )


async def write_input(request: Request) -> Response:
    job_id = queries.job_id(request)
    frame = validate(InputBody, parse_object(await request.body())).frame()
    record = await service_of(request).supervisor.lookup.find(job_id, caller_of(request))
    record.input.give(frame, record.job.state)
    return JsonResponse(input_json(record.input), 202)


async def renew_lease(request: Request) -> Response:
    job_id = queries.job_id(request)
    body = await request.body()
    if body.strip():
        validate(LeaseBody, parse_object(body))
    supervisor = service_of(request).supervisor
    record = await supervisor.lookup.find(job_id, caller_of(request))
    return JsonResponse(lease_json(supervisor.leases.renew(record.job)))


async def forget(request: Request) -> Response:
    await service_of(request).supervisor.forget(queries.job_id(request), caller_of(request))
    return Response(status_code=204)


async def processes(request: Request) -> Response:
    rows = await service_of(request).supervisor.processes(queries.job_id(request), caller_of(request))
    return JsonResponse(processes_json(rows))


async def stack(request: Request) -> Response:
    native = queries.flag(request, "native", default=False)
    taken = await service_of(request).supervisor.stack(queries.job_id(request), caller_of(request), native=native)
    return JsonResponse(stack_json(taken))
