"""The one task that sees a job through, from its place in the queue to its terminal event.

Everything that changes the job goes through `apply`, on the event loop, one fact at a time. Cancel is a fact like any
other: it is never lost, because the job has its record before it has a process, and never early or late, because
binding a set to the job and looking for a cause are one step.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from runner import protocol
from supervisor.containment.attempt_records import AttemptRecords
from supervisor.containment.attempt_set import AttemptSet
from supervisor.containment.backstop import Backstop
from supervisor.containment.limits import NO_LIMITS, order_for
from supervisor.containment.stacks import NoStack
from supervisor.containment.warm import WarmPool
from supervisor.core import frames, logbook, machine
from supervisor.core.admission import Place
from supervisor.core.attempt import Attempt
from supervisor.core.belongings import Belongings
from supervisor.core.facts import (
    Bound,
    CancelRequested,
    Effect,
    Emit,
    Fact,
    Finish,
    StartRefused,
    StartTimeout,
    StopAttempt,
)
from supervisor.core.files import Files
from supervisor.core.journal.journal import Journal
from supervisor.core.model import Cause, Job, JobError, Reason, State
from supervisor.core.orders import Orders
from supervisor.core.registry import Record
from supervisor.core.workspaces import Workspaces
from supervisor.errors import InvalidRequest, StorageFull

LEFT_OUT_FIRST = frozenset({"job.output", "job.log", "job.progress"})
"""What a reader can do without."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Services:
    """What owners share."""

    pool: WarmPool
    workspaces: Workspaces
    files: Files
    backstop: Backstop
    records: AttemptRecords
    orders: Orders
    journal: Journal
    cancel_budget_s: float
    on_end: Callable[[Record], None]
    observers: tuple[Callable[[Record, Job, Fact], None], ...] = ()
    """Told of every fact that a job took, with the job as it was before."""


