"""All jobs that this server knows.

Unfinished and recently finished jobs are complete in memory. For the others memory has a `JobSummary`, and the journal
has the rest. So memory is enough to find out whether an ID or key is taken.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from supervisor.core.jobs.event_log import Event, EventLog
from supervisor.core.jobs.inputs import Reported
from supervisor.core.jobs.liveness import Liveness
from supervisor.core.jobs.machine import Life
from supervisor.core.jobs.model import SERVER, Caller, Job, JobRequest, State, Stuck
from supervisor.core.jobs.stdin import JobStdin
from supervisor.core.journal.rows import JobSummary, digest_of
from supervisor.errors import Conflict, NotFound

MAX_FINISHED_JOBS = 200
MAX_FINISHED_EVENT_BYTES = 64 * 1024 * 1024


class LiveJob:
    """A job in memory: its present value, its events, and the signals to its waiters. Only for use on the event loop.

    `seq` is its position in the order of creation. `gated` means that readers see events only after `release`. `clock`
    is the server's awake clock, in seconds.
    """

    def __init__(
        self,
        job: Job,
        on_append: Callable[[Event], None],
        *,
        token: str,
        seq: int = 0,
        digest: bytes | None = None,
        last_event_id: int = 0,
        held: bool = False,
        gated: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.life = Life(job)
        self.seq = seq
        self.token = token
        """The name of the token that created the job. For other tokens the job does not exist."""
        self.input = JobStdin(job.id, job.request)
        self.digest = digest_of(job.request) if digest is None else digest
        self.log = EventLog(job.id, on_append=on_append, gated=gated, last_id=last_event_id)
        self.finished = asyncio.Event()
        """Set after the terminal event was released."""
        self.stop_wanted = asyncio.Event()
        """Set with the first cause to stop, or when the job is left to the next server."""
        self.streams = 0
        """The number of attached streams that the job depends on."""
        self.attached = asyncio.Event()
        """Set when the first such stream attaches."""
        self.held = held
        """Whether the job is to be cancelled once no such stream is attached."""
        self.pulse = Liveness(clock)

    @property
    def job(self) -> Job:
        return self.life.job

    @property
    def stuck(self) -> Stuck | None:
        return self.life.stuck

    @property
    def reported(self) -> Reported | None:
        return self.life.reported

    def release(self, until: int) -> list[Event]:
        """Release events up to number `until`, and notify waiters of the end. Return the newly released events."""
        new = self.log.release(until)
        if self.log.ended:
            self.finished.set()
        return new

    def close(self) -> None:
        """Close the log after the terminal event."""
        self.log.close()
        if self.log.ended:
            self.finished.set()

    def entry(self) -> JobSummary:
        job = self.job
        key = job.request.idempotency_key
        return JobSummary(self.seq, job.id, self.token, key, self.digest, job.state, self.log.last_id)


AnyJob = LiveJob | JobSummary
"""A job in memory, or the summary of one that is only in the journal."""


class Registry:
    """Jobs by ID and by idempotency key, in the order of their creation."""

    def __init__(
        self, *, max_finished: int = MAX_FINISHED_JOBS, max_finished_bytes: int = MAX_FINISHED_EVENT_BYTES
    ) -> None:
        self._records: dict[str, LiveJob] = {}
        self._entries: dict[str, JobSummary] = {}
        self._entry_counts: Counter[tuple[str, State]] = Counter()
        self._ids_by_key: dict[tuple[str, str], str] = {}
        self._max_finished = max_finished
        self._max_finished_bytes = max_finished_bytes

    def restore(self, entries: Iterable[JobSummary]) -> None:
        """Add the finished jobs of the journal."""
        for entry in entries:
            self._add_entry(entry)

    def get(self, job_id: str, caller: Caller = SERVER) -> AnyJob:
        """Return the job. Raise NotFound, with the same message for an unknown job and for one of another token."""
        found = self._find(job_id)
        if found is None or not caller.sees(found.token):
            raise NotFound(f"cannot find job {job_id}: this server does not know it")
        return found

    def knows(self, job_id: str) -> bool:
        """Return whether there is such a job, in memory or in the journal."""
        return self._find(job_id) is not None

    def record(self, job_id: str) -> LiveJob | None:
        """Return the job if it is in memory."""
        return self._records.get(job_id)

    def __iter__(self) -> Iterator[LiveJob]:
        """Yield the jobs in memory, newest first."""
        return iter(list(reversed(self._records.values())))

    def counts(self, caller: Caller = SERVER) -> dict[State, int]:
        """Return the number of the caller's jobs in each state."""
        counts = dict.fromkeys(State, 0)
        for (token, state), count in self._entry_counts.items():
            if caller.sees(token):
                counts[state] += count
        for record in self._records.values():
            if caller.sees(record.token):
                counts[record.job.state] += 1
        return counts

    def find_same(self, request: JobRequest, caller: Caller) -> AnyJob | None:
        """Return the job that the same request created before. Raise Conflict if another one has its ID or key."""
        key = request.idempotency_key
        by_key = None if key is None else self._find(self._ids_by_key.get((caller.token, key)))
        by_id = self._find(request.id)
        if by_id is not None and not caller.sees(by_id.token):
            # IDs are unique in the whole server, so an admin can name every job. Reveal only that this one is taken.
            raise Conflict(f"cannot create job {request.id}: the id is taken; choose another")
        if by_key is not None and request.id is not None and _id(by_key) != request.id:
            raise Conflict(f"cannot create job {request.id}: the Idempotency-Key belongs to job {_id(by_key)}")
        if by_id is not None and key is not None and by_key is None:
            known = _key(by_id)
            if known is not None and known != key:
                raise Conflict(f"cannot create job {request.id}: it exists with another Idempotency-Key")
        found = by_key or by_id
        if found is not None and found.digest != digest_of(request):
            raise Conflict(f"cannot create job {_id(found)}: it exists with another body; choose another id")
        return found

    def add(self, record: LiveJob) -> None:
        self._records[record.job.id] = record
        key = record.job.request.idempotency_key
        if key is not None:
            self._ids_by_key[record.token, key] = record.job.id

    def remove(self, job_id: str) -> AnyJob:
        """Remove a finished job. Raise NotFound, or Conflict if the job is not finished."""
        found = self.get(job_id)
        if not (state := state_of(found)).terminal:
            raise Conflict(f"cannot forget job {job_id}: it is {state}; cancel it and wait for the end")
        self.drop(job_id, found.seq)
        return found

    def drop(self, job_id: str, seq: int) -> bool:
        """Remove a job in any state. Return False if it is not known or its ID belongs to another job by now."""
        found = self._find(job_id)
        if found is None or found.seq != seq:
            return False
        self._records.pop(job_id, None)
        entry = self._entries.pop(job_id, None)
        if entry is not None:
            self._entry_counts[entry.token, entry.state] -= 1
        key = _key(found)
        if key is not None:
            self._ids_by_key.pop((found.token, key), None)
        return True

    def withdraw(self, record: LiveJob) -> None:
        """Remove a job whose row could not be written, and free its ID."""
        self.drop(record.job.id, record.seq)

    def trim(self, may_go: Callable[[LiveJob], bool] = lambda _record: True) -> list[LiveJob]:
        """Drop the oldest finished jobs beyond the limits from memory, and return them. The journal still has them."""
        finished = [record for record in self._records.values() if record.finished.is_set() and may_go(record)]
        excess = len(finished) - self._max_finished
        size = sum(record.log.size_bytes for record in finished)
        gone: list[LiveJob] = []
        for record in finished:
            if len(gone) >= excess and size <= self._max_finished_bytes:
                break
            size -= record.log.size_bytes
            del self._records[record.job.id]
            self._add_entry(record.entry())
            gone.append(record)
        return gone

    def _add_entry(self, entry: JobSummary) -> None:
        self._entries[entry.id] = entry
        self._entry_counts[entry.token, entry.state] += 1
        if entry.key is not None:
            self._ids_by_key[entry.token, entry.key] = entry.id

    def _find(self, job_id: str | None) -> AnyJob | None:
        return None if job_id is None else self._records.get(job_id) or self._entries.get(job_id)


def state_of(known: AnyJob) -> State:
    """Return a job's state, whether it is in memory or only in the journal."""
    return known.job.state if isinstance(known, LiveJob) else known.state


def _id(known: AnyJob) -> str:
    return known.job.id if isinstance(known, LiveJob) else known.id


def _key(known: AnyJob) -> str | None:
    return known.job.request.idempotency_key if isinstance(known, LiveJob) else known.key
