"""Query jobs and their events, whether they are in memory or only in the journal."""

from __future__ import annotations

from dataclasses import dataclass, replace

from supervisor.core.jobs.event_log import Event, EventLog, Gap
from supervisor.core.jobs.model import Caller
from supervisor.core.jobs.registry import AnyJob, LiveJob, Registry
from supervisor.core.journal.journal import Journal
from supervisor.core.journal.reader import Wanted
from supervisor.core.journal.rows import JobRow, JobSummary
from supervisor.errors import NotFound


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first. `before` is where the next page continues, None on the last one."""

    records: list[LiveJob]
    before: int | None


@dataclass(frozen=True, slots=True)
class Story:
    """A job's events for readers: those in `log`, and those only in the journal."""

    seq: int
    log: EventLog


class JobHistory:
    """Only for use on the event loop. Results contain only jobs that `caller` may see."""

    def __init__(self, registry: Registry, journal: Journal) -> None:
        self._registry = registry
        self._journal = journal

    async def find(self, job_id: str, caller: Caller) -> LiveJob:
        """Return the job. Raise NotFound if it is not known.

        Wait until the end of a finished job is written: an end that was shown must not be lost.
        """
        known = self._registry.get(job_id, caller)
        if isinstance(known, LiveJob):
            await _settled(known)
            return known
        row = await self._journal.job(job_id)
        if row is None:
            raise NotFound(f"cannot find job {job_id}: it was just forgotten")
        return from_row(row)

    async def page(self, wanted: Wanted, caller: Caller) -> Page:
        """Return matching jobs, newest first: unfinished ones from memory, the others from the journal."""
        token = None if caller.sees_all else caller.token
        wanted = replace(wanted, token=token)
        here = {record.job.id: record for record in self._registry if caller.sees(record.token)}
        archived: list[LiveJob] = []
        floor, more = wanted.before, wanted.stuck is not True
        while more and len(archived) <= wanted.limit:
            asked = replace(wanted, before=floor, limit=wanted.limit + 1)
            rows, more = await self._journal.jobs(asked)
            archived += [from_row(row) for row in rows if row.job.id not in here and self._is_known(row)]
            if rows:
                floor = rows[-1].seq
        # The journal was not read below the floor, so jobs below it must not come into this page.
        reached = floor if more and floor is not None else 0
        living = [record for record in here.values() if record.seq >= reached and _fits(record, wanted)]
        found = sorted([*living, *archived], key=lambda record: record.seq, reverse=True)
        records = found[: wanted.limit]
        for record in records:
            await _settled(record)
        if len(found) > wanted.limit:
            return Page(records, records[-1].seq)
        return Page(records, reached if more else None)

    def _is_known(self, row: JobRow) -> bool:
        try:
            return self._registry.get(row.job.id) is not None
        except NotFound:
            return False  # forgotten, but still in the file

    async def events(self, story: Story, after: int) -> list[Event | Gap]:
        """Return the next events after number `after`, if there are any yet. A Gap stands for events that are lost."""
        items = story.log.read(after)
        if items and isinstance(items[0], Gap):
            gap = items[0]
            return await self._journal.events(story.seq, story.log.job_id, after, gap.last)
        return items


def story_of(known: AnyJob) -> Story:
    """Return the job's events for readers."""
    if isinstance(known, LiveJob):
        return Story(known.seq, known.log)
    return Story(known.seq, _closed_log(known))


def _closed_log(entry: JobSummary) -> EventLog:
    log = EventLog(entry.id, last_id=entry.last_event_id)
    log.close()
    return log


def from_row(row: JobRow) -> LiveJob:
    """Return a read-only snapshot of a finished job, loaded from the journal. Changes to it are not saved."""
    record = LiveJob(row.job, _nobody, token=row.token, seq=row.seq, digest=row.digest, last_event_id=row.last_event_id)
    record.close()
    return record


def _nobody(_event: Event) -> None:
    """Drop the event: a finished job has no more events."""


async def _settled(record: LiveJob) -> None:
    if record.job.state.terminal:
        await record.finished.wait()


def _fits(record: LiveJob, wanted: Wanted) -> bool:
    if wanted.before is not None and record.seq >= wanted.before:
        return False
    if wanted.states is not None and record.job.state not in wanted.states:
        return False
    if wanted.stuck is not None and wanted.stuck is (record.stuck is None):
        return False
    return set(wanted.labels) <= record.job.request.labels.items()
