"""The journal's data about a job, and its encoding.

A request and a job are dataclasses, which pydantic converts to JSON and back. A field that a later version adds needs
only a default, which then applies to older rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError, from_json

from supervisor.core.jobs.event_log import Event
from supervisor.core.jobs.model import Job, JobRequest, State

MAX_ROW_BYTES = 128 * 1024
"""Events of one job are combined in rows of about this size."""

_REQUEST: TypeAdapter[JobRequest] = TypeAdapter(JobRequest)
_JOB: TypeAdapter[Job] = TypeAdapter(Job)
_NOT_MEANING = {"id", "idempotency_key", "trace"}
"""Fields that identify the request. They do not count when two requests are compared."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job in the journal. `held` means that it is to be cancelled once no stream is attached."""

    seq: int
    token: str
    digest: bytes
    job: Job
    held: bool
    last_event_id: int


@dataclass(frozen=True, slots=True)
class JobSummary:
    """The data of a finished job that stays in memory: its token, ID, key, digest and state."""

    seq: int
    id: str
    token: str
    key: str | None
    digest: bytes
    state: State
    last_event_id: int


@dataclass(frozen=True, slots=True)
class EarlyRow:
    """A cancel that came before its job. `expires_at` is wall time in seconds, because it outlives the process."""

    token: str
    id: str
    expires_at: float
    cause: str


def digest_of(request: JobRequest) -> bytes:
    """Return a digest that is equal for equal requests. The fields' order, ID, key and trace do not matter."""
    # Defaults are left out, so that a field which a later version adds does not change the digests of older requests.
    meaning = _REQUEST.dump_python(request, mode="json", exclude=_NOT_MEANING, exclude_defaults=True)
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode("ascii")).digest()


def encode_request(request: JobRequest) -> str:
    return _encode(_REQUEST, request, None)


def encode_outcome(job: Job) -> str:
    """Return a job without its request as JSON."""
    return _encode(_JOB, job, {"request"})


def _encode(adapter: TypeAdapter[Any], value: object, exclude: set[str] | None) -> str:
    try:
        return adapter.dump_json(value, exclude=exclude).decode("utf-8")
    except PydanticSerializationError:
        # UTF-8 cannot encode half of a surrogate pair. One job's text must not stop the journal for all jobs.
        plain = json.dumps(adapter.dump_python(value, mode="json", exclude=exclude), ensure_ascii=False)
        return plain.encode("utf-8", "replace").decode("utf-8")


def decode_job(request: str, outcome: str) -> Job:
    """Return the job. Raise ValueError if the JSON is not valid."""
    return _JOB.validate_python({**from_json(outcome), "request": from_json(request)})


def pack(events: Iterable[Event]) -> Iterator[tuple[int, int, str]]:
    """Yield consecutive events of one job as rows: (first, last, lines)."""
    lines: list[str] = []
    size, first, last = 0, 0, 0
    for event in events:
        if not lines:
            first = event.id
        lines.append(f"{event.type} {event.data}")
        size += len(event.data)
        last = event.id
        if size >= MAX_ROW_BYTES:
            yield first, last, "\n".join(lines)
            lines, size = [], 0
    if lines:
        yield first, last, "\n".join(lines)


def unpack(job_id: str, first: int, lines: str) -> Iterator[Event]:
    """Yield the events of a row. Their numbers follow from the first one, because there are no gaps."""
    for number, line in enumerate(lines.split("\n"), first):
        type_, _, data = line.partition(" ")
        yield Event(number, job_id, type_, data)
