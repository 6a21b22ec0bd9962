"""One order in one worker, from its hand-over to the proof of its end.

The end is proven in one of two ways: by the guardian's report (ECHILD), or, if the guardian is dead, stopped or late,
by the supervisor's own rounds of SIGKILL, after which it reaps the adopted orphans. In both cases everything that the
job has written to its channel is read before the end is reported.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import structlog

from runner import protocol
from supervisor.engine.containment import Proof, Survivor
from supervisor.engine.report import Ended, JobError, Report, Unproven
from supervisor.engine.stop import Stop
from supervisor.faults import Faults
from supervisor.guardian import protocol as guardian_protocol
from supervisor.guardian.ladder import Ladder
from supervisor.guardian.protocol import Limit
from supervisor.node.cleanup.attempt_records import AttemptRecords
from supervisor.node.cleanup.backstop import Backstop
from supervisor.node.cleanup.kill_round import Round, SweepTarget
from supervisor.node.execution_readers import ExecutionReaders
from supervisor.node.explain_end import ended_by_backstop, ended_by_guardian
from supervisor.node.workers.worker import Worker

ROUND_S = 0.005
SLOW_ROUND_S = 0.1
"""Pause between rounds of SIGKILL before and after the verdict."""

GUARDIAN_ENDED = JobError("guardian", "the process that guards this job was ended from outside; the job was killed")
SERVER_FAILED = JobError("guardian", "the server failed while it ran this job, and killed it; its log says why")

log = structlog.get_logger()


class Execution:
    """`begin` hands over the order, `finish` waits for the proof. `stop` may be called at any time from the loop.

    `report_bound_s` limits the time that a guardian may take to report after its runner has ended without a stop.
    If `on_report` or `on_frame` raises an exception, that message is lost and `faults` records the error.
    """

    def __init__(
        self,
        job_id: str,
        bound: Worker,
        backstop: Backstop,
        records: AttemptRecords,
        *,
        report_bound_s: float,
        on_report: Callable[[Report], None],
        on_frame: Callable[[object], None],
        faults: Faults,
    ) -> None:
        self._bound = bound
        self._job_id = job_id
        self._backstop = backstop
        self._records = records
        self._faults = faults
        self._awaited = False
        """Whether a stop was requested. Then a client may wait for the verdict, and nothing else may delay it."""
        self._ladder: Ladder | None = None
        self._swept: set[int] = set()
        self._report_bound_s = report_bound_s
        self._report_due = math.inf
        self._guardian_gone = asyncio.Event()
        self._readers = ExecutionReaders(
            job_id, bound, on_report=on_report, on_frame=on_frame, guardian_gone=self._guardian_gone, faults=faults
        )
        self._changed = asyncio.Event()
        self._log = log.bind(job_id=job_id)
        bound.watch_exit(bound.guardian, self._guardian_gone.set)
        bound.watch_exit(bound.runner, self._runner_ended)

    @property
    def runner_pid(self) -> int:
        return self._bound.runner.pid

    @property
    def guardian_pid(self) -> int:
        return self._bound.guardian.pid

    @property
    def root_pid(self) -> int:
        """Every descendant of this process belongs to the job."""
        return self._bound.root_pid

    def stop(self, stop: Stop, *, after_result: bool = False) -> None:
        """Start the ladder, or bring its steps forward, without blocking.

        With `after_result` the task has already reported, so it is not asked to stop.
        """
        self._awaited = True
        self._stop(
            guardian_protocol.Stop(
                t0=time.monotonic() - stop.age_s,
                budget_s=stop.budget_s,
                force=stop.force,
                vanished=stop.vanished,
                after_result=after_result,
            )
        )

    @property
    def due_at(self) -> float | None:
        """The deadline for the end of all processes, in monotonic seconds; None if no stop was requested."""
        return None if self._ladder is None or not self._awaited else self._ladder.t0 + self._ladder.budget_s

    def sweep_after_result(self, budget_s: float) -> None:
        """Stop the remaining processes of a task that has reported. No client waits, so read all of its output."""
        self._stop(guardian_protocol.Stop(t0=time.monotonic(), budget_s=budget_s, after_result=True))

    def _stop(self, stop: guardian_protocol.Stop) -> None:
        before = self._ladder or Ladder(t0=stop.t0, budget_s=stop.budget_s)
        self._ladder = before.raised(
            stop.t0, stop.budget_s, force=stop.force, vanished=stop.vanished, after_result=stop.after_result
        )
        self._bound.stop(stop)
        self._changed.set()

    def type(self, frame: protocol.StdinChunk) -> int:
        """Send a client's input without blocking. Return how many bytes of it and earlier input wait to be sent."""
        self._bound.channel.send(frame)
        return self._bound.channel.writer.transport.get_write_buffer_size()

    def begin(self, work: protocol.RunTask | protocol.Describe, limit: Limit | None = None) -> None:
        """Hand over the order, without blocking."""
        self._noted(self._records.keep, self._job_id, self._bound.guardian, self._bound.runner)
        self._bound.send_order(work, limit)
        self._readers.start()

    async def finish(self) -> Ended:
        """Wait for the proof of the end."""
        try:
            report = await self._end()
            await self._readers.drain(lambda: self._awaited)
        finally:
            await self._readers.stop()
        self._noted(self._records.drop, self._bound.guardian)
        return self._ended(report, GUARDIAN_ENDED)

    async def abandon(self) -> Ended:
        """Kill the execution without the guardian, after `finish` has raised an exception. This gives a proof, too."""
        await self._sweep()
        report = self._reported()
        self._noted(self._records.drop, self._bound.guardian)
        return self._ended(report, SERVER_FAILED)

    async def _end(self) -> guardian_protocol.Ended | None:
        """Wait for the guardian's report. Return None if the supervisor had to kill the processes itself."""
        while not self._readers.report.done() and (left_s := self._until_backstop_s()) > 0:
            self._changed.clear()
            changed = asyncio.ensure_future(self._changed.wait())
            timeout = None if left_s == math.inf else left_s
            await asyncio.wait((self._readers.report, changed), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
        if self._reported() is None:
            await self._sweep()
        return self._reported()

    def _reported(self) -> guardian_protocol.Ended | None:
        return self._readers.report.result() if self._readers.report.done() else None

    def _runner_ended(self) -> None:
        # From now on the guardian sweeps the remaining processes and reports. If it is stopped, it never does.
        self._report_due = time.monotonic() + self._report_bound_s
        self._changed.set()

    def _until_backstop_s(self) -> float:
        due = self._report_due if self._ladder is None else self._ladder.backstop_at
        return due - time.monotonic()

    async def _sweep(self) -> None:
        """Send SIGKILL in rounds until no process is left. Continue after the verdict.

        A guardian that was only late may still report its own proof; then the rounds end.
        """
        bound = self._bound
        held = SweepTarget(bound.guardian, bound.started.plan.leaf, bound.known_processes, bound.init_pid)
        self._log.warning("backstop", guardian_ended=held.guardian.ended)
        began = time.monotonic()
        told: bool | None = None
        while self._reported() is None:
            found = await self._round(held)
            self._swept |= found.seen
            if found.done:
                return
            asked = self._awaited
            verdict_at = began + self._report_bound_s if self._ladder is None else self._ladder.verdict_at
            late = time.monotonic() >= verdict_at
            if late and told is not asked:
                survivors = await self._survivors(held)
                event = "cancel_unproven" if asked else "sweep_unproven"
                self._log.error(event, survivors=[survivor.pid for survivor in survivors])
                self._readers.tell(Unproven(survivors))
                told = asked
            await asyncio.sleep(SLOW_ROUND_S if late else ROUND_S)

    def _noted(self, write: Callable[..., None], *arguments: object) -> None:
        # The record is for the next server. A failing disk must delay neither the job nor its proof.
        try:
            write(*arguments)
        except Exception as exc:
            self._faults.note("attempt records", exc, job_id=self._job_id)

    async def _round(self, held: SweepTarget) -> Round:
        try:
            return await self._backstop.round(held)
        except Exception as exc:
            self._faults.note("backstop", exc, job_id=self._job_id)
            return Round(done=False, seen=frozenset())

    async def _survivors(self, held: SweepTarget) -> tuple[Survivor, ...]:
        try:
            return await self._backstop.survivors(held)
        except Exception as exc:
            self._faults.note("naming survivors", exc, job_id=self._job_id)
            return ()

    def _ended(self, report: guardian_protocol.Ended | None, error: JobError) -> Ended:
        """Return the end from the guardian's report. Without one it is the supervisor's, with `error` as the reason."""
        if report is not None:
            return ended_by_guardian(report)
        return ended_by_backstop(
            error,
            Proof.ADOPTED_REAPED if self._bound.known_processes is None else Proof.PROCESS_TABLE,
            processes_seen=len(self._swept),
            killed_s=None if self._ladder is None else time.monotonic() - self._ladder.t0,
        )