class Owner:
    """Owns one record. `run` is its task; `cancel` may be called from anywhere on the loop, from birth."""

    def __init__(self, record: Record, services: Services) -> None:
        self.record = record
        self._module = ""
        self._put_off = False
        self._dropped = 0
        self._services = services
        self.belongings = Belongings(record, services.workspaces, services.files)
        self._attempt: Attempt | None = None
        self._timeout: asyncio.TimerHandle | None = None
        self._log = log.bind(job_id=record.job.id)
        logbook.born(record)

    def cancel(self, cause: Cause) -> None:
        """The only way to stop a job. Returns at once; what comes of it is in the record."""
        budget_s = self._services.cancel_budget_s if cause.budget_s is None else cause.budget_s
        self.record.pulse.caused(cause.detected)
        self.apply(CancelRequested(cause, min(budget_s, self._services.cancel_budget_s)))
        self.record.stop_wanted.set()

    def put_off(self) -> None:
        """Leave a queued job to the next server. It can still be cancelled."""
        self._put_off = True
        self.record.stop_wanted.set()

    @property
    def stopped(self) -> bool:
        """The job does not begin any more, or not here."""
        return self._put_off or self.record.job.state is not State.QUEUED

    def apply(self, fact: Fact) -> None:
        """Take one fact and do what follows from it."""
        before = self.record.job
        self.record.life, effects = machine.step(self.record.life, fact, datetime.now(UTC))
        for observe in self._services.observers:
            observe(self.record, before, fact)
        for effect in effects:
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Emit(type_, fields):
                self.record.log.append(type_, fields)
            case StopAttempt(cause, budget_s):
                if self._attempt is not None:
                    self._attempt.stop(cause, budget_s)
            case StartTimeout(seconds):
                self._timeout = asyncio.get_running_loop().call_later(seconds, self._timed_out)
            case Finish():
                self._finish()

    def _timed_out(self) -> None:
        self.cancel(
            Cause(Reason.TIMEOUT, time.monotonic(), datetime.now(UTC), f"ran {self.record.job.request.timeout_s} s")
        )

    def _finish(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
        self.record.input.close("it has ended")
        self.record.close()
        self.record.stuck = None
        self._services.on_end(self.record)

    async def run(self, place: Place, cleared: Awaitable[str]) -> None:
        """See the job through. Gives the place back when nothing of the job is left.

        `cleared` comes when the job may begin, with the module of its task, or raises why it may not.
        """
        with place:
            try:
                if await self._clearance(cleared) and await self._unless_stopped(place.admitted.wait()):
                    self.record.pulse.admitted()
                    bound = await self._get_set()
                    if bound is not None and await self._is_written_down(bound):
                        await self._execute(bound)
            except StorageFull as exc:
                self.apply(StartRefused(JobError("store", str(exc))))
            except InvalidRequest as exc:
                self.apply(StartRefused(JobError("load", f"it cannot run as it was queued: {exc}")))
            except Exception:
                # A bug of ours must not take the server down, nor leave the job's processes or its state behind.
                self._log.exception("owner_failed")
                await self._abandon()

    async def _clearance(self, cleared: Awaitable[str]) -> bool:
        clearing = asyncio.ensure_future(cleared)
        if not await self._unless_stopped(clearing):
            if clearing.done() and not clearing.cancelled():
                clearing.exception()  # whatever it says, the job does not begin
            return False
        self._module = clearing.result()
        return True

    async def _unless_stopped(self, waiting: Awaitable[object]) -> bool:
        """Wait for something, but not past a cause. True: it came, and nobody wants to stop."""
        task = asyncio.ensure_future(waiting)
        stop = asyncio.ensure_future(self.record.stop_wanted.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
        return not self.stopped

    async def _get_set(self) -> AttemptSet | None:
        place = self._services.pool.request(self.record.job.containment)
        wanted = await self._unless_stopped(place)
        if place.cancelled():
            if wanted:
                self.apply(StartRefused(JobError("guardian", "the server stopped before the job could start")))
            return None
        bound = place.result()
        if not wanted:
            self._services.pool.give_back(bound)
            return None
        return bound

    async def _is_written_down(self, bound: AttemptSet) -> bool:
        """A job begins once the journal knows that it does, or it would begin again when this server is killed."""
        if await self._unless_stopped(self._services.journal.begins(self.record)):
            return True
        self._services.journal.not_begun(self.record)
        self._services.pool.give_back(bound)
        return False

    async def _execute(self, bound: AttemptSet) -> None:
        short_path = self._services.workspaces.short_path(self.record.job.id)
        work = self._services.orders.work(self.record.job, self._module, self.belongings.workspace, short_path)
        # Binding and looking for a cause are one step: nothing is awaited between here and the hand-over in run().
        self._attempt = Attempt(
            self.record.job.id,
            bound,
            self._services.backstop,
            self._services.records,
            report_bound_s=self._services.cancel_budget_s,
            on_fact=self.apply,
            on_frame=self._frame,
        )
        self.record.guardian_pid = self._attempt.guardian_pid
        self.record.root_pid = self._attempt.root_pid
        self.record.pulse.bound()
        self.apply(Bound())
        limits = self.record.job.request.limits
        limit = None if limits == NO_LIMITS else order_for(limits, self.record.job.controllers)
        gone = await self._attempt.run(work, limit)
        self.record.guardian_pid = self.record.root_pid = None
        self._services.pool.retire(bound)
        self.apply(replace(gone, workspace_removed=self.belongings.put_away()))

    async def _abandon(self) -> None:
        if self.record.job.state.terminal:
            return
        if self._attempt is None:
            self.apply(StartRefused(JobError("guardian", "the server could not start this job; its log says why")))
            return
        gone = await self._attempt.abandon()
        self.record.guardian_pid = self.record.root_pid = None
        self.apply(replace(gone, workspace_removed=self.belongings.put_away()))

    @property
    def runner_pid(self) -> int | None:
        return None if self._attempt is None else self._attempt.runner_pid

    async def stack(self, *, native: bool = False) -> str:
        """The stacks of the job's runner. Raises NoStack."""
        if self._attempt is None:
            raise NoStack("the job has no process yet")
        return await self._attempt.stack(native=native)

    def _frame(self, frame: object) -> None:
        assert self._attempt is not None
        self.record.pulse.beat()
        match frame:
            case protocol.Heartbeat():
                return
            case protocol.Running():
                self.record.input.connect(self._attempt.type)
            case protocol.InputTaken(cost):
                self.record.input.taken(cost)
            case protocol.InputClosed():
                self.record.input.close("nothing in it reads its input any more")
        self.record.pulse.task_spoke()
        emits, fact = frames.interpret(frame, self._attempt.runner_pid)
        job = frames.follow(self.record.job, frame)
        if job is not self.record.job and not (self.record.reported and isinstance(frame, protocol.PhaseChange)):
            self.record.life = replace(self.record.life, job=job)
        for emit in emits:
            self._say(emit)
        try:
            if fact is not None:
                self.apply(fact)
        except machine.RefusedTransition as exc:
            # The job wrote this, not our runner: nobody begins or reports twice. As for a line that is no frame.
            fields = {"level": "warning", "message": "a frame of this job was refused", "fields": {"reason": str(exc)}}
            self._say(Emit("job.log", fields))
            return
        if isinstance(frame, protocol.Running):
            self.belongings.hold_workspace()

    def _say(self, emit: Emit) -> None:
        """Write what the job says into its log, unless there is too much of it already: then output is left out,
        before it gets a number, and the log says how much."""
        if emit.type in LEFT_OUT_FIRST and self._services.journal.congested:
            self._dropped += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            message = f"{dropped} events were left out: they came faster than they could be written"
            self.record.log.append("job.log", {"level": "warning", "message": message, "fields": {"dropped": dropped}})
        self.record.log.append(emit.type, emit.fields)
