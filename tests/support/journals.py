"""A journal in the test's own process, with jobs that the test creates and ends itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from supervisor.core.jobs.event_log import Event, Gap
from supervisor.core.jobs.model import Job, JobRequest, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.journal.journal import Journal
from supervisor.core.journal.open import Contents
from supervisor.core.journal.retention import Limits
from supervisor.engine.containment import Level
from tests.support.core import until

PLENTY = Limits(10_000, 7 * 24 * 3600.0, 1024**3)


@contextmanager
def full_disk(journal: Journal) -> Iterator[None]:
    """Leave no room on the disk for another page."""
    connection = journal._writer._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA max_page_count = {2**30}")


def numbers(items: list[Event | Gap]) -> list[int]:
    """Return the numbers of events. Raise AssertionError if there is a gap."""
    assert all(isinstance(item, Event) for item in items)
    return [item.id for item in items if isinstance(item, Event)]


@dataclass
class Book:
    """A journal, and everything that it has reported to its callbacks."""

    journal: Journal
    contents: Contents
    removed: list[str]
    refused: list[LiveJob]
    told: dict[str, list[Event]] = field(default_factory=dict)

    def new(self, job_id: str, **input_: Any) -> LiveJob:
        """Create a job as the server does, with its first event. It is not accepted yet."""
        job = Job(job_id, JobRequest("demo", input_, id=job_id), datetime.now(UTC), Level.SUBREAPER)
        record = self.record(job, self.journal.next_seq())
        self.journal.add(record, new=True)
        record.log.append("job.queued", {})
        return record

    def record(self, job: Job, seq: int, last_event_id: int = 0) -> LiveJob:
        def note(event: Event) -> None:
            self.journal.note(made, event)

        made = LiveJob(job, note, token="t", seq=seq, last_event_id=last_event_id, gated=True)
        return made

    def finish(self, record: LiveJob, state: State = State.SUCCEEDED, at: datetime | None = None) -> None:
        job = replace(record.job, state=state, finished_at=at or datetime.now(UTC))
        record.life = replace(record.life, job=job)
        record.log.append(f"job.{state}", {})
        record.close()

    async def finished(self, job_id: str, **input_: Any) -> LiveJob:
        record = self.new(job_id, **input_)
        self.finish(record)
        await record.finished.wait()
        return record

    async def settled(self) -> None:
        await until(lambda: not self.journal._unanswered)


@asynccontextmanager
async def book(folder: Path, limits: Limits = PLENTY) -> AsyncIterator[Book]:
    removed: list[str] = []
    refused: list[LiveJob] = []
    told: dict[str, list[Event]] = {}
    journal = Journal(
        folder,
        limits,
        on_forgotten=lambda job: removed.append(job.id),
        on_released=lambda record, event: told.setdefault(record.job.id, []).append(event),
        on_refused=refused.append,
    )
    contents = await journal.open()
    try:
        yield Book(journal, contents, removed, refused, told)
    finally:
        await journal.close()


def put(record: LiveJob, text: str, times: int = 1) -> None:
    for _ in range(times):
        record.log.append("job.output", {"stream": "stdout", "text": text})
