"""Public entry point of the core: submit, query and cancel jobs, and start and stop the background services."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Self

import structlog

from supervisor.background import BackgroundTasks
from supervisor.config import Settings
from supervisor.core.jobs.event_log import Event
from supervisor.core.jobs.model import SERVER, Caller, Cause, JobRequest, State
from supervisor.core.jobs.registry import AnyJob, LiveJob, Registry, state_of
from supervisor.core.journal.journal import Journal
from supervisor.core.journal.retention import Forgotten, Limits
from supervisor.core.loop.awake_clock import AwakeClock
from supervisor.core.running.controllers import JobControllers
from supervisor.core.running.pending_cancels import PendingCancels
from supervisor.core.running.queue import Queue
from supervisor.core.running.services import Services
from supervisor.core.running.shutdown import BEGUN, end_all
from supervisor.core.running.submission import Submitter
from supervisor.core.streams.attachments import Attachments
from supervisor.core.streams.feed import Feed
from supervisor.core.streams.history import JobHistory
from supervisor.core.streams.leases import Leases
from supervisor.core.tasks.catalog import Catalog, TaskDescription
from supervisor.core.tasks.checking import Checked, Checking
from supervisor.core.tasks.describing import describe_all
from supervisor.core.telemetry import span_export, transition_log
from supervisor.core.telemetry.diagnosis import take_stack
from supervisor.core.telemetry.health import checks_of
from supervisor.core.telemetry.loop_lag import LoopLag
from supervisor.core.telemetry.metrics import Metrics, gauges_of
from supervisor.core.telemetry.stuck_monitor import StuckMonitor, limits_of
from supervisor.engine.containment import ContainmentStatus
from supervisor.engine.engine import Engine, JobFiles
from supervisor.engine.inspection import Check, ProcessRow, StackDump
from supervisor.errors import Conflict, NotFound, NotReady
from supervisor.faults import Faults

log = structlog.get_logger()


class Supervisor:
    """All jobs of one server. Use as an async context manager, on the event loop."""

    def __init__(self, settings: Settings, engine: Engine, faults: Faults) -> None:
        self.settings = settings
        self.engine = engine
        self.accepting = False
        self.faults = faults
        self.clock = AwakeClock()
        self.metrics = Metrics()
        self.loop_lag = LoopLag(self.metrics.lag_s.set)
        self.feed = Feed(self.metrics.dropped)
        self._registry = Registry()
        self._admission = Queue(
            settings.max_running, settings.max_queued, {token.name: token.limits for token in settings.tokens}
        )
        self._catalog = Catalog(settings.tasks, switched_off=settings.tasks_off)
        self.leases = Leases(self.clock)
        self._background = BackgroundTasks(self.faults)
        self._owners = JobControllers(self._background, self.leases)
        self.stuck_watch = StuckMonitor(lambda: self._owners, limits_of(settings), self.faults, self.clock)
        self.metrics.watch(lambda: gauges_of(self._registry, self.engine.status().ready_workers))
        self.journal = Journal(
            settings.state_dir,
            Limits(settings.keep_jobs, settings.keep_s, settings.keep_bytes),
            on_forgotten=self._forgotten,
            on_released=self._released,
            on_refused=self._registry.withdraw,
        )
        self.lookup = JobHistory(self._registry, self.journal)
        self._early = PendingCancels(self.clock, on_kept=self.journal.keep_early, on_gone=self.journal.take_early)
        self._holding = Attachments(self._owners.cancel, self.journal.note, self.clock)
        self._stack = AsyncExitStack()
        self.spans = span_export.open_spans(self._stack)

    async def __aenter__(self) -> Self:
        """Start. The first workers, the description of tasks and the self-test continue in the background.

        Raise StartupError if STATE_DIR or the level of CONTAINMENT cannot be used.
        """
        try:
            await self._open()
        except BaseException:
            # If any step fails, the parts that were opened before it are closed again.
            await self._stack.aclose()
            raise
        return self

    async def _open(self) -> None:
        # The engine comes first: it kills the processes of an earlier server before that server's data is read.
        opened = await self.engine.open()
        self._stack.push_async_callback(self.engine.close)
        self.metrics.orphans_found(opened.orphans)
        contents = await self.journal.open()
        self._stack.push_async_callback(self.journal.close)
        services = Services(
            engine=self.engine,
            journal=self.journal,
            cancel_budget_s=self.settings.cancel_budget_s,
            faults=self.faults,
            clock=self.clock,
            on_end=self._ended,
            observers=(self.metrics.fact, transition_log.tell),
        )
        self.checking = self._stack.enter_context(Checking(self._catalog))
        self._stack.push_async_callback(self._background.close)
        self._submitter = Submitter(
            services=services,
            registry=self._registry,
            journal=self.journal,
            admission=self._admission,
            checking=self.checking,
            early=self._early,
            begin=self._owners.begin,
        )
        self._background.keep("description of tasks", lambda: describe_all(self._catalog, self.engine.describe))
        self._submitter.restore(contents, opened.losses)
        damaged = self.journal.damaged
        self.engine.keep_files(self._registry.knows if damaged is None else None, damaged.suffix if damaged else "")
        self._background.keep("stuck monitor", self.stuck_watch.run)
        self._background.keep("clock", self.clock.run)
        self._background.keep("loop lag", self.loop_lag.run)
        self.accepting = True

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.shutdown(force=True)
        finally:
            await self._stack.aclose()

    # --- jobs

    async def submit(
        self, request: JobRequest, *, caller: Caller, checked: Checked | None = None
    ) -> tuple[AnyJob, bool]:
        """Create a job, or find the one that the same request has created. Return it, and whether it is new.

        Its row is then durable. Raise StorageFull if the row cannot be written, and the errors of `admit`.
        """
        known, is_new = self.admit(request, caller=caller, checked=checked)
        if isinstance(known, LiveJob):
            await self.journal.accepted(known)
        return known, is_new

    def admit(self, request: JobRequest, *, caller: Caller, checked: Checked | None = None) -> tuple[AnyJob, bool]:
        """Do the same without waiting for the row: for a stream, whose first event waits for it.

        Raise InvalidRequest, Conflict, QueueFull or NotReady if the job is rejected.
        """
        known = self._registry.find_same(request, caller)
        if known is not None:
            return known, False
        if not self.accepting:
            raise NotReady("cannot take the job: the server is shutting down", 5)
        return self._submitter.take(request, caller, checked), True

    def unproven(self) -> list[str]:
        """Return the IDs of jobs that have started and have not ended."""
        return [record.job.id for record in self._registry if record.job.state in BEGUN]

    def cancel(self, job_id: str, cause: Cause, *, caller: Caller) -> bool:
        """Stop a job, without waiting. Return False if the ID is not known yet; the cancel is then kept for it."""
        try:
            self._registry.get(job_id, caller)
        except NotFound:
            self._early.keep(job_id, cause, caller.token)
            return False
        if (owner := self._owners.find(job_id)) is not None:
            owner.cancel(cause)
        return True

    async def forget(self, job_id: str, caller: Caller) -> None:
        """Forget a finished job. Raise NotFound, Conflict if it is unfinished, or StorageFull if the write fails."""
        self._registry.get(job_id, caller)
        self.journal.forget(self._registry.remove(job_id).seq)
        await self.journal.written()
        await self.engine.files.discarded(job_id)

    @property
    def files(self) -> JobFiles:
        """The files that jobs have published."""
        return self.engine.files

    async def processes(self, job_id: str, caller: Caller) -> list[ProcessRow]:
        """Return the job's present processes. Raise NotFound, or NotReady if the machine does not answer."""
        self._registry.get(job_id, caller)
        owner = self._owners.find(job_id)
        return [] if owner is None or owner.attempt is None else await owner.attempt.processes()

    async def stack(self, job_id: str, caller: Caller, *, native: bool = False) -> StackDump:
        """Return the present stacks of the job's runner. Raise NotFound, or Conflict if it has no runner."""
        known = self._registry.get(job_id, caller)
        if (owner := self._owners.find(job_id)) is None or owner.attempt is None:
            raise Conflict(f"cannot take a stack of job {job_id}: it is {state_of(known)}, no process of it runs")
        return await take_stack(owner, native=native)

    def attach(self, record: LiveJob) -> None:
        """Attach a stream that the job depends on."""
        self._holding.attach(record)

    def detach(self, record: LiveJob, *, vanished: bool = False, left_at: float | None = None) -> None:
        """Detach a stream. When the last attached stream leaves, the job is cancelled, unless it has finished."""
        if self._owners.of(record) is not None:
            self.metrics.disconnected(vanished=vanished)
        self._holding.detach(record, vanished=vanished, left_at=left_at)

    def _ended(self, record: LiveJob) -> None:
        self._owners.end(record)
        self._holding.end_grace(record)
        for gone in self._registry.trim(self.journal.is_written):
            self.journal.drop(gone)

    def _released(self, record: LiveJob, event: Event) -> None:
        self.feed.publish(record.token, event)
        if self.spans is not None:
            self.spans.event(record.job, event)

    def _forgotten(self, job: Forgotten) -> None:
        """Forget a job that retention has removed from the journal."""
        if self._registry.drop(job.id, job.seq):
            self.engine.files.discard(job.id)

    # --- the server itself

    @property
    def containment(self) -> ContainmentStatus:
        """The server's level of containment, and what it covers."""
        return self.engine.status().containment

    @property
    def pending_modules(self) -> frozenset[str]:
        """Task modules that are still being imported to be described."""
        return self._catalog.pending

    def tasks(self) -> list[TaskDescription]:
        """Return all tasks. Raise NotReady while task modules are being described."""
        return self._catalog.tasks()

    def counts(self, caller: Caller = SERVER) -> dict[State, int]:
        """Return the number of the caller's jobs in each state."""
        return self._registry.counts(caller)

    def checks(self) -> dict[str, Check]:
        """Return the health checks: those that the server requires to accept jobs, and others."""
        return checks_of(
            accepting=self.accepting,
            engine=self.engine.status(),
            journal=self.journal,
            catalog=self._catalog,
            stuck_monitor=self.stuck_watch,
            faults=self.faults,
        )

    async def shutdown(self, *, force: bool = False) -> None:
        """Stop accepting jobs, stop all jobs and wait, in a bounded time. Call it again with `force` to kill them."""
        self.accepting = False
        self._background.stop_watches()
        self.engine.stop_watches()
        self._admission.close()
        self._holding.close()
        if late := await end_all(self._owners, self.settings.cancel_budget_s, force=force):
            log.error("shutdown_unproven", jobs=late)
