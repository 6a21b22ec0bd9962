"""Describing tasks and testing oneself are one act: start a set, have it import a module, kill it, see the proof.

Each module of tasks is described once; of the built-in ones, which are known in writing, only the first. That one is
started and killed again every EVERY_S, so that "ready" means that jobs really start and stop now, not that they once
did. Each set has a child that has left the session. It is watched from outside too: what the guardian reports is
believed only if every process of the set is gone.

An error of one round is that round's: it makes the server unready, and the next round is tried as ever.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import structlog

from runner import protocol
from supervisor.core.jobs.inputs import Gone, Input
from supervisor.core.jobs.model import Cause, Reason
from supervisor.core.loop.background import BackgroundTasks
from supervisor.core.running.services import Services
from supervisor.core.tasks.catalog import Catalog
from supervisor.guardian.handle import Handle
from supervisor.guardian.proc import descendants, read_stat
from supervisor.node.attempt import Attempt
from supervisor.node.workers.worker import Worker

EVERY_S = 30.0
AGAIN_S = 2.0
"""After a round that failed the next one comes sooner."""
LATELY_S = 60.0
"""Readiness is about what happened since then."""

log = structlog.get_logger()


class SelfTest:
    """Runs as a background task; so do the ends of what it starts. `ok` is for readiness."""

    def __init__(self, background: BackgroundTasks, services: Services, catalog: Catalog, import_s: float) -> None:
        self._background = background
        self._services = services
        self._catalog = catalog
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
            return "no set was started and killed yet"
        age_s = time.monotonic() - self._proven_at
        return f"started and killed {age_s:.0f} s ago, with a child that had left, gone after {self._gone_ms:.0f} ms"

    @property
    def numbers(self) -> dict[str, float]:
        if self._proven_at is None:
            return {}
        return {"age_s": round(time.monotonic() - self._proven_at, 1), "gone_ms": round(self._gone_ms, 1)}

    async def run(self) -> None:
        """Describe every module, then test from time to time. Never returns."""
        first, *own = self._catalog.modules
        await asyncio.gather(self._round(first), *(self._describe_for_certain(module) for module in own))
        for module, why in self._catalog.errors.items():
            log.error("task_module_broken", module=module, error=why, traceback=self._catalog.tracebacks.get(module))
        while True:
            await asyncio.sleep(EVERY_S if self._failure is None else AGAIN_S)
            await self._round(self._catalog.modules[0])

    async def _describe_for_certain(self, module: str) -> None:
        while module in self._catalog.pending:
            if not await self._round(module):
                await asyncio.sleep(AGAIN_S)

    async def _round(self, module: str) -> bool:
        """Describe a module once. Return False when that failed by an error of ours."""
        try:
            await self._describe(module)
        except Exception as exc:
            self._services.faults.note("self-test", exc)
            self._fail(f"the self-test failed: {type(exc).__name__}: {exc}")
            return False
        return True

    async def _describe(self, module: str) -> None:
        described: asyncio.Future[protocol.Described] = asyncio.get_running_loop().create_future()

        def on_frame(frame: object) -> None:
            if isinstance(frame, protocol.Described) and frame.module == module and not described.done():
                described.set_result(frame)

        bound = await self._services.pool.take()
        try:
            attempt = Attempt(
                f"describe {module}",
                bound,
                self._services.backstop,
                self._services.state_dir.records,
                report_bound_s=self._services.cancel_budget_s,
                on_fact=_ignore,
                on_frame=on_frame,
                faults=self._services.faults,
            )
            order = self._services.orders.describe(module)
        except BaseException:
            self._services.pool.retire(bound)
            raise
        run = asyncio.ensure_future(attempt.run(order))
        try:
            await asyncio.wait((described, run), timeout=self._import_s, return_when=asyncio.FIRST_COMPLETED)
            if not described.done():
                late = f"its import took over {self._import_s:g} s (DEADSTOP_IMPORT_S)"
                why = "its import ended the process" if run.done() else late
                self._catalog.give_up(module, why)
        finally:
            # A task of its own: the server may stop, and cancel this one, while the set is being killed.
            end = self._end(attempt, run, bound, described)
            await asyncio.shield(self._background.start(end, f"end of the self-test of {module}"))
        if described.done():
            self._catalog.add(described.result())

    async def _end(
        self,
        attempt: Attempt,
        run: asyncio.Future[Gone],
        bound: Worker,
        described: asyncio.Future[protocol.Described],
    ) -> None:
        try:
            with ExitStack() as opened:
                handles, escaped = _everything_of(attempt.runner_pid, opened)
                gone_ms = await self._kill(attempt, run)
                alive = [handle.pid for handle in handles if not handle.ended]
        except BaseException:
            await self._kill(attempt, run)
            raise
        finally:
            self._services.pool.retire(bound)
        # A module that ended its process, or hangs, never came to start the child: that says nothing about the server.
        if described.done() or alive:
            self._judge(escaped, alive, gone_ms)

    async def _kill(self, attempt: Attempt, run: asyncio.Future[Gone]) -> float:
        """Kill the attempt and wait for its proof, with or without its guardian. Return how long that took, in ms."""
        asked = time.monotonic()
        attempt.stop(Cause(Reason.API, asked, datetime.now(UTC), force=True), self._services.cancel_budget_s)
        try:
            await run
        except Exception as exc:
            self._services.faults.note("self-test", exc)
            await attempt.abandon()
        return (time.monotonic() - asked) * 1000

    def _judge(self, escaped: list[int], alive: list[int], gone_ms: float) -> None:
        if alive:
            self._fail(f"the self-test was said to be gone, but processes {alive} of it live")
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


def _everything_of(runner_pid: int, opened: ExitStack) -> tuple[list[Handle], list[int]]:
    """Return handles of a runner and all below it, closed by `opened`, and the pids of those in another session."""
    runner = read_stat(runner_pid)
    pids = [] if runner is None else [runner.pid, *descendants(runner.pid)]
    escaped = [pid for pid in pids if (stat := read_stat(pid)) and runner and stat.sid != runner.sid]
    handles = []
    for pid in pids:
        handle = Handle.open(pid)
        opened.callback(handle.close)
        handles.append(handle)
    return handles, escaped


def _ignore(_fact: Input) -> None:
    """A self-test has no job that could be told."""
