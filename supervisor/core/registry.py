"""Every job this server knows, and what it remembers of jobs it does not know yet.

A cancel may overtake the submit that it belongs to: for an id not seen yet it is kept for a while, for the token it
came with. Finished jobs are forgotten oldest first, their events before themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from supervisor.core.event_log import Event, EventLog
from supervisor.core.facts import Reported
from supervisor.core.job_input import JobInput
from supervisor.core.machine import Life
from supervisor.core.model import SERVER, Caller, Cause, Job, JobRequest, Stuck
from supervisor.core.pulse import Pulse
from supervisor.errors import Conflict, NotFound

EARLY_CANCEL_KEPT_S = 30.0
MAX_EARLY_CANCELS = 10_000
MAX_FINISHED_JOBS = 10_000
MAX_FINISHED_EVENT_BYTES = 256 * 1024 * 1024


class Record:
    """One known job: its present value, its events, and who waits for it. Belongs to the event loop."""

    def __init__(self, job: Job, on_append: Callable[[Event], None], *, token: str) -> None:
        self.life = Life(job)
        self.token = token
        """The name of the token that the job was made with: for other tokens the job does not exist."""
        self.log = EventLog(job.id, on_append=on_append)
        self.input = JobInput(job.id, job.request)
        self.finished = asyncio.Event()
        """Set after the terminal event is in the log."""
        self.stop_wanted = asyncio.Event()
        """Set with the first cause."""
        self.streams = 0
        """How many streams hold the job's life."""
        self.guardian_pid: int | None = None
        self.root_pid: int | None = None
        """While it has processes: its guardian, and the one that all of them are below, the guardian or a namespace's
        init."""
        self.pulse = Pulse()
        self.stuck: Stuck | None = None

    @property
    def job(self) -> Job:
        return self.life.job

    @property
    def reported(self) -> Reported | None:
        return self.life.reported


@dataclass(frozen=True, slots=True)
class _EarlyCancel:
    cause: Cause
    expires: float


class Registry:
    """Jobs by id and by idempotency key, in the order of their creation."""

    def __init__(
        self, *, max_finished: int = MAX_FINISHED_JOBS, max_finished_bytes: int = MAX_FINISHED_EVENT_BYTES
    ) -> None:
        self._records: dict[str, Record] = {}
        self._ids_by_key: dict[tuple[str, str], str] = {}
        self._early: dict[tuple[str, str], _EarlyCancel] = {}
        self._max_finished = max_finished
        self._max_finished_bytes = max_finished_bytes

    def get(self, job_id: str, caller: Caller = SERVER) -> Record:
        """Raises NotFound, in the same words for a job that is not there and for one of another token."""
        record = self._records.get(job_id)
        if record is None or not caller.sees(record.token):
            raise NotFound(f"cannot find job {job_id}: this server does not know it")
        return record

    def __iter__(self) -> Iterator[Record]:
        """Newest first."""
        return iter(list(reversed(self._records.values())))

    def find_same(self, request: JobRequest, caller: Caller) -> Record | None:
        """The job that this request was already made for, by id or key. Raises Conflict for another's."""
        key = request.idempotency_key
        by_key = None if key is None else self._records.get(self._ids_by_key.get((caller.token, key), ""))
        by_id = None if request.id is None else self._records.get(request.id)
        if by_id is not None and not caller.sees(by_id.token):
            # Ids are the server's, so that an admin can name every job. That this one is taken is all that is told.
            raise Conflict(f"cannot create job {by_id.job.id}: the id is taken; choose another")
        if by_key is not None and request.id is not None and by_key.job.id != request.id:
            raise Conflict(f"cannot create job {request.id}: the Idempotency-Key belongs to job {by_key.job.id}")
        if by_id is not None and key is not None and by_key is None:
            known = by_id.job.request.idempotency_key
            if known is not None and known != key:
                raise Conflict(f"cannot create job {request.id}: it exists with another Idempotency-Key")
        found = by_key or by_id
        if found is not None and not _same_body(found.job.request, request):
            raise Conflict(f"cannot create job {found.job.id}: it exists with another body; choose another id")
        return found

    def add(self, record: Record) -> None:
        self._records[record.job.id] = record
        key = record.job.request.idempotency_key
        if key is not None:
            self._ids_by_key[record.token, key] = record.job.id

    def remove(self, job_id: str) -> None:
        """Raises NotFound, and Conflict while the job is not finished."""
        record = self.get(job_id)
        if not record.job.state.terminal:
            raise Conflict(f"cannot forget job {job_id}: it is {record.job.state}; cancel it and wait for the end")
        del self._records[job_id]
        self._ids_by_key = {key: id_ for key, id_ in self._ids_by_key.items() if id_ != job_id}

    def keep_early_cancel(self, job_id: str, cause: Cause, token: str) -> None:
        """Remember a cancel for a job that nobody has submitted yet."""
        now = time.monotonic()
        self._early = {key: early for key, early in self._early.items() if early.expires > now}
        while len(self._early) >= MAX_EARLY_CANCELS:
            del self._early[next(iter(self._early))]
        known = self._early.get((token, job_id))
        if known is None or (cause.force and not known.cause.force):
            self._early[token, job_id] = _EarlyCancel(cause, now + EARLY_CANCEL_KEPT_S)

    def take_early_cancel(self, job_id: str, token: str) -> Cause | None:
        early = self._early.pop((token, job_id), None)
        return early.cause if early is not None and early.expires > time.monotonic() else None

    def trim(self) -> list[str]:
        """Forget the oldest finished jobs past the bounds. Which were forgotten altogether."""
        finished = [record for record in self._records.values() if record.job.state.terminal]
        gone = [record.job.id for record in finished[: max(0, len(finished) - self._max_finished)]]
        for job_id in gone:
            self.remove(job_id)
        kept = sum(record.log.size_bytes for record in finished)
        for record in finished:
            if kept <= self._max_finished_bytes:
                break
            kept -= record.log.size_bytes
            record.log.drop_kept()
        return gone


def _same_body(known: JobRequest, asked: JobRequest) -> bool:
    # The key and whether the client named the id are not part of the body's meaning.
    return (
        known.task == asked.task
        and known.input == asked.input
        and known.timeout_s == asked.timeout_s
        and known.on_disconnect == asked.on_disconnect
        and known.labels == asked.labels
        and known.containment == asked.containment
        and known.limits == asked.limits
        and known.reconnect_grace_s == asked.reconnect_grace_s
        and known.keep_files == asked.keep_files
        and known.stuck_after_s == asked.stuck_after_s
        and known.stuck_no_event_s == asked.stuck_no_event_s
        and known.stuck_action == asked.stuck_action
    )
