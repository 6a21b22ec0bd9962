"""Reading a request's body: its type, its size, and how it reaches the handler."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from supervisor.api.guard.problems import Kind, Problem

MAX_BODY_BYTES = 1024 * 1024
"""For bodies that create a job."""
MAX_TYPED_BYTES = 448 * 1024
"""For bodies with 64 KiB of input for a job: JSON may write six bytes for one."""
MAX_SMALL_BYTES = 16 * 1024
"""For every other body."""


class ClientLeft(Exception):
    """Raised when the connection ends before the body is complete."""


async def read_body(headers: Headers, receive: Receive, max_bytes: int) -> bytes:
    """Read the whole body. Its type is checked as soon as there is any of it, and its announced size before that.

    Raise Problem (415, 413) or ClientLeft.
    """
    announced = _content_length(headers)
    if announced:
        _check_content_type(headers)
        if announced > max_bytes:
            raise _too_large(max_bytes)
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        chunk = message.get("body", b"")
        if chunk and not body:
            _check_content_type(headers)
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        more = message.get("more_body", False)
    return bytes(body)


def _content_length(headers: Headers) -> int:
    value = headers.get("content-length", "0")
    # The HTTP parser has already rejected what is not a number.
    return int(value) if value.isdigit() else 0


def _check_content_type(headers: Headers) -> None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" or headers.get("content-encoding", "identity").lower() != "identity":
        declared = headers.get("content-encoding") or media_type or "nothing"
        raise Problem(
            Kind.UNSUPPORTED_MEDIA_TYPE,
            f"the body is declared as {declared[:100]}; send Content-Type: application/json",
        )


def _too_large(max_bytes: int) -> Problem:
    size = "1 MiB" if max_bytes == MAX_BODY_BYTES else f"{max_bytes // 1024} KiB"
    return Problem(Kind.TOO_LARGE, f"the body is larger than {max_bytes} bytes ({size})")


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that delivers the body once, and then what comes from the connection: its end."""
    pending: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        message = next(pending, None)
        return await receive() if message is None else message

    return replay
