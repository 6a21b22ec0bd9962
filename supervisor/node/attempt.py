"""One attempt of a job on this machine: an order in a worker, its workspace, and its proof.

The attempt makes two decisions. It sweeps processes that are left RESULT_GRACE_S after the first result, and it
publishes the content of `out/` if the job reported a result before it was asked to stop.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

from runner import protocol
from supervisor.engine.containment import NO_LIMITS
from supervisor.engine.engine import AttemptListener
from supervisor.engine.inspection import ProcessRow, StackDump
from supervisor.engine.order import Order, StdinChunk
from supervisor.engine.report import Began, Ended, Report, ResourceReport, TaskReported
from supervisor.engine.stop import Stop
from supervisor.guardian.ladder import RESULT_GRACE_S
from supervisor.node.execution import Execution
from supervisor.node.inspect.runner_stacks import RunnerStacks
from supervisor.node.inspect.stacks import NoStack
from supervisor.node.inspect.waiting import describe
from supervisor.node.levels.enforcement import order_for
from supervisor.node.reports import report_of
from supervisor.node.services import NodeServices
from supervisor.node.storage.artifacts import Artifacts, PutAway
from supervisor.node.workers.worker import Worker

FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 5.0
"""The longest pause between attempts to prove the end after an internal error."""


class NodeAttempt:
    """Implements `engine.Attempt`. Only for use on the event loop."""

    def __init__(
        self, worker: Worker, order: Order, listener: AttemptListener, artifacts: Artifacts, services: NodeServices
    ) -> None:
        self._worker = worker
        self._order = order
        self._listener = listener
        self._artifacts = artifacts
        self._services = services
        self._reported: TaskReported | None = None
        self._stopped_before_result = False
        self._has_workspace = False
        self._gone = False
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._execution = Execution(
            order.job_id,
            worker,
            services.backstop,
            services.state_dir.records,
            report_bound_s=services.cancel_budget_s,
            on_report=listener.report,
            on_frame=self._take,
            faults=services.faults,
        )
        self._stacks = RunnerStacks(worker.runner.pid, worker.started.stack, services.state_dir.looks.stacks)
        limits = order.needs.limits
        controllers = services.controllers if order.needs.level.takes_cgroup else frozenset()
        work = services.launch_settings.work(order, artifacts.workspace, artifacts.short_path)
        self._execution.begin(work, None if limits == NO_LIMITS else order_for(limits, controllers))
        self._ending = asyncio.create_task(self._end(), name=f"attempt of job {order.job_id}")

    def stop(self, stop: Stop) -> None:
        if self._gone:
            return  # only the disk is waited for
        self._stopped_before_result |= self._reported is None
        self._execution.stop(stop, after_result=self._reported is not None)

    def write(self, chunk: StdinChunk) -> int:
        return self._execution.type(protocol.StdinChunk(chunk.text, chunk.eof, chunk.rows, chunk.columns))

    async def ended(self) -> Ended:
        return await asyncio.shield(self._ending)

    async def processes(self) -> list[ProcessRow]:
        return [] if self._gone else await self._services.state_dir.looks.processes(self._execution.root_pid)

    async def stacks(self, *, native: bool = False) -> StackDump:
        taken_at = datetime.now(UTC)
        try:
            if self._gone:
                raise NoStack("the job's process has ended")
            return StackDump(await self._stacks.take(native=native), taken_at)
        except NoStack as exc:
            return StackDump(None, taken_at, str(exc))

    def waits_for(self) -> str:
        return describe(self._execution.runner_pid)

    def _take(self, frame: object) -> None:
        report = report_of(frame, self._execution.runner_pid)
        if report is None:
            return
        if isinstance(report, TaskReported) and self._reported is None:
            self._reported = report
            self._sweep_timer = asyncio.get_running_loop().call_later(RESULT_GRACE_S, self._sweep_after_result)
        self._listener.report(report)
        if isinstance(report, Began):
            self._hold_workspace()

    def _hold_workspace(self) -> None:
        if not self._has_workspace:
            self._has_workspace = True
            self._tell(ResourceReport("acquired", "directory", str(self._artifacts.workspace)))

    def _tell(self, report: Report) -> None:
        try:
            self._listener.report(report)
        except Exception as exc:
            self._services.faults.note("attempt", exc, job_id=self._order.job_id)

    def _sweep_after_result(self) -> None:
        if not self._gone:
            self._execution.sweep_after_result(self._services.cancel_budget_s)

    async def _end(self) -> Ended:
        ended = await self._proven()
        self._gone = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._services.pool.retire(self._worker)
        put_away = await self._put_away()
        if put_away.existed:
            self._hold_workspace()  # if the job ended before it reported anything
        problems = put_away.problems if self._has_workspace or not put_away.gone else ()
        workspace = str(self._artifacts.workspace) if self._has_workspace else ""
        return replace(ended, workspace=workspace, workspace_removed=put_away.gone, problems=problems)

    async def _proven(self) -> Ended:
        """Wait for the proof, and retry after internal errors. Never raise."""
        finishing = self._execution.finish
        pause_s = 0.0
        while True:
            try:
                return await finishing()
            except Exception as exc:
                self._services.faults.note("attempt", exc, job_id=self._order.job_id)
            finishing = self._execution.abandon
            await asyncio.sleep(pause_s)
            pause_s = min(max(2 * pause_s, FIRST_RETRY_S), LONGEST_RETRY_S)

    async def _put_away(self) -> PutAway:
        succeeded = self._reported is not None and self._reported.error is None and not self._stopped_before_result
        try:
            return await self._artifacts.put_away(
                publish=succeeded or self._order.keep_files, due_at=self._execution.due_at
            )
        except Exception as exc:
            self._services.faults.note("workspace", exc, job_id=self._order.job_id)
            return PutAway(existed=False, gone=False)


class NodeReservation:
    """A reserved worker, which waits for an order. Implements `engine.Reservation`."""

    node = "local"

    def __init__(self, worker: Worker, services: NodeServices) -> None:
        self._worker = worker
        self._services = services
        self._artifacts: Artifacts | None = None

    async def prepare(self, order: Order) -> str:
        self._artifacts = Artifacts(order, self._services.state_dir)
        return await self._artifacts.prepare()

    def start(self, order: Order, listener: AttemptListener) -> NodeAttempt:
        artifacts = self._artifacts or Artifacts(order, self._services.state_dir)
        try:
            return NodeAttempt(self._worker, order, listener, artifacts, self._services)
        except BaseException:
            self._services.pool.retire(self._worker)
            raise

    def release(self) -> None:
        self._services.pool.return_unused(self._worker)
