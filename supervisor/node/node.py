"""The engine for this machine: workers, containment, recovery, workspaces and files, all below one STATE_DIR.

The folder is locked before anything in it changes: two nodes on one STATE_DIR would remove each other's workspaces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from supervisor.background import BackgroundTasks
from supervisor.config import Settings
from supervisor.engine.engine import StartRefused
from supervisor.engine.inspection import EngineStatus, Opened
from supervisor.engine.order import ModuleDescription, Needs
from supervisor.faults import Faults
from supervisor.guardian.environment import COOKIE
from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures
from supervisor.node.attempt import NodeReservation
from supervisor.node.checks import checks_of
from supervisor.node.cleanup.backstop import Backstop
from supervisor.node.inspect.job_files import NodeJobFiles
from supervisor.node.launch_settings import LaunchSettings
from supervisor.node.levels.available import Containment
from supervisor.node.levels.describe import status_of
from supervisor.node.self_test import SelfTest
from supervisor.node.services import NodeServices
from supervisor.node.storage.state_dir import StateDir
from supervisor.node.this_process import become_server
from supervisor.node.workers.pool import WorkerPool
from supervisor.node.workers.starter import Starter
from supervisor.state_lock import StateDirLock


class Node:
    """Implements `engine.Engine`. Only for use on the event loop.

    `features` are those of the kernel, or fewer in a test. `holds_state_dir`: this process has already locked it.
    """

    def __init__(
        self,
        settings: Settings,
        features: KernelFeatures = AVAILABLE,
        faults: Faults | None = None,
        *,
        holds_state_dir: bool = False,
    ) -> None:
        self._settings = settings
        self._holds_state_dir = holds_state_dir
        self._features = features
        self._faults = faults or Faults()
        self.state_dir = StateDir(settings.state_dir)
        self.files = NodeJobFiles(self.state_dir)
        self._launch_settings = LaunchSettings.from_settings(settings, mark={COOKIE: self.state_dir.records.cookie})
        self._background = BackgroundTasks(self._faults)
        self._stack = AsyncExitStack()

    async def open(self) -> Opened:
        """Kill the processes that earlier nodes left, try the levels, and start the first workers.

        Raise StartupError if the folder or the level of containment cannot be used.
        """
        try:
            orphans = await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return Opened(self.state_dir.losses, orphans)

    async def _open(self) -> int:
        run_as = self._launch_settings.run_as
        if not self._holds_state_dir:
            self._stack.enter_context(StateDirLock(self._settings.state_dir))
        orphans = await self.state_dir.open(self._features, for_other_users=run_as.user is not None)
        self._stack.callback(self.state_dir.close)
        await asyncio.to_thread(run_as.try_out, self.state_dir.workspaces.folder.path)
        self._containment = await asyncio.to_thread(
            Containment.choose, self._settings, run_as.rules_out, self._features
        )
        if self._containment.cgroups is not None:
            self._stack.callback(self._containment.cgroups.close)
        starter = self._starter()
        self._stack.callback(starter.close)
        self.pool = WorkerPool(starter, self._settings.warm, self._containment.levels.default)
        backstop = Backstop(self.pool.guardians, self._features)
        self._stack.callback(backstop.close)
        self.pool.retired.clear = backstop.clear
        self._stack.push_async_callback(self.pool.close)
        self.services = NodeServices(
            pool=self.pool,
            state_dir=self.state_dir,
            backstop=backstop,
            launch_settings=self._launch_settings,
            controllers=self._containment.controllers,
            cancel_budget_s=self._settings.cancel_budget_s,
            faults=self._faults,
        )
        self._stack.push_async_callback(self._background.close)
        self.self_test = SelfTest(self._background, self.services, self._settings.import_s)
        self._background.keep("self-test", self.self_test.run)
        self._background.keep("host children", backstop.watch_host_children)
        self._background.keep("state folder", self.state_dir.watch)
        self.pool.fill()
        return orphans + self._containment.left_over

    def _starter(self) -> Starter:
        return Starter(
            self._launch_settings.environment,
            cgroups=self._containment.cgroups,
            features=self._features,
            records=str(self.state_dir.records.folder.path),
            open_files=become_server(has_tasks=bool(self._settings.tasks)),
        )

    def keep_files(self, is_known: Callable[[str], bool] | None, aside: str = "") -> None:
        self.state_dir.sort_files(is_known, aside)

    async def reserve(self, needs: Needs) -> NodeReservation:
        future = self.pool.request(needs.level)
        try:
            worker = await asyncio.shield(future)
        except asyncio.CancelledError:
            if future.cancelled():
                raise StartRefused("the server stopped before the job could start") from None
            if not future.cancel():
                self.pool.return_unused(future.result())  # the worker came together with the cancellation
            raise
        return NodeReservation(worker, self.services)

    async def describe(self, module: str) -> ModuleDescription:
        return await self.self_test.describe(module)

    def status(self) -> EngineStatus:
        return EngineStatus(
            levels=self._containment.levels,
            containment=status_of(self._containment.levels),
            controllers=self._containment.controllers,
            ready_workers=self.pool.ready,
            checks=checks_of(
                state_dir=self.state_dir,
                pool=self.pool,
                self_test=self.self_test,
                run_as=self._launch_settings.run_as,
            ),
        )

    def stop_watches(self) -> None:
        self._background.stop_watches()

    async def close(self) -> None:
        await self._stack.aclose()
