"""Every job this server knows.

Jobs that are not finished, and those that finished lately, are here as they are; of the others there is a `JobSummary`,
and the journal has the rest. So whether an id or key is taken, and by what, is answered from memory.
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
    """One known job: its present value, its events, and who waits for it. Belongs to the event loop.

    `seq` is its place in the order of creation. `gated`: its events are released by `release`. `clock` is the server's
    awake clock, in seconds.
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
        """The name of the token that the job was made with: for other tokens the job does not exist."""
        self.input = JobStdin(job.id, job.request)
        self.digest = digest_of(job.request) if digest is None else digest
        self.log = EventLog(job.id, on_append=on_append, gated=gated, last_id=last_event_id)
        self.finished = asyncio.Event()
        """Set after the terminal event was released."""
        self.stop_wanted = asyncio.Event()
        """Set with the first cause, or when the job is put off to the next start."""
        self.streams = 0
        """How many streams hold the job's life."""
        self.attached = asyncio.Event()
        """Set with the first of them."""
        self.held = held
        """There was such a stream, and the job is to end without one."""
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
        """Let readers see events up to number `until`, and those who wait know of the end. The new ones."""
        new = self.log.release(until)
        if self.log.ended:
            self.finished.set()
        return new

    def close(self) -> None:
        """The terminal event was the last."""
        self.log.close()
        if self.log.ended:
            self.finished.set()

    def entry(self) -> JobSummary:
        job = self.job
        key = job.request.idempotency_key
        return JobSummary(self.seq, job.id, self.token, key, self.digest, job.state, self.log.last_id)


AnyJob = LiveJob | JobSummary
"""A job in memory, or what is known of one that is only in the journal."""


class Registry:
    """Jobs by id and by idempotency key, in the order of their creation."""

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
        """Finished jobs of the journal."""
        for entry in entries:
            self._add_entry(entry)

    def get(self, job_id: str, caller: Caller = SERVER) -> AnyJob:
        """Raises NotFound, in the same words for a job that is not there and for one of another token."""
        found = self._find(job_id)
        if found is None or not caller.sees(found.token):
            raise NotFound(f"cannot find job {job_id}: this server does not know it")
        return found

    def knows(self, job_id: str) -> bool:
        """Whether there is such a job, in memory or only in the journal."""
        return self._find(job_id) is not None

    def record(self, job_id: str) -> LiveJob | None:
        """The job if it is in memory."""
        return self._records.get(job_id)

    def __iter__(self) -> Iterator[LiveJob]:
        """Those in memory, newest first."""
        return iter(list(reversed(self._records.values())))

    def counts(self, caller: Caller = SERVER) -> dict[State, int]:
        """How many of the caller's jobs are in each state."""
        counts = dict.fromkeys(State, 0)
        for (token, state), count in self._entry_counts.items():
            if caller.sees(token):
                counts[state] += count
        for record in self._records.values():
            if caller.sees(record.token):
                counts[record.job.state] += 1
        return counts

    def find_same(self, request: JobRequest, caller: Caller) -> AnyJob | None:
        """The job that this request was already made for, by id or key. Raises Conflict for another's."""
        key = request.idempotency_key
        by_key = None if key is None else self._find(self._ids_by_key.get((caller.token, key)))
        by_id = self._find(request.id)
        if by_id is not None and not caller.sees(by_id.token):
            # Ids are the server's, so that an admin can name every job. That this one is taken is all that is told.
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
        """Raises NotFound, and Conflict while the job is not finished."""
        found = self.get(job_id)
        if not (state := state_of(found)).terminal:
            raise Conflict(f"cannot forget job {job_id}: it is {state}; cancel it and wait for the end")
        self.drop(job_id, found.seq)
        return found

    def drop(self, job_id: str, seq: int) -> bool:
        """Forget a job whatever its state. False: it is not known, or its id is another job's by now."""
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
        """Its row could not be written: it never was, and its id is free."""
        self.drop(record.job.id, record.seq)

    def trim(self, may_go: Callable[[LiveJob], bool] = lambda _record: True) -> list[LiveJob]:
        """Leave the oldest finished jobs past the bounds to the journal. Those that went."""
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
    """Return where a job is, whether it is in memory or only in the journal."""
    return known.job.state if isinstance(known, LiveJob) else known.state


def _id(known: AnyJob) -> str:
    return known.job.id if isinstance(known, LiveJob) else known.id


def _key(known: AnyJob) -> str | None:
    return known.job.request.idempotency_key if isinstance(known, LiveJob) else known.key
