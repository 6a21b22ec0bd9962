"""What the journal keeps of a job, and how it is written down.

A request and a job are dataclasses; pydantic turns them into JSON and back. A field that a later version adds needs a
default and nothing else: an older row then reads as if it had been left out.
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
"""Events of one job are put together in rows of about this size."""

_REQUEST: TypeAdapter[JobRequest] = TypeAdapter(JobRequest)
_JOB: TypeAdapter[Job] = TypeAdapter(Job)
_NOT_MEANING = {"id", "idempotency_key", "trace"}
"""Names of the request, and who asked when. They are not part of what it asks for."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as it is written down. `held`: its life hangs on a stream that must be there."""

    seq: int
    token: str
    digest: bytes
    job: Job
    held: bool
    last_event_id: int


@dataclass(frozen=True, slots=True)
class JobSummary:
    """What has to be known at once of every kept job: whose it is, what it answers to, and how it ended."""

    seq: int
    id: str
    token: str
    key: str | None
    digest: bytes
    state: State
    last_event_id: int


@dataclass(frozen=True, slots=True)
class EarlyRow:
    """A cancel that came before its job. `expires_at` is wall time in seconds: it outlives the process."""

    token: str
    id: str
    expires_at: float
    cause: str


def digest_of(request: JobRequest) -> bytes:
    """The same for requests that ask for the same, whatever they are called and in whatever order they say it."""
    # Without defaults: a field that a later version adds does not change what older requests meant.
    meaning = _REQUEST.dump_python(request, mode="json", exclude=_NOT_MEANING, exclude_defaults=True)
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode("ascii")).digest()


def encode_request(request: JobRequest) -> str:
    return _encode(_REQUEST, request, None)


def encode_outcome(job: Job) -> str:
    """Everything of a job but its request."""
    return _encode(_JOB, job, {"request"})


def _encode(adapter: TypeAdapter[Any], value: object, exclude: set[str] | None) -> str:
    try:
        return adapter.dump_json(value, exclude=exclude).decode("utf-8")
    except PydanticSerializationError:
        # Half of a surrogate pair, which no UTF-8 can hold. One job's odd text must not stop everybody's journal.
        plain = json.dumps(adapter.dump_python(value, mode="json", exclude=exclude), ensure_ascii=False)
        return plain.encode("utf-8", "replace").decode("utf-8")


def decode_job(request: str, outcome: str) -> Job:
    """Raises ValueError when it does not fit."""
    return _JOB.validate_python({**from_json(outcome), "request": from_json(request)})


def pack(events: Iterable[Event]) -> Iterator[tuple[int, int, str]]:
    """Consecutive events of one job as (first, last, lines)."""
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
    """The other way. Numbers have no holes, so the first one tells them all."""
    for number, line in enumerate(lines.split("\n"), first):
        type_, _, data = line.partition(" ")
        yield Event(number, job_id, type_, data)
