"""Handlers of jobs: create, list, look, cancel, forget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from supervisor.api import queries
from supervisor.api.json_body import parse_object
from supervisor.api.queries import JobFilter, Position
from supervisor.api.responses import JsonResponse, json_bytes
from supervisor.api.schemas.answers import job_json, unknown_job_json
from supervisor.api.schemas.bodies import CancelBody, CreateBody, validate
from supervisor.api.schemas.diagnosis import processes_json, stack_json
from supervisor.api.service import caller_of, service_of, trace_of
from supervisor.core.model import Cause, JobRequest, Reason
from supervisor.core.registry import Record
from supervisor.errors import InvalidRequest

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""A page of the list ends early past this: inputs and results can be large, and one answer must not hold up others."""


async def create(request: Request) -> Response:
    supervisor = service_of(request).supervisor
    record, created = supervisor.submit(await asked_job(request), caller=caller_of(request))
    headers = {"Location": f"/jobs/{record.job.id}"}
    return JsonResponse(job_json(record), 202 if created else 200, headers)


async def asked_job(request: Request) -> JobRequest:
    """The job in the body, for every route that creates one. Raises InvalidRequest."""
    body = validate(CreateBody, parse_object(await request.body()))
    return body.request(queries.idempotency_key(request), trace_of(request))


async def list_jobs(request: Request) -> Response:
    wanted = queries.job_filter(request)
    records = matching(service_of(request).supervisor.records(caller_of(request)), wanted)
    page: list[bytes] = []
    page_bytes = 0
    last: Record | None = None
    next_cursor: str | None = None
    for record in records:
        if last is not None and (len(page) == wanted.limit or page_bytes > MAX_PAGE_BYTES):
            next_cursor = Position(last.job.id, last.job.created_at.timestamp()).cursor()
            break
        page.append(json_bytes(job_json(record)))
        page_bytes += len(page[-1])
        last = record
    return JsonResponse(b'{"jobs":[%b],"next_cursor":%b}' % (b",".join(page), json_bytes(next_cursor)))


def matching(records: Iterable[Record], wanted: JobFilter) -> Iterator[Record]:
    """Those that the filter wants, behind its position. `records` are newest first."""
    labels = set(wanted.labels)
    for record in _behind(list(records), wanted.behind):
        if wanted.states is not None and record.job.state not in wanted.states:
            continue
        if wanted.stuck is not None and wanted.stuck is (record.stuck is None):
            continue
        if labels <= record.job.request.labels.items():
            yield record


def _behind(records: list[Record], position: Position | None) -> list[Record]:
    if position is None:
        return records
    for index, record in enumerate(records):
        if record.job.id == position.id:
            return records[index + 1 :]
    # That job was forgotten in between: what is older than it follows.
    return [record for record in records if record.job.created_at.timestamp() < position.created_at]


async def show(request: Request) -> Response:
    record = service_of(request).supervisor.record(queries.job_id(request), caller_of(request))
    return JsonResponse(job_json(record))


async def cancel(request: Request) -> Response:
    """Never refused for load: stopping work is what an overloaded server needs."""
    detected = time.monotonic()
    service = service_of(request)
    job_id = queries.job_id(request)
    wait_s = queries.wait_s(request)
    cause = _cause(await request.body(), detected, service.supervisor.settings.cancel_budget_s)
    record = service.supervisor.cancel(job_id, cause, caller=caller_of(request))
    if record is None:
        return JsonResponse(unknown_job_json(job_id), 202)
    if wait_s > 0:
        with service.gate.waiting(), suppress(TimeoutError):
            await asyncio.wait_for(record.finished.wait(), wait_s)
    return JsonResponse(job_json(record), 200 if record.job.state.terminal else 202)


def _cause(body: bytes, detected: float, max_budget_s: float) -> Cause:
    asked = validate(CancelBody, parse_object(body)) if body.strip() else CancelBody()
    if asked.budget_s is not None and asked.budget_s > max_budget_s:
        raise InvalidRequest.at("budget_s", f"must be at most {max_budget_s:g}, the server's CANCEL_BUDGET_S")
    return Cause(
        reason=Reason.API,
        detected=detected,
        requested_at=datetime.now(UTC),
        detail=asked.reason,
        force=bool(asked.force),
        budget_s=asked.budget_s,
    )


async def forget(request: Request) -> Response:
    service_of(request).supervisor.forget(queries.job_id(request), caller_of(request))
    return Response(status_code=204)


async def processes(request: Request) -> Response:
    rows = await service_of(request).supervisor.processes(queries.job_id(request), caller_of(request))
    return JsonResponse(processes_json(rows))


async def stack(request: Request) -> Response:
    taken = await service_of(request).supervisor.stack(queries.job_id(request), caller_of(request))
    return JsonResponse(stack_json(taken))
