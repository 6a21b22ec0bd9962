"""The endpoints for the files that jobs leave."""

from __future__ import annotations

from supervisor.api.endpoint import ANY, Answer, Endpoint, Parameter
from supervisor.api.guard.problems import Kind
from supervisor.api.guard.rules import Access
from supervisor.api.handlers import files
from supervisor.api.schemas import contents

_TEXT = {"type": "string"}

FILE_ENDPOINTS = (
    Endpoint(
        "GET",
        "/jobs/{id}/files",
        files.list_files,
        Access.READ,
        group="Look",
        summary="List the files that a job left",
        about="What it had written to `out/` when it succeeded; with `keep_files` also when it did not. "
        "Nothing as long as it has not ended.",
        answers=(Answer(200, "The files, sorted by path.", contents.FilesJson),),
        problems=(Kind.INVALID, Kind.NOT_FOUND),
        example='curl $URL/jobs/$ID/files -H "$AUTH"',
    ),
    Endpoint(
        "GET",
        "/jobs/{id}/files/{path:anything}",
        files.download,
        Access.READ,
        group="Look",
        summary="Download a file that a job left",
        about="One range can be asked for. It comes as an attachment that no browser runs as a page of this server.",
        answers=(
            Answer(200, "The file.", media_type=ANY),
            Answer(206, "The range.", media_type=ANY),
            Answer(304, "The one that you have is good (`If-None-Match`, `If-Modified-Since`)."),
        ),
        parameters=(Parameter("Range", _TEXT, "Such as `bytes=0-1023` or `bytes=-500`.", where="header"),),
        problems=(Kind.INVALID, Kind.NOT_FOUND, Kind.RANGE),
        example='curl -O $URL/jobs/$ID/files/report.txt -H "$AUTH"',
    ),
)
