"""Answers to requests that no handler gets: what is not HTTP, and what is too large or too late."""

from __future__ import annotations

from http import HTTPStatus

import h11

from supervisor.api.guard.problems import HEAD_TOO_LARGE, MEDIA_TYPE, SHAPES, Kind, Problem


def unreadable(message: str, cause: BaseException | None) -> Problem:
    """Return the problem of a request that h11 cannot read."""
    too_large = SHAPES[Kind.HEADERS_TOO_LARGE].status
    if isinstance(cause, h11.RemoteProtocolError) and cause.error_status_hint == too_large:
        return Problem(Kind.HEADERS_TOO_LARGE, HEAD_TOO_LARGE)
    return Problem(Kind.BAD_REQUEST, f"cannot read the request: {message.rstrip('.')}")


def rejection(problem: Problem) -> tuple[h11.Event, ...]:
    """Return a whole response, after which the connection is to be closed."""
    body = problem.body()
    headers = [
        ("content-type", MEDIA_TYPE),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("connection", "close"),
    ]
    reason = HTTPStatus(problem.status).phrase.encode()
    response = h11.Response(status_code=problem.status, headers=headers, reason=reason)
    return response, h11.Data(data=body), h11.EndOfMessage()
