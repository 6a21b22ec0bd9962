"""Handlers for the files that jobs leave."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from supervisor.api.guard import queries
from supervisor.api.handlers.service import caller_of, service_of
from supervisor.api.schemas.contents import files_json
from supervisor.api.schemas.encoding import JsonResponse
from supervisor.api.web.file_response import file_response
from supervisor.errors import NotFound


class _Anything(Convertor[str]):
    """The rest of a path. Starlette's own convertor ends at a line break, which file names may contain."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", _Anything())


async def list_files(request: Request) -> Response:
    """List the job's files. A job that has not ended has none yet."""
    supervisor = service_of(request).supervisor
    job_id = (await supervisor.lookup.find(queries.job_id(request), caller_of(request))).job.id
    found, truncated = await supervisor.files.list(job_id)
    return JsonResponse(files_json(job_id, found, truncated=truncated))


async def download(request: Request) -> Response:
    supervisor = service_of(request).supervisor
    job = (await supervisor.lookup.find(queries.job_id(request), caller_of(request))).job
    if not job.state.terminal:
        raise NotFound(f"cannot find files of job {job.id}: it is {job.state}, and its files come when it has ended")
    path = _path(request)
    # Nothing is awaited between this call and the response that closes the file.
    file = await supervisor.files.open(job.id, path)
    return file_response(file, path, request.headers, head=request.method == "HEAD")


def _path(request: Request) -> bytes:
    """Return the path after `/files/` as bytes: a job's files may have names that are not UTF-8."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return unquote_to_bytes(raw.partition(b"?")[0]).split(b"/", 4)[4]
