"""The server's refusals (RFC 9457 problems) as one line each, with the exit code they mean."""

from __future__ import annotations

from typing import Any

import httpx

from deadstop.client.address import Address
from supervisor.cli.exit_codes import ExitCode
from supervisor.cli.exits import CommandError, Refused, Unreachable
from supervisor.errors import FieldError

_UNAVAILABLE = {429, 503, 507}


def explain(response: httpx.Response, address: Address) -> CommandError:
    """What to raise for a response with an error status. Its body must have been read."""
    problem = _problem(response)
    if problem is None:
        kind = response.headers.get("content-type", "no content type")
        return Unreachable(f"what answers at {address.url} is not Deadstop (status {response.status_code}, {kind})")
    kind = str(problem.get("type", "")).rpartition("/")[2]
    fields = tuple(_fields(problem))
    retry_after_s = _seconds(response.headers.get("retry-after"))
    return Refused(
        _message(response, problem, fields, address, retry_after_s),
        _code(response.status_code),
        status=response.status_code,
        kind=kind,
        fields=fields,
        retry_after_s=retry_after_s,
    )


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


def _message(
    response: httpx.Response,
    problem: dict[str, Any],
    fields: tuple[FieldError, ...],
    address: Address,
    retry_after_s: float | None,
) -> str:
    said = _one_line(str(problem.get("detail") or problem.get("title") or f"status {response.status_code}"))
    if response.status_code == 401:
        if address.token is None:
            return f"the server at {address.url} wants a token and there is none in {address.token_source}"
        return f"the server at {address.url} refused the token from {address.token_source}"
    if response.status_code == 422 and fields:
        return "; ".join(_one_line(f"{e.field}: {e.message}" if e.field else e.message) for e in fields)
    if response.status_code in _UNAVAILABLE:
        when = f"; try again in {retry_after_s:g} s" if retry_after_s is not None else ""
        return f"the server takes no jobs now: {said}{when}"
    if response.status_code >= 500:
        return f"the server failed with status {response.status_code}: {said}"
    return said


def _code(status: int) -> ExitCode:
    if status == 401 or status in _UNAVAILABLE or status >= 500:
        return ExitCode.UNREACHABLE
    return ExitCode.USAGE


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:
        return None


def _one_line(text: str) -> str:
    return " ".join(text.split())
