"""The task that controls one job, from its place in the queue to its terminal event.

All changes of the job go through `apply`, on the event loop, one input at a time. A cancel is an ordinary input. It
cannot be lost, because the job has a record before it has a process. It cannot miss the start either, because checking
for a cause and starting are one step.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from supervisor.core.jobs import machine, resources
from supervisor.core.jobs.inputs import (
    Bound,
    CancelRequested,
    Effect,
    Emit,
    Finish,
    Input,
    StartRefused,
    StartTimeout,
    StopAttempt,
)
from supervisor.core.jobs.model import Cause, Reason, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.loop.waiting import wait_unless
from supervisor.core.running.held_report import HeldReport
from supervisor.core.running.messages import AttemptMessages
from supervisor.core.running.orders import needs_of, order_of
from supervisor.core.running.queue import Slot
from supervisor.core.running.services import Services
from supervisor.core.telemetry import transition_log
from supervisor.engine import engine
from supervisor.engine.order import Order, StdinChunk
from supervisor.engine.report import Ended, JobError, ResourceReport
from supervisor.engine.stop import Stop, budget
from supervisor.errors import InvalidRequest, StorageFull

NOT_STARTED = JobError("guardian", "the server could not start this job; its log says why")

log = structlog.get_logger()


class JobController:
    """Owns one job's record. `run` is its task. `cancel` may be called on the event loop at any time."""

    def __init__(self, record: LiveJob, services: Services) -> None:
        self.record = record
        self.module = ""
        """The module of the job's task, once it is known."""
        self.attempt: engine.Attempt | None = None
        """Set while the job has processes, or may have."""
        self._put_off = False
        self._services = services
        self._reservation: engine.Reservation | None = None
        self._timeout: asyncio.TimerHandle | None = None
        transition_log.born(record)

    def cancel(self, cause: Cause) -> None:
        """Stop the job, without waiting. This is the only way; the record shows the result."""
        self.record.pulse.caused()
        self.apply(CancelRequested(cause, budget(cause.budget_s, self._services.cancel_budget_s)))
        self.record.stop_wanted.set()

    def put_off(self) -> None:
        """Leave a queued job to the next server. It can still be cancelled."""
        self._put_off = True
        self.record.stop_wanted.set()

    @property
    def stopped(self) -> bool:
        """Whether the job must not start any more, or not on this server."""
        return self._put_off or self.record.job.state is not State.QUEUED

    def apply(self, fact: Input) -> None:
        """Apply one input and its effects. Raise RefusedTransition if the job's state does not allow it."""
        before = self.record.job
        self.record.life, effects = machine.step(self.record.life, fact, datetime.now(UTC))
        for observe in self._services.observers:
            self._guarded("observer", observe, self.record, before, fact)
        for effect in effects:
            self._guarded("job effect", self._do, effect)

    def _guarded(self, where: str, act: Callable[..., None], *arguments: object) -> None:
        # An exception in one effect must not prevent the others: the last one frees the slot.
        try:
            act(*arguments)
        except Exception as exc:
            self._services.faults.note(where, exc, job_id=self.record.job.id)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Emit(type_, fields):
                self.record.log.append(type_, fields)
            case StopAttempt(cause, budget_s):
                if self.attempt is not None:
                    age_s = max(0.0, time.monotonic() - cause.detected)
                    self.attempt.stop(Stop(age_s, budget_s, force=cause.force, vanished=cause.vanished))
            case StartTimeout(seconds):
                loop = asyncio.get_running_loop()
                self._timeout = loop.call_at(loop.time() + seconds, self._timed_out, loop.time() + seconds)
            case Finish():
                self._finish()

    def _timed_out(self, due: float) -> None:
        # The cause counts from the time when it was due, so that a delay of the loop counts against the budget.
        self.cancel(Cause(Reason.TIMEOUT, due, datetime.now(UTC), f"ran {self.record.job.request.timeout_s} s"))

    def _finish(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
        self.record.input.close("it has ended")
        self.record.close()
        self._services.on_end(self.record)

    async def run(self, slot: Slot, cleared: Awaitable[str]) -> None:
        """Run the job. Release the slot once no process of the job is left.

        `cleared` returns the module of the task once the job may start, or raises an exception if it may not.
        """
        with slot:
            try:
                if await self._clearance(cleared) and await self._unless_stopped(slot.admitted.wait()):
                    self.record.pulse.admitted()
                    await self._start_and_follow()
            except StorageFull as exc:
                self.apply(StartRefused(JobError("store", str(exc))))
            except InvalidRequest as exc:
                self.apply(StartRefused(JobError("load", f"it cannot run as it was queued: {exc}")))
            except engine.StartRefused as exc:
                self.apply(StartRefused(JobError("guardian", str(exc))))
            except Exception as exc:
                # An internal error must not end the server, or leave the job's processes or an unfinished state behind.
                self._services.faults.note("job controller", exc, job_id=self.record.job.id)
                await self._end_in_any_case()
            finally:
                self._release()

    async def _clearance(self, cleared: Awaitable[str]) -> bool:
        clearing = asyncio.ensure_future(cleared)
        if not await self._unless_stopped(clearing):
            return False
        self.module = clearing.result()
        return True

    async def _unless_stopped(self, waiting: Awaitable[object]) -> bool:
        """Wait for something unless the job is stopped first. Return whether it came and there is no cause to stop."""
        await wait_unless(self.record.stop_wanted, waiting)
        return not self.stopped

    async def _start_and_follow(self) -> None:
        job = self.record.job
        reserving = asyncio.ensure_future(self._services.engine.reserve(needs_of(job)))
        wanted = await self._unless_stopped(reserving)
        if not wanted:
            reserving.add_done_callback(_release_late)
            return
        self._reservation = reserving.result()
        order = order_of(job, module=self.module, budget_s=self._services.cancel_budget_s)
        if await self._is_written_down(self._reservation, order):
            await self._follow(self._start(self._reservation, order))

    async def _is_written_down(self, reservation: engine.Reservation, order: Order) -> bool:
        """Wait until the journal has recorded the start, so that no other server starts the job again."""
        both = asyncio.gather(self._services.journal.begins(self.record), reservation.prepare(order))
        wanted = await self._unless_stopped(both)
        problem = both.result()[1] if wanted else ""
        if wanted and not problem:
            return True
        self._services.journal.not_begun(self.record)
        if problem:
            self.apply(StartRefused(JobError("store", problem)))
        return False

    def _start(self, reservation: engine.Reservation, order: Order) -> HeldReport:
        held = HeldReport(self.record, self.apply)
        messages = AttemptMessages(
            self.record, self._services.journal, held=held, apply=self.apply, write=self._write_input
        )
        # Checking for a cause and starting are one step: nothing has been awaited since the check.
        self._reservation = None
        self.attempt = reservation.start(order, messages)
        self.record.pulse.bound()
        self.apply(Bound())
        return held

    async def _follow(self, held: HeldReport) -> None:
        assert self.attempt is not None
        ended = await self.attempt.ended()
        self.attempt = None
        await held.settle(by_stop_signal=ended.by_stop_signal)
        self._end(ended)

    def _end(self, ended: Ended) -> None:
        for problem in ended.problems:
            self.record.log.append("job.log", {"level": "error", "message": problem, "fields": {}})
        self.mark_removed(left=None if ended.workspace_removed else ended.workspace)
        if self.record.job.cancellation is not None and ended.gone_ms is None:
            ended = replace(ended, gone_ms=0.0)  # the cause came only after the proof, so its end took no time
        self.apply(ended)

    def mark_removed(self, *, left: str | None = None) -> None:
        """Record that what the job still held was removed after its end, except the resource named `left`."""
        for entry in resources.held(self.record.job.resources):
            if entry.name != left:
                self.apply(ResourceReport("removed", entry.kind, entry.name))

    def _write_input(self, typed: StdinChunk) -> int:
        return 0 if self.attempt is None else self.attempt.write(typed)

    def _release(self) -> None:
        reservation, self._reservation = self._reservation, None
        if reservation is not None:
            reservation.release()

    async def _end_in_any_case(self) -> None:
        """Wait for the proof and finish the job after an internal error. Never raise."""
        try:
            if self.attempt is not None:
                self.attempt.stop(Stop(0.0, self._services.cancel_budget_s, force=True))
                ended = await self.attempt.ended()
                self.attempt = None
                self._end(ended)
            elif not self.record.job.state.terminal:
                self.apply(StartRefused(NOT_STARTED))
        except Exception as exc:
            self._services.faults.note("job controller", exc, job_id=self.record.job.id)


def _release_late(reserving: asyncio.Future[engine.Reservation]) -> None:
    if not reserving.cancelled() and reserving.exception() is None:
        reserving.result().release()
