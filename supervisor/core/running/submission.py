"""Create jobs: those that clients submit, and those of an earlier server.

One step of the event loop takes the ID, gets a place in the queue, and creates the record with the first event and the
controller. The job starts once its row is written.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from supervisor.core.jobs.model import Caller, Job, JobRequest, State
from supervisor.core.jobs.registry import LiveJob, Registry
from supervisor.core.journal.journal import Journal
from supervisor.core.journal.open import Contents
from supervisor.core.running.controller import JobController
from supervisor.core.running.pending_cancels import PendingCancels
from supervisor.core.running.queue import Queue
from supervisor.core.running.restore import take_over
from supervisor.core.running.services import Services
from supervisor.core.tasks.checking import Checked, Checking
from supervisor.engine.containment import Level, LevelUnavailable
from supervisor.engine.report import UNRECORDED, Loss
from supervisor.errors import InvalidRequest


class Submitter:
    """Only for use on the event loop. `begin` starts a controller's task."""

    def __init__(
        self,
        *,
        services: Services,
        registry: Registry,
        journal: Journal,
        admission: Queue,
        checking: Checking,
        early: PendingCancels,
        begin: Callable[[JobController, Coroutine[Any, Any, None]], None],
    ) -> None:
        self._services = services
        self._registry = registry
        self._journal = journal
        self._admission = admission
        self._catalog = checking.catalog
        self._checking = checking
        self._early = early
        self._begin = begin

    def take(self, request: JobRequest, caller: Caller, checked: Checked | None = None) -> LiveJob:
        """Create a job for a new request. `checked` is the result if its input has been checked already.

        Raise InvalidRequest, QueueFull or NotReady if that is not possible.
        """
        level = self._level_for(request)
        module = self._catalog.check(request.task, request.input) if checked is None else checked.module()
        job = Job(
            id=request.id or secrets.token_hex(8),
            request=request,
            created_at=datetime.now(UTC),
            containment=level,
            controllers=self._controllers_at(level),
        )
        early = self._early.take(job.id, caller.token)
        place = None if early is not None else self._admission.enter(caller.token)
        record = self._record(job, caller.token, self._journal.next_seq())
        self._journal.add(record, new=True)
        owner = JobController(record, self._services)
        record.log.append("job.queued", {"task": request.task, "labels": request.labels})
        if early is not None:
            owner.cancel(early)
        elif place is not None:
            self._begin(owner, owner.run(place, self._accepted(record, module)))
        return record

    def restore(self, contents: Contents, losses: Mapping[str, Loss]) -> None:
        """Restore the jobs of an earlier server, and run its queued ones. `losses` describes the ends of those that had
        started."""
        self._registry.restore(entry for entry in contents.entries if entry.state.terminal)
        self._early.restore(contents.early)
        for row in contents.unfinished:
            record = self._record(
                self._as_of_now(row.job),
                row.token,
                row.seq,
                digest=row.digest,
                last_event_id=row.last_event_id,
                held=row.held,
            )
            self._journal.add(record, new=False)
            owner = JobController(record, self._services)
            enter = partial(self._admission.enter, row.token, again=True)
            self._begin(
                owner,
                take_over(
                    owner,
                    enter,
                    partial(self._checked_again, record),
                    self._services.clock,
                    losses.get(row.job.id, UNRECORDED),
                ),
            )

    def _as_of_now(self, job: Job) -> Job:
        """Return a queued job with the level that it gets now. If there is none, the job fails when it would start."""
        if job.state is not State.QUEUED:
            return job
        with suppress(InvalidRequest):
            level = self._level_for(job.request)
            job = replace(job, containment=level, controllers=self._controllers_at(level))
        return job

    async def _checked_again(self, record: LiveJob) -> str:
        """Check again: tasks and levels may have changed between two servers. Raise InvalidRequest if it fails."""
        await self._catalog.described.wait()
        self._level_for(record.job.request)
        return await self._checking.again(record.job.request)

    def _controllers_at(self, level: Level) -> frozenset[str]:
        return self._services.engine.status().controllers if level.takes_cgroup else frozenset()

    def _level_for(self, request: JobRequest) -> Level:
        try:
            return self._services.engine.status().levels.for_job(request.containment)
        except LevelUnavailable as exc:
            raise InvalidRequest.at("containment", str(exc)) from None

    def _record(self, job: Job, token: str, seq: int, **more: Any) -> LiveJob:
        record = LiveJob(
            job,
            lambda event: self._journal.note(record, event),
            token=token,
            seq=seq,
            gated=True,
            clock=self._services.clock.now,
            **more,
        )
        self._registry.add(record)
        return record

    async def _accepted(self, record: LiveJob, module: str) -> str:
        await self._journal.accepted(record)
        return module
