"""The controllers of all jobs that have not ended, each with its task and its job's lease."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

from supervisor.background import BackgroundTasks
from supervisor.core.jobs.model import Cause
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.running.controller import JobController
from supervisor.core.streams.leases import Leases


class JobControllers:
    """Only for use on the event loop. `background` runs the controllers' tasks."""

    def __init__(self, background: BackgroundTasks, leases: Leases) -> None:
        self._background = background
        self._leases = leases
        self._by_id: dict[str, JobController] = {}

    def __iter__(self) -> Iterator[JobController]:
        return iter(list(self._by_id.values()))

    def begin(self, owner: JobController, life: Coroutine[Any, Any, None]) -> None:
        """Run `life`, the task of a job's controller."""
        job = owner.record.job
        self._by_id[job.id] = owner
        self._leases.begin(job, owner.cancel)
        self._background.start(life, name=f"job {job.id}")

    def find(self, job_id: str) -> JobController | None:
        """Return the controller of the unfinished job with this ID."""
        return self._by_id.get(job_id)

    def of(self, record: LiveJob) -> JobController | None:
        """Return the controller of exactly this job: its ID may belong to another job by now."""
        owner = self._by_id.get(record.job.id)
        return owner if owner is not None and owner.record is record else None

    def cancel(self, record: LiveJob, cause: Cause) -> None:
        """Stop the job unless it has ended."""
        if (owner := self.of(record)) is not None:
            owner.cancel(cause)

    def end(self, record: LiveJob) -> None:
        """Remove the controller of a job that has ended, and its lease."""
        if self.of(record) is not None:
            del self._by_id[record.job.id]
            self._leases.end(record.job.id)
