"""Handler of what is typed into a job."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from supervisor.api import queries
from supervisor.api.json_body import parse_object
from supervisor.api.responses import JsonResponse
from supervisor.api.schemas.bodies import InputBody, validate
from supervisor.api.schemas.contents import input_json
from supervisor.api.service import caller_of, service_of


async def write(request: Request) -> Response:
    job_id = queries.job_id(request)
    frame = validate(InputBody, parse_object(await request.body())).frame()
    record = await service_of(request).supervisor.lookup.find(job_id, caller_of(request))
    record.input.give(frame, record.job.state)
    return JsonResponse(input_json(record.input), 202)
