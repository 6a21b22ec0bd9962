"""Errors between a program and a server, for reasons that a person can act on.

ClientError            one line: what cannot be done, why, and what to do about it
├── NotConfigured      the URL or the token cannot be used, or is not found
├── Unreachable        nothing answers at the URL, or what answers is not Deadstop
│   └── StreamCut      a stream ended before its job did; `follow` reconnects
├── Rejected           the server answered with an error (RFC 9457)
└── JobForgotten       the server was restarted and does not know the job
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from deadstop.client.address import Address

_TAKES_NO_JOBS = {429, 503, 507}


class ClientError(Exception):
    """Base of the errors of this package. As text it is the message and the remedy, on one line.

    `type` is stable, such as `not-found`; `field` names the part of the request or the setting that is wrong, if one
    is; `remedy` says what to do, if that is known.
    """

    def __init__(self, message: str, type_: str, *, field: str | None = None, remedy: str | None = None) -> None:
        self.message = message
        self.type = type_
        self.field = field
        self.remedy = remedy
        super().__init__(f"{message}; {remedy}" if remedy else message)


class NotConfigured(ClientError):
    """Raised when the URL or the token cannot be used, or no folder can hold one. `field` is `url` or `token`."""


class Unreachable(ClientError):
    """Raised when nothing answers at the URL, or the answer does not come from Deadstop."""

    def __init__(self, message: str, type_: str = "unreachable", *, remedy: str | None = None) -> None:
        super().__init__(message, type_, remedy=remedy)


class StreamCut(Unreachable):
    """Raised when a stream ends, fails or goes silent before the terminal event."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "stream-cut")


class JobForgotten(ClientError):
    """Raised when the server does not know a job any more whose events were being followed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "job-forgotten")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One error in a request. `field` is a dotted path such as `input.width`, "" for the whole body."""

    field: str
    message: str

    def __str__(self) -> str:
        return _one_line(f"{self.field}: {self.message}" if self.field else self.message)


class Rejected(ClientError):
    """Raised when the server answers with an error. `type` is the end of the problem's type, such as `not-found`."""

    def __init__(
        self,
        message: str,
        type_: str,
        status: int,
        fields: tuple[FieldError, ...] = (),
        retry_after_s: float | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, type_, field=fields[0].field or None if fields else None, remedy=remedy)
        self.status = status
        self.fields = fields
        self.retry_after_s = retry_after_s

    @property
    def unavailable(self) -> bool:
        """Whether the server accepts nothing from us now, whatever the request: its fault, or that of the token."""
        return self.status == 401 or self.status in _TAKES_NO_JOBS or self.status >= 500


def from_response(response: httpx.Response, address: Address) -> ClientError:
    """Return what to raise for a response with an error status. Its body must have been read."""
    problem = _problem(response)
    if problem is None:
        kind = response.headers.get("content-type", "no content type")
        return not_deadstop(address, f"status {response.status_code}, {kind}")
    fields = tuple(_fields(problem))
    retry_after_s = _seconds(response.headers.get("retry-after"))
    return Rejected(
        _message(response.status_code, problem, fields, address),
        str(problem.get("type", "")).rpartition("/")[2],
        response.status_code,
        fields,
        retry_after_s,
        _remedy(response.status_code, retry_after_s),
    )


def not_deadstop(address: Address, what: str) -> Unreachable:
    return Unreachable(f"what answers at {address.url} is not Deadstop ({what})", "not-deadstop")


def _problem(response: httpx.Response) -> dict[str, Any] | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) and "type" in body else None


def _fields(problem: dict[str, Any]) -> list[FieldError]:
    errors = problem.get("errors")
    if not isinstance(errors, list):
        return []
    return [
        FieldError(str(error.get("field", "")), str(error.get("message", "")))
        for error in errors
        if isinstance(error, dict)
    ]


def _message(status: int, problem: dict[str, Any], fields: tuple[FieldError, ...], address: Address) -> str:
    detail = _one_line(str(problem.get("detail") or problem.get("title") or f"status {status}"))
    if status == 401:
        if address.token is None:
            return f"the server at {address.url} needs a token, and there is none in {address.token_source}"
        return f"the server at {address.url} refused the token from {address.token_source}"
    if status == 422 and fields:
        return "; ".join(map(str, fields))
    if status in _TAKES_NO_JOBS:
        return f"the server takes no jobs now: {detail}"
    if status >= 500:
        return f"the server failed with status {status}: {detail}"
    return detail


def _remedy(status: int, retry_after_s: float | None) -> str | None:
    return f"try again in {retry_after_s:g} s" if status in _TAKES_NO_JOBS and retry_after_s is not None else None


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:
        return None


def _one_line(text: str) -> str:
    return " ".join(text.split())
