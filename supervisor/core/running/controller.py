"""The one task that sees a job through, from its place in the queue to its terminal event.

Everything that changes the job goes through `apply`, on the event loop, one fact at a time. Cancel is a fact like any
other: it is never lost, because the job has its record before it has a process, and never early or late, because
binding a set to the job and looking for a cause are one step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from runner import protocol
from supervisor.core.jobs import machine
from supervisor.core.jobs.inputs import (
    Bound,
    CancelRequested,
    Effect,
    Emit,
    Finish,
    Gone,
    Input,
    StartRefused,
    StartTimeout,
    StopAttempt,
    SweepAfterResult,
)
from supervisor.core.jobs.model import Cause, JobError, Reason, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.running.held_report import HeldReport
from supervisor.core.running.message_handling import RunnerMessages
from supervisor.core.running.queue import Slot
from supervisor.core.running.services import Services
from supervisor.core.telemetry import transition_log as logbook
from supervisor.errors import InvalidRequest, StorageFull
from supervisor.guardian.ladder import RESULT_GRACE_S
from supervisor.node.attempt import Attempt
from supervisor.node.inspect.looks import Looks
from supervisor.node.inspect.stacks import NoStack
from supervisor.node.levels.enforcement import NO_LIMITS, order_for
from supervisor.node.storage.artifacts import Artifacts
from supervisor.node.workers.worker import Worker

FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 5.0
"""Pauses between tries to end a job whose end failed by an error of ours."""

log = structlog.get_logger()


class JobController:
    """Owns one record. `run` is its task; `cancel` may be called from anywhere on the loop, from birth."""

    def __init__(self, record: LiveJob, services: Services) -> None:
        self.record = record
        self.module = ""
        """The module of its task, once that is known."""
        self._put_off = False
        self._services = services
        self.belongings = Artifacts(record, services.state_dir, services.cancel_budget_s)
        self._attempt: Attempt | None = None
        self._bound: Worker | None = None
        self._timeout: asyncio.TimerHandle | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._log = log.bind(job_id=record.job.id)
        logbook.born(record)

    def cancel(self, cause: Cause) -> None:
        """The only way to stop a job. Returns at once; what comes of it is in the record."""
        budget_s = self._services.cancel_budget_s if cause.budget_s is None else cause.budget_s
        self.record.pulse.caused()
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

    def apply(self, fact: Input) -> None:
        """Take one fact and do what follows from it."""
        before = self.record.job
        self.record.life, effects = machine.step(self.record.life, fact, datetime.now(UTC))
        for observe in self._services.observers:
            self._guarded("observer", observe, self.record, before, fact)
        for effect in effects:
            self._guarded("job effect", self._do, effect)

    def _guarded(self, where: str, act: Callable[..., None], *arguments: object) -> None:
        # What one of them raises must keep no other from its part: the last effect is what frees the slot.
        try:
            act(*arguments)
        except Exception as exc:
            self._services.faults.note(where, exc, job_id=self.record.job.id)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Emit(type_, fields):
                self.record.log.append(type_, fields)
            case StopAttempt(cause, budget_s, after_result):
                # Without a guardian it is proven gone already, and only the disk is waited for.
                if self._attempt is not None and self.record.guardian_pid is not None:
                    self._attempt.stop(cause, budget_s, after_result=after_result)
            case SweepAfterResult():
                self.record.pulse.reported()
                self._sweep_timer = asyncio.get_running_loop().call_later(RESULT_GRACE_S, self._sweep_after_result)
            case StartTimeout(seconds):
                loop = asyncio.get_running_loop()
                self._timeout = loop.call_at(loop.time() + seconds, self._timed_out, loop.time() + seconds)
            case Finish():
                self._finish()

    def _timed_out(self, due: float) -> None:
        # Detected when it was due: the lateness of the loop counts against the budget.
        self.cancel(Cause(Reason.TIMEOUT, due, datetime.now(UTC), f"ran {self.record.job.request.timeout_s} s"))

    def _sweep_after_result(self) -> None:
        if self._attempt is not None and self.record.guardian_pid is not None:
            self._attempt.sweep_after_result(self._services.cancel_budget_s)

    def _finish(self) -> None:
        for timer in (self._timeout, self._sweep_timer):
            if timer is not None:
                timer.cancel()
        self.record.input.close("it has ended")
        self.record.close()
        self.record.stuck = None
        self._services.on_end(self.record)

    async def run(self, place: Slot, cleared: Awaitable[str]) -> None:
        """See the job through. Gives the place back when nothing of the job is left.

        `cleared` comes when the job may begin, with the module of its task, or raises why it may not.
        """
        with place:
            try:
                if await self._clearance(cleared) and await self._unless_stopped(place.admitted.wait()):
                    self.record.pulse.admitted()
                    self._bound = await self._get_set()
                    if self._bound is not None and await self._is_written_down(self._bound):
                        await self._execute(self._bound)
            except StorageFull as exc:
                self.apply(StartRefused(JobError("store", str(exc))))
            except InvalidRequest as exc:
                self.apply(StartRefused(JobError("load", f"it cannot run as it was queued: {exc}")))
            except Exception as exc:
                # A bug of ours must not take the server down, nor leave the job's processes or its state behind.
                self._services.faults.note("job controller", exc, job_id=self.record.job.id)
                await self._end_in_any_case()
            finally:
                self._retire()

    async def _clearance(self, cleared: Awaitable[str]) -> bool:
        clearing = asyncio.ensure_future(cleared)
        if not await self._unless_stopped(clearing):
            return False
        self.module = clearing.result()
        return True

    async def _unless_stopped(self, waiting: Awaitable[object]) -> bool:
        """Wait for something, but not past a cause. Return whether it came, and there is no cause."""
        task = asyncio.ensure_future(waiting)
        task.add_done_callback(_mark_read)
        stop = asyncio.ensure_future(self.record.stop_wanted.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
        return not self.stopped

    async def _get_set(self) -> Worker | None:
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

    async def _is_written_down(self, bound: Worker) -> bool:
        """A job begins once the journal knows that it does, or it would begin again when this server is killed."""
        both = asyncio.gather(self._services.journal.begins(self.record), self.belongings.prepare())
        wanted = await self._unless_stopped(both)
        problem = both.result()[1] if wanted else ""
        if wanted and not problem:
            return True
        self._services.journal.not_begun(self.record)
        self._bound = None
        self._services.pool.give_back(bound)
        if problem:
            self.apply(StartRefused(JobError("store", problem)))
        return False

    async def _execute(self, bound: Worker) -> None:
        short_path = self.belongings.short_path
        work = self._services.orders.work(self.record.job, self.module, self.belongings.workspace, short_path)
        held = HeldReport(self.record, self.apply)
        messages = RunnerMessages(
            self.record,
            self._services.journal,
            runner_pid=bound.runner.pid,
            apply=held.take,
            write_input=self._write_input,
            on_running=self.belongings.hold_workspace,
        )
        # Binding and looking for a cause are one step: nothing is awaited between here and the hand-over in run().
        self._attempt = Attempt(
            self.record.job.id,
            bound,
            self._services.backstop,
            self._services.state_dir.records,
            report_bound_s=self._services.cancel_budget_s,
            on_fact=self.apply,
            on_frame=messages.take,
            faults=self._services.faults,
        )
        self.record.guardian_pid = self._attempt.guardian_pid
        self.record.root_pid = self._attempt.root_pid
        self.record.pulse.bound()
        self.apply(Bound())
        limits = self.record.job.request.limits
        limit = None if limits == NO_LIMITS else order_for(limits, self.record.job.controllers)
        gone = await self._attempt.run(work, limit)
        self._retire()
        await held.settle(gone)
        self.apply(await self._put_away(gone))

    def _write_input(self, typed: protocol.StdinChunk) -> int:
        return 0 if self._attempt is None else self._attempt.type(typed)

    def _retire(self) -> None:
        self.record.guardian_pid = self.record.root_pid = None
        bound, self._bound = self._bound, None
        if bound is not None:
            self._services.pool.retire(bound)

    async def _put_away(self, gone: Gone) -> Gone:
        try:
            return await self.belongings.put_away_after(gone)
        except Exception as exc:
            self._services.faults.note("workspace", exc, job_id=self.record.job.id)
            return gone

    async def _end_in_any_case(self) -> None:
        """See the job to its proof and its end after an error of ours. Cannot raise: it tries until that works."""
        pause_s = FIRST_RETRY_S
        while not self.record.job.state.terminal:
            try:
                await self._abandon()
            except Exception as exc:
                self._services.faults.note("job controller", exc, job_id=self.record.job.id)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_RETRY_S)

    async def _abandon(self) -> None:
        gone = None if self._attempt is None else await self._attempt.abandon()
        self._attempt = None
        self._retire()
        if gone is None or self.record.job.state is State.QUEUED:
            self.apply(StartRefused(JobError("guardian", "the server could not start this job; its log says why")))
            return
        self.apply(await self._put_away(gone))

    @property
    def runner_pid(self) -> int | None:
        return None if self._attempt is None else self._attempt.runner_pid

    @property
    def looks(self) -> Looks:
        return self._services.state_dir.looks

    async def stack(self, *, native: bool = False) -> str:
        """The stacks of the job's runner. Raises NoStack."""
        if self._attempt is None:
            raise NoStack("the job has no process yet")
        return await self._attempt.stack(self.looks.stacks, native=native)


def _mark_read(ended: asyncio.Future[object]) -> None:
    """Once a cause has come nothing reads how the waiting ended, and asyncio would log that as an error."""
    if not ended.cancelled():
        ended.exception()
