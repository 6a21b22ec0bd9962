"""Handler of the tasks."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from supervisor.api.responses import JsonResponse
from supervisor.api.schemas.answers import tasks_json
from supervisor.api.service import service_of


async def list_tasks(request: Request) -> Response:
    return JsonResponse(tasks_json(service_of(request).supervisor.tasks()))
