"""Describing tasks and testing oneself are one act: start a set, have it import a module, kill it, see the proof.

Each module of tasks is described once. After that the first one is started and killed again every EVERY_S, so that
"ready" means that jobs really start and stop now, not that they once did. Each set has a child that has left the
session. It is watched from outside too: what the guardian reports is believed only if every process of the set is gone.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import structlog

from runner import protocol
from supervisor.containment.attempt_set import AttemptSet
from supervisor.containment.handle import Handle
from supervisor.core.attempt import Attempt
from supervisor.core.catalog import Catalog
from supervisor.core.facts import Fact, Gone
from supervisor.core.model import Cause, Reason
from supervisor.core.owner import Services
from supervisor.posix.proc import descendants, read_stat

DESCRIBE_BOUND_S = 15.0
"""How long a task module may take to import."""
EVERY_S = 30.0
LATELY_S = 60.0
"""Readiness is about what happened since then."""

log = structlog.get_logger()


class SelfTest:
    """Runs in the supervisor's task group, as do the ends of what it starts. `ok` is for readiness."""

    def __init__(self, tasks: asyncio.TaskGroup, services: Services, catalog: Catalog) -> None:
        self._tasks = tasks
        self._services = services
        self._catalog = catalog
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
        async with asyncio.TaskGroup() as group:
            for module in self._catalog.modules:
                group.create_task(self._describe(module))
        for module, why in self._catalog.errors.items():
            log.error("task_module_broken", module=module, error=why, traceback=self._catalog.tracebacks.get(module))
        while True:
            await asyncio.sleep(EVERY_S)
            await self._describe(self._catalog.modules[0])

    async def _describe(self, module: str) -> None:
        described: asyncio.Future[protocol.Described] = asyncio.get_running_loop().create_future()

        def on_frame(frame: object) -> None:
            if isinstance(frame, protocol.Described) and frame.module == module and not described.done():
                described.set_result(frame)

        bound = await self._services.pool.take()
        attempt = Attempt(
            f"describe {module}",
            bound,
            self._services.backstop,
            self._services.records,
            report_bound_s=self._services.cancel_budget_s,
            on_fact=_ignore,
            on_frame=on_frame,
        )
        run = asyncio.ensure_future(attempt.run(self._services.orders.describe(module)))
        try:
            await asyncio.wait((described, run), timeout=DESCRIBE_BOUND_S, return_when=asyncio.FIRST_COMPLETED)
            if not described.done():
                why = "its import ended the process" if run.done() else f"its import took over {DESCRIBE_BOUND_S} s"
                self._catalog.give_up(module, why)
        finally:
            # A task of its own: the server may stop, and cancel this one, while the set is being killed.
            await asyncio.shield(self._tasks.create_task(self._end(attempt, run, bound, described)))
        if described.done():
            self._catalog.add(described.result())

    async def _end(
        self,
        attempt: Attempt,
        run: asyncio.Future[Gone],
        bound: AttemptSet,
        described: asyncio.Future[protocol.Described],
    ) -> None:
        runner = read_stat(attempt.runner_pid)
        pids = [] if runner is None else [runner.pid, *descendants(runner.pid)]
        escaped = [pid for pid in pids if (stat := read_stat(pid)) and runner and stat.sid != runner.sid]
        with ExitStack() as opened:
            handles = [Handle.open(pid) for pid in pids]
            for handle in handles:
                opened.callback(handle.close)
            asked = time.monotonic()
            attempt.stop(Cause(Reason.API, asked, datetime.now(UTC), force=True), self._services.cancel_budget_s)
            await run
            gone_ms = (time.monotonic() - asked) * 1000
            alive = [handle.pid for handle in handles if not handle.ended]
        self._services.pool.retire(bound)
        # A module that ended its process, or hangs, never came to start the child: that says nothing about the server.
        if described.done() or alive:
            self._judge(escaped, alive, gone_ms)

    def _judge(self, escaped: list[int], alive: list[int], gone_ms: float) -> None:
        if alive:
            self._failure = f"the self-test was said to be gone, but processes {alive} of it live"
        elif not escaped:
            self._failure = "the self-test could not start a child in a session of its own"
        else:
            self._failure = None
            self._proven_at = time.monotonic()
            self._gone_ms = gone_ms
            return
        log.error("selftest_failed", why=self._failure)


def _ignore(_fact: Fact) -> None:
    """A self-test has no job that could be told."""
