"""The self-test, which also describes task modules: start a worker, let it import a module, kill it, check the proof.

The first module is tested again every EVERY_S seconds, so "ready" means that jobs start and stop now, not only that
they once did. Each worker under test has a child in another session. The test also checks from outside: it accepts the
guardian's report only if every process of the worker has ended.

An error in one round makes the server unready, and does not prevent the next round.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

import structlog

from runner import protocol
from supervisor.background import BackgroundTasks
from supervisor.engine.order import ModuleDescription, ModuleTask
from supervisor.engine.report import Ended, Report
from supervisor.engine.stop import Stop
from supervisor.guardian.handle import Handle
from supervisor.guardian.proc import descendants, read_stat
from supervisor.node.execution import Execution
from supervisor.node.services import NodeServices
from supervisor.node.workers.worker import Worker

MODULE = "runner.tasks.shell"
"""The module that the self-test imports, available on every machine."""
EVERY_S = 30.0
AGAIN_S = 2.0
"""Pause after a failed round."""
LATELY_S = 60.0
"""Only rounds within this time count for readiness."""
CHECK_TIMEOUT_S = 2.0
"""The round fails if inspecting the worker's processes takes longer."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Seen:
    """The processes of a worker before it was killed, as handles. Closing `opened` closes them."""

    opened: ExitStack = field(default_factory=ExitStack)
    handles: list[Handle] = field(default_factory=list)
    escaped: list[int] = field(default_factory=list)


class SelfTest:
    """Only for use on the event loop. `import_s` limits the import of a module, in seconds."""

    def __init__(self, background: BackgroundTasks, services: NodeServices, import_s: float) -> None:
        self._background = background
        self._services = services
        self._import_s = import_s
        self._proven_at: float | None = None
        self._gone_ms = 0.0
        self._failure: str | None = None

    @property
    def ok(self) -> bool:
        return self._failure is None and self._proven_at is not None and time.monotonic() - self._proven_at < LATELY_S

    @property
    def detail(self) -> str:
        if self._failure is not None:
            return self._failure
        if self._proven_at is None:
            return "no worker was started and killed yet"
        age_s = time.monotonic() - self._proven_at
        return f"started and killed {age_s:.0f} s ago, with a child that had left, gone after {self._gone_ms:.0f} ms"

    @property
    def numbers(self) -> dict[str, float]:
        if self._proven_at is None:
            return {}
        return {"age_s": round(time.monotonic() - self._proven_at, 1), "gone_ms": round(self._gone_ms, 1)}

    async def run(self) -> None:
        """Run a round now and then periodically, for ever."""
        while True:
            try:
                await self.describe(MODULE)
            except Exception as exc:
                self._services.faults.note("self-test", exc)
                self._fail(f"the self-test failed: {type(exc).__name__}: {exc}")
            await asyncio.sleep(EVERY_S if self._failure is None else AGAIN_S)

    async def describe(self, module: str) -> ModuleDescription:
        """Import a module in a worker, and kill the worker. Return the description of its tasks, or the error."""
        described: asyncio.Future[protocol.Described] = asyncio.get_running_loop().create_future()

        def on_frame(frame: object) -> None:
            if isinstance(frame, protocol.Described) and frame.module == module and not described.done():
                described.set_result(frame)

        worker = await self._services.pool.take()
        try:
            execution = Execution(
                f"describe {module}",
                worker,
                self._services.backstop,
                self._services.state_dir.records,
                report_bound_s=self._services.cancel_budget_s,
                on_report=_ignore,
                on_frame=on_frame,
                faults=self._services.faults,
            )
            execution.begin(self._services.launch_settings.describe(module))
        except BaseException:
            self._services.pool.retire(worker)
            raise
        finishing = asyncio.ensure_future(execution.finish())
        try:
            await asyncio.wait((described, finishing), timeout=self._import_s, return_when=asyncio.FIRST_COMPLETED)
            ended = finishing.done()
        finally:
            # This is a separate task, because the server may stop and cancel this one while the worker is being killed.
            end = self._end(execution, finishing, worker, described)
            await asyncio.shield(self._background.start(end, f"end of the self-test of {module}"))
        if not described.done():
            late = f"its import took over {self._import_s:g} s (DEADSTOP_IMPORT_S)"
            return ModuleDescription(module, error="its import ended the process" if ended else late)
        return _description(described.result())

    async def _end(
        self,
        execution: Execution,
        finishing: asyncio.Future[Ended],
        worker: Worker,
        described: asyncio.Future[protocol.Described],
    ) -> None:
        seen = _Seen()
        try:
            with seen.opened:
                await self._services.state_dir.looks.call(_see, execution.runner_pid, seen, timeout_s=CHECK_TIMEOUT_S)
                gone_ms = await self._kill(execution, finishing)
                alive = [handle.pid for handle in seen.handles if not handle.ended]
        except BaseException:
            await self._kill(execution, finishing)
            raise
        finally:
            self._services.pool.retire(worker)
        # A module that ends its process or hangs does not get to start the child. That is not the server's fault.
        if described.done() or alive:
            self._judge(seen.escaped, alive, gone_ms)

    async def _kill(self, execution: Execution, finishing: asyncio.Future[Ended]) -> float:
        """Kill the worker and wait for the proof, with or without its guardian. Return the duration in ms."""
        asked = time.monotonic()
        execution.stop(Stop(age_s=0.0, budget_s=self._services.cancel_budget_s, force=True))
        try:
            await finishing
        except Exception as exc:
            self._services.faults.note("self-test", exc)
            await execution.abandon()
        return (time.monotonic() - asked) * 1000

    def _judge(self, escaped: list[int], alive: list[int], gone_ms: float) -> None:
        if alive:
            self._fail(f"the self-test was reported gone, but processes {alive} of it live")
        elif not escaped:
            self._fail("the self-test could not start a child in a session of its own")
        else:
            self._failure = None
            self._proven_at = time.monotonic()
            self._gone_ms = gone_ms

    def _fail(self, why: str) -> None:
        if why != self._failure:
            log.error("selftest_failed", why=why)
        self._failure = why


def _see(runner_pid: int, seen: _Seen) -> None:
    """Open handles of a runner and its descendants, and note which are in another session. This reads /proc."""
    runner = read_stat(runner_pid)
    pids = [] if runner is None else [runner.pid, *descendants(runner.pid)]
    seen.escaped = [pid for pid in pids if (stat := read_stat(pid)) and runner and stat.sid != runner.sid]
    for pid in pids:
        handle = Handle.open(pid)
        seen.opened.callback(handle.close)
        seen.handles.append(handle)


def _description(described: protocol.Described) -> ModuleDescription:
    tasks = (ModuleTask(task.name, task.description, task.input_schema, task.origin) for task in described.tasks)
    return ModuleDescription(described.module, tuple(tasks), described.error, described.traceback)


def _ignore(_report: Report) -> None:
    """Drop the report: a self-test has no job."""
