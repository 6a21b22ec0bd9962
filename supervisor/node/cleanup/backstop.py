"""The supervisor's own kill, for guardians that are stopped, dead or late.

A dead guardian's orphans are reparented to the supervisor, because it is a subreaper too: see `adopted.py`. At level
pgroup they are not. There the process table is searched for each attempt, with the supervisor's own knowledge of the
job, because the guardian's is lost with it.

There is one backstop for all jobs and one thread for its rounds. A hundred guardians that are late together cost one
pass over the adopted children, and the event loop meanwhile reads the reports of the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import structlog

from runner import posix
from supervisor.engine.containment import Survivor
from supervisor.guardian.handle import Handle, Identity
from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures
from supervisor.guardian.procfs import Unreadable
from supervisor.guardian.round_errors import RoundErrors
from supervisor.node.cleanup.adopted import AdoptedOrphans
from supervisor.node.cleanup.host_children import LOOK_EVERY_S, HostChildren
from supervisor.node.cleanup.kill_round import KillRound, Round, SweepTarget

log = structlog.get_logger()

CLEAR_ROUNDS = 20
CLEAR_PAUSE_S = 0.02
RESERVED = 8
"""The number of reserve descriptors. A round needs one at a time to read, and one to signal."""


class Backstop:
    """Rounds of SIGKILL over guardians' trees, their cgroups and adopted orphans.

    `guardians` are the pool's, as they change; neither they nor `host_children` are taken for orphans. Create the
    backstop before there is a job, while the limit of descriptors is the one to keep: its thread and its reserve of
    descriptors exist from then on.
    """

    def __init__(self, guardians: Mapping[Identity, Handle], features: KernelFeatures = AVAILABLE) -> None:
        self.host_children = HostChildren(features)
        self._guardians = guardians
        self._adopted = AdoptedOrphans(guardians, self.host_children, features)
        self._killing = KillRound(self._adopted, features)
        self._open_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._reserve = posix.DescriptorReserve(RESERVED)
        self._failed: dict[str, str] = {}
        self._thread = ThreadPoolExecutor(1, "deadstop-backstop")
        # Start the thread now: later, a job that is to be killed may have left no room for one.
        self._thread.submit(int).result()
        self._asked: list[tuple[SweepTarget, asyncio.Future[Round]]] = []
        self._rounds: asyncio.Task[None] | None = None

    async def round(self, held: SweepTarget) -> Round:
        """Kill and reap once, in one round with all other callers of this moment."""
        answer: asyncio.Future[Round] = asyncio.get_running_loop().create_future()
        self._asked.append((held, answer))
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._serve(), name="backstop")
        return await answer

    async def clear(self, held: SweepTarget) -> bool:
        """End and reap the processes of an idle guardian. Return False if they do not end within CLEAR_ROUNDS."""
        for _ in range(CLEAR_ROUNDS):
            if (await self.round(held)).done:
                return True
            await asyncio.sleep(CLEAR_PAUSE_S)
        return False

    async def survivors(self, held: SweepTarget) -> tuple[Survivor, ...]:
        """Return the processes that are still there, for people. What cannot be read is left out."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._killing.survivors, held)

    def close(self) -> None:
        """End the thread. Call it when there are no callers any more; a round is short and is waited for."""
        self._thread.shutdown()
        self._reserve.close()
        self._adopted.close()

    async def _serve(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                await self._serve_one_round(asked)
        finally:
            self._rounds = None

    async def watch_host_children(self) -> NoReturn:
        """Register the children that this program starts itself, as it goes on, until cancelled."""
        while True:
            self.register_host_children()
            await asyncio.sleep(LOOK_EVERY_S)

    def register_host_children(self) -> None:
        """Register the children that this program has started itself so far. One that cannot be read is left out."""
        with contextlib.suppress(Unreadable):
            self.host_children.look(self._guardians.values())

    async def _serve_one_round(self, asked: list[tuple[SweepTarget, asyncio.Future[Round]]]) -> None:
        self.register_host_children()
        attempts = [held for held, _ in asked]
        try:
            rounds = await asyncio.get_running_loop().run_in_executor(self._thread, self.kill_once, attempts)
        except Exception:
            # This is a bug. The next round may succeed, and all callers must get an answer.
            log.exception("backstop_round_failed")
            rounds = [Round(done=False, seen=frozenset()) for _ in asked]
        for (_, answer), found in zip(asked, rounds, strict=True):
            if not answer.done():
                answer.set_result(found)

    def kill_once(self, attempts: Sequence[SweepTarget]) -> list[Round]:
        """Make one round over all attempts. Block for as long as it takes to read their part of /proc.

        A part that fails is recorded and left out. What could not be read then counts as not ended.
        """
        errors = RoundErrors()
        rounds = self._killing.run(attempts, errors)
        if errors.out_of_descriptors:
            errors.clear()
            posix.restore_open_files_limit(self._open_files)
            with self._reserve.released():
                rounds = self._killing.run(attempts, errors)
        self._log_changes(errors.failed)
        return rounds

    def _log_changes(self, failed: dict[str, str]) -> None:
        """Log failures when they change, and not in each round."""
        if failed != self._failed:
            self._failed = dict(failed)
            if failed:
                log.error("backstop_parts_failed", parts=self._failed)
            else:
                log.info("backstop_parts_work_again")
