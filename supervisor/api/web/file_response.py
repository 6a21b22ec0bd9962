"""Responses with a file that a job wrote, or a range of it.

What a job wrote is data. Whatever its type, a browser must not run it with the dashboard's session: it is sent as an
attachment, sandboxed, with the type that its name suggests. See RFC 9110, 14 (ranges) and 13.1 (conditions).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from supervisor.api.guard.problems import Kind, Problem
from supervisor.api.schemas.contents import media_type_of
from supervisor.engine.inspection import OpenFile
from supervisor.errors import NotReady

CHUNK_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]{0,40})-([0-9]{0,40})", re.IGNORECASE)
_FOR_BROWSERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "no-cache, private",
}


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` up to, not including, `end`."""

    start: int
    end: int


def file_response(file: OpenFile, path: bytes, headers: Headers, *, head: bool) -> Response:
    """Return a response with an open file, which is closed in any case. Raise Problem (416).

    With `head` there is no content and no range, which only GET can ask for (RFC 9110, 14.2).
    """
    try:
        modified = formatdate(file.modified_at, usegmt=True)
        answer = _FOR_BROWSERS | {
            "Accept-Ranges": "bytes",
            "Content-Disposition": _disposition(path),
            "Content-Type": media_type_of(path),
            "ETag": file.etag,
            "Last-Modified": modified,
        }
        if _is_known(headers, file.etag, file.modified_at):
            file.close()
            return Response(status_code=304, headers=answer)
        span = None if head else _wanted(headers, file.size_bytes, file.etag, modified)
        code = 200
        if span is not None:
            code = 206
            answer["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{file.size_bytes}"
        span = span or Span(0, file.size_bytes)
        answer["Content-Length"] = str(span.end - span.start)
        if head:
            file.close()
            return Response(status_code=code, headers=answer)
    except BaseException:
        file.close()
        raise
    return _FileStream(file, span, code, answer)


class _FileStream(StreamingResponse):
    """Owns the file, and closes it even if the client disconnects before the first byte."""

    def __init__(self, file: OpenFile, span: Span, status: int, headers: dict[str, str]) -> None:
        super().__init__(self._chunks(span), status, headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Not awaited: a cancelled request must close its file, too. If a read hangs, the file is closed after it.
            self._file.close()

    async def _chunks(self, span: Span) -> AsyncIterator[bytes]:
        position = span.start
        while position < span.end:
            try:
                data = await self._file.read(min(CHUNK_BYTES, span.end - position), position)
            except NotReady:
                data = b""  # the disk does not respond
            if not data:
                return  # the file has become shorter: the client sees that the length does not match
            position += len(data)
            yield data


def _wanted(headers: Headers, size: int, etag: str, modified: str) -> Span | None:
    """Return the requested range. None means the whole file, also for several ranges, which need not be supported."""
    given = headers.get("range")
    if given is None or headers.get("if-range", etag) not in (etag, modified):
        return None
    match = _RANGE.fullmatch(given.replace(" ", ""))
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None  # not a valid range: to be ignored
    else:
        start, end = max(0, size - int(last)), size
    if start >= end:
        detail = f"the file has {size} bytes, and none of them is in {given[:80]}"
        raise Problem(Kind.RANGE, detail, headers={"Content-Range": f"bytes */{size}"})
    return Span(start, end)


def _is_known(headers: Headers, etag: str, mtime: float) -> bool:
    tags = headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in tags.split(","))
    try:
        return int(mtime) <= parsedate_to_datetime(headers["if-modified-since"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return False


def _disposition(path: bytes) -> str:
    name = path.rpartition(b"/")[2]
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name.decode("utf-8", "replace"))
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
