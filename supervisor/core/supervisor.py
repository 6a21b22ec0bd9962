"""The core's face to the API: submit, look, cancel, and the life of it all."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Self

import structlog

from supervisor.config import Settings
from supervisor.containment.backstop import Backstop
from supervisor.containment.level import Level
from supervisor.containment.levels import Levels, LevelUnavailable
from supervisor.containment.probe import probe
from supervisor.containment.starter import Starter
from supervisor.containment.status import ContainmentStatus, status_of
from supervisor.containment.warm import WarmPool
from supervisor.core import logbook, processes
from supervisor.core.admission import Admission
from supervisor.core.catalog import Catalog, TaskDescription
from supervisor.core.checks import Check, checks_of
from supervisor.core.feed import Feed
from supervisor.core.files import Files
from supervisor.core.loop_lag import LoopLag
from supervisor.core.metrics import Metrics, gauges_of
from supervisor.core.model import SERVER, Caller, Cause, Job, JobRequest, Reason, State
from supervisor.core.orders import Orders
from supervisor.core.owner import Owner, Services
from supervisor.core.processes import ProcessRow
from supervisor.core.registry import Record, Registry
from supervisor.core.selftest import SelfTest
from supervisor.core.stack import Stack, take_stack
from supervisor.core.stuck_watch import StuckWatch, limits_of
from supervisor.core.trash import Trash
from supervisor.core.workspaces import Workspaces
from supervisor.errors import Conflict, InvalidRequest, NotFound, NotReady, StartupError
from supervisor.posix import prctl

SHUTDOWN_MARGIN_S = 0.5
"""How much longer than a budget a shutdown waits for the ends of jobs."""

log = structlog.get_logger()


class Supervisor:
    """All jobs of one server. Use as an async context manager; every other method belongs to the event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.accepting = False
        self.metrics = Metrics()
        self.feed = Feed(self.metrics.dropped)
        self._registry = Registry()
        self._admission = Admission(
            settings.max_running, settings.max_queued, {token.name: token.limits for token in settings.tokens}
        )
        self._catalog = Catalog(settings.tasks, switched_off=settings.tasks_off)
        self._trash = Trash(settings.state_dir / "trash")
        self._workspaces = Workspaces(settings.state_dir, self._trash)
        self.files = Files(settings.state_dir, self._trash)
        self._owners: dict[str, Owner] = {}
        self.stuck_watch = StuckWatch(self._owners.values, limits_of(settings))
        self.metrics.watch(lambda: gauges_of(self._registry, self._pool))
        self._graces: dict[str, asyncio.TimerHandle] = {}
        self._orders = Orders.from_settings(settings)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Begin: warm sets, the description of tasks and the self-test go on in the background.

        Raises StartupError when STATE_DIR or the level of CONTAINMENT cannot be used.
        """
        try:
            self._trash.open()
            self._workspaces.open()
            self.files.open()
        except OSError as exc:
            raise StartupError(f"cannot use state folder {self.settings.state_dir}: {exc.strerror}") from exc
        self._stack.callback(self._trash.close)
        try:
            self._levels = await self._choose_levels()
        except StartupError:
            await self._stack.aclose()
            raise
        prctl.set_dumpable(False)
        if self.settings.tasks and os.getcwd() not in sys.path:  # noqa: PTH109
            # Task modules live where the server was started; last, so that they shadow nothing of ours.
            sys.path.append(os.getcwd())  # noqa: PTH109
        starter = Starter(self._orders.environment, cgroups=self._cgroups)
        self._stack.callback(starter.close)
        self._pool = WarmPool(starter, self.settings.warm, self._levels.default)
        self._stack.push_async_callback(self._pool.close)
        backstop = Backstop(self._pool.guardian_pids.__contains__)
        self._stack.callback(backstop.close)
        self._services = Services(
            pool=self._pool,
            workspaces=self._workspaces,
            files=self.files,
            backstop=backstop,
            orders=self._orders,
            cancel_budget_s=self.settings.cancel_budget_s,
            on_end=self._ended,
            observers=(self.metrics.fact, logbook.tell),
        )
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._selftest = SelfTest(self._tasks, self._services, self._catalog)
        self._selftest_task = self._tasks.create_task(self._selftest.run())
        self.files.keep_only({record.job.id for record in self._registry}.__contains__)
        lag = LoopLag(self.metrics.lag_s.set)
        self._watches = [self._tasks.create_task(run) for run in (self.stuck_watch.run(), lag.run())]
        self._pool.fill()
        self.accepting = True
        return self

    async def _choose_levels(self) -> Levels:
        probed = await asyncio.to_thread(probe, self.settings.state_dir)
        self._cgroups = probed.cgroups
        if probed.cgroups is not None:
            self._stack.callback(probed.cgroups.close)
        try:
            levels = Levels.choose(self.settings.containment, probed.why_not)
        except LevelUnavailable as exc:
            raise StartupError(f"cannot use DEADSTOP_CONTAINMENT: {exc}") from None
        return levels

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown(force=True)
        await self._stack.aclose()

    # --- jobs

    def submit(self, request: JobRequest, *, caller: Caller) -> tuple[Record, bool]:
        """Take a job, or find the one that this request was already made for. True: it is new.

        Never blocks; the job starts on a later turn of the loop. Raises InvalidRequest, Conflict, QueueFull, NotReady.
        """
        known = self._registry.find_same(request, caller)
        if known is not None:
            return known, False
        if not self.accepting:
            raise NotReady("cannot take the job: the server is shutting down", 5)
        level = self._level_for(request)
        module = self._catalog.check(request.task, request.input)
        job = Job(
            id=request.id or secrets.token_hex(8),
            request=request,
            created_at=datetime.now(UTC),
            containment=level,
            controllers=self._cgroups.controllers if self._cgroups and level.takes_cgroup else frozenset(),
        )
        early = self._registry.take_early_cancel(job.id, caller.token)
        place = None if early is not None else self._admission.enter(caller.token)
        record = Record(job, partial(self.feed.publish, caller.token), token=caller.token)
        self._registry.add(record)
        owner = Owner(record, module, self._services)
        record.log.append("job.queued", {"task": request.task, "labels": request.labels})
        if early is not None:
            owner.cancel(early)
        elif place is not None:
            self._owners[job.id] = owner
            self._tasks.create_task(owner.run(place), name=f"job {job.id}")
        return record, True

    def _level_for(self, request: JobRequest) -> Level:
        try:
            return self._levels.for_job(request.containment)
        except LevelUnavailable as exc:
            raise InvalidRequest.at("containment", str(exc)) from None

    def record(self, job_id: str, caller: Caller) -> Record:
        """Raises NotFound."""
        return self._registry.get(job_id, caller)

    def records(self, caller: Caller = SERVER) -> Iterator[Record]:
        """Those that the caller may know of, newest first."""
        return (record for record in self._registry if caller.sees(record.token))

    def cancel(self, job_id: str, cause: Cause, *, caller: Caller) -> Record | None:
        """Stop a job. Returns at once. None: the id is not known (yet), and the cancel is kept for it."""
        try:
            record = self._registry.get(job_id, caller)
        except NotFound:
            self._registry.keep_early_cancel(job_id, cause, caller.token)
            return None
        owner = self._owners.get(job_id)
        if owner is not None:
            owner.cancel(cause)
        return record

    def forget(self, job_id: str, caller: Caller) -> None:
        """Raises NotFound, and Conflict while the job is not finished."""
        self._registry.get(job_id, caller)
        self._registry.remove(job_id)
        self.files.discard(job_id)

    async def processes(self, job_id: str, caller: Caller) -> list[ProcessRow]:
        """The job's processes now; empty when it has none. Raises NotFound."""
        root_pid = self._registry.get(job_id, caller).root_pid
        return [] if root_pid is None else await asyncio.to_thread(processes.table, root_pid)

    async def stack(self, job_id: str, caller: Caller) -> Stack:
        """The Python stacks of the job's runner now. Raises NotFound, and Conflict when it has no runner."""
        record = self._registry.get(job_id, caller)
        owner = self._owners.get(job_id)
        if owner is None or record.guardian_pid is None:
            raise Conflict(f"cannot take a stack of job {job_id}: it is {record.job.state}, no process of it runs")
        return await take_stack(owner)

    # --- streams that hold a job's life

    def attach(self, record: Record) -> None:
        """Such a stream joins."""
        record.streams += 1
        grace = self._graces.pop(record.job.id, None)
        if grace is not None:
            grace.cancel()

    def detach(self, record: Record, *, vanished: bool = False) -> None:
        """Such a stream leaves. With the last one the job is cancelled, unless it has ended."""
        record.streams -= 1
        owner = self._owners.get(record.job.id)
        if owner is not None:
            self.metrics.disconnected(vanished=vanished)
        if record.streams > 0 or owner is None:
            return
        cause = Cause(Reason.CLIENT_DISCONNECTED, time.monotonic(), datetime.now(UTC), vanished=vanished)
        grace_s = record.job.request.reconnect_grace_s
        if grace_s <= 0:
            owner.cancel(cause)
        else:
            loop = asyncio.get_running_loop()
            self._graces[record.job.id] = loop.call_later(grace_s, self._grace_over, owner)

    def _grace_over(self, owner: Owner) -> None:
        self._graces.pop(owner.record.job.id, None)
        owner.cancel(Cause(Reason.CLIENT_DISCONNECTED, time.monotonic(), datetime.now(UTC)))

    def _ended(self, record: Record) -> None:
        self._owners.pop(record.job.id, None)
        grace = self._graces.pop(record.job.id, None)
        if grace is not None:
            grace.cancel()
        for job_id in self._registry.trim():
            self.files.discard(job_id)

    # --- the server itself

    @property
    def containment(self) -> ContainmentStatus:
        """The server's level of containment, in words."""
        return status_of(self._levels)

    def tasks(self) -> list[TaskDescription]:
        """Raises NotReady while task modules are being described."""
        return self._catalog.tasks()

    def counts(self, caller: Caller = SERVER) -> dict[State, int]:
        """How many of the caller's jobs are in each state."""
        counts = dict.fromkeys(State, 0)
        for record in self.records(caller):
            counts[record.job.state] += 1
        return counts

    def checks(self) -> dict[str, Check]:
        """What must hold for the server to take jobs, and what should."""
        return checks_of(
            accepting=self.accepting,
            folder=self.settings.state_dir,
            pool=self._pool,
            selftest=self._selftest,
            catalog=self._catalog,
            stuck_watch=self.stuck_watch,
        )

    async def shutdown(self, *, force: bool = False) -> None:
        """Take no more jobs, stop those there are, and wait for their ends, bounded. Again with force: kill."""
        self.accepting = False
        self._selftest_task.cancel()
        for watch in self._watches:
            watch.cancel()
        owners = list(self._owners.values())
        for owner in owners:
            owner.cancel(Cause(Reason.SHUTDOWN, time.monotonic(), datetime.now(UTC), force=force))
        if owners:
            bound_s = self.settings.cancel_budget_s + SHUTDOWN_MARGIN_S
            ends = [asyncio.ensure_future(owner.record.finished.wait()) for owner in owners]
            _, late = await asyncio.wait(ends, timeout=bound_s)
            for end in late:
                end.cancel()
            if late:
                log.error("shutdown_unproven", jobs=[o.record.job.id for o in owners if not o.record.finished.is_set()])
