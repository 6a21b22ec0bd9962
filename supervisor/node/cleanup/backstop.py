"""The supervisor's own kill, for guardians that are stopped, dead or late.

A dead guardian's orphans are reparented to the supervisor, because it is a subreaper too: see `adopted.py`. At level
pgroup they are not. There the process table is searched for each attempt, with the supervisor's own knowledge of the
job, because the guardian's is lost with it.

There is one backstop for all jobs and one thread for its rounds. A hundred guardians that are late together cost one
pass over the adopted children, and the event loop meanwhile reads the reports of the others.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from runner import posix
from supervisor.engine.containment import Survivor
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.handle import Handle, Identity
from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures
from supervisor.guardian.membership import KnownProcesses
from supervisor.guardian.pidfd import ignore_missing
from supervisor.guardian.proc import OnError, Stat, descendants, process_table, read_stat
from supervisor.guardian.procfs import Unreadable
from supervisor.guardian.round_errors import RoundErrors
from supervisor.node.cleanup.adopted import AdoptedOrphans

log = structlog.get_logger()

_STATES = {"R": "running", "S": "sleeping", "D": "disk-sleep", "T": "stopped", "t": "tracing-stop", "Z": "zombie"}

CLEAR_ROUNDS = 20
CLEAR_PAUSE_S = 0.02
RESERVED = 8
"""The number of reserve descriptors. A round needs one at a time to read, and one to signal."""


@dataclass(frozen=True, slots=True)
class SweepTarget:
    """One attempt as the backstop sees it: its guardian, its cgroup if it has one, and its processes at level pgroup.

    `init_pid` is the init of its pid namespace, if it has one.
    """

    guardian: Handle
    leaf: AttemptCgroup | None = None
    known_processes: KnownProcesses | None = None
    init_pid: int | None = None

    def search(self, table: dict[int, Stat] | None = None, *, on_error: OnError) -> list[Identity]:
        """Return its processes in the process table, at level pgroup. What cannot be read is left out."""
        return [] if self.known_processes is None else self.known_processes.search(table, on_error=on_error)


def _search(attempts: Sequence[SweepTarget], errors: RoundErrors) -> list[list[Identity]]:
    """Return the same for several attempts, from one reading of the table."""
    on_error = errors.recorder("process table")
    with errors.guard("process table"):
        table = process_table(on_error) if any(held.known_processes is not None for held in attempts) else None
        return [held.search(None if errors.failed else table, on_error=on_error) for held in attempts]
    return [[] for _ in attempts]


@dataclass(frozen=True, slots=True)
class Round:
    """The result of one round for one attempt.

    `done` means that the guardian is dead, no orphan counts against it, the cgroup is empty and the process table shows
    nothing of the job.
    """

    done: bool
    seen: frozenset[int]


class Backstop:
    """Rounds of SIGKILL over guardians' trees, their cgroups and adopted orphans.

    `guardians` is the pool's own set, as it changes; these are never taken for orphans. Create the backstop before
    there is a job, while the limit of descriptors is the one to keep: its thread and its reserve of descriptors exist
    from then on.
    """

    def __init__(self, guardians: set[Identity], means: KernelFeatures = AVAILABLE) -> None:
        self._means = means
        self._adopted = AdoptedOrphans(guardians, means)
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
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._survivors, held)

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

    async def _serve_one_round(self, asked: list[tuple[SweepTarget, asyncio.Future[Round]]]) -> None:
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
        rounds = self._kill_once(attempts, errors)
        if errors.out_of_descriptors:
            errors.clear()
            posix.restore_open_files_limit(self._open_files)
            with self._reserve.released():
                rounds = self._kill_once(attempts, errors)
        self._log_changes(errors.failed)
        return rounds

    def _kill_once(self, attempts: Sequence[SweepTarget], errors: RoundErrors) -> list[Round]:
        guardians = [held.guardian for held in attempts]
        trees = [self._below_guardian(guardian, errors) for guardian in guardians]
        inside = [_kill_inside(held.leaf, errors) for held in attempts]
        sighted = _search(attempts, errors)
        orphans = self._adopted.of(attempts, errors)
        below = {orphan.pid: [orphan.pid, *self._below(orphan.pid, errors)] for orphan in orphans}
        for pid in {pid for tree in (*trees, *below.values()) for pid in tree}:
            with errors.guard("signal"):
                ignore_missing(os.kill, pid, signal.SIGKILL)
        for one in {one for found in sighted for one in found}:
            with errors.guard("signal"):
                one.send(signal.SIGKILL, use_pidfd=self._means.pidfd)
        for guardian in guardians:
            # The guardian comes last: when it ends, its descendants are reparented and could not be listed below it.
            with errors.guard("guardian"):
                guardian.kill()
        for orphan in orphans:
            reap(orphan.pid)
        return self._look(
            attempts,
            [
                frozenset(trees[number]).union(
                    inside[number],
                    (one.pid for one in sighted[number]),
                    *(below[orphan.pid] for orphan in orphans if orphan.may_be_of(guardian)),
                )
                for number, guardian in enumerate(guardians)
            ],
            errors,
        )

    def _look(
        self, attempts: Sequence[SweepTarget], seen: Sequence[frozenset[int]], before: RoundErrors
    ) -> list[Round]:
        """Return what is left now of each attempt. Nothing counts as ended that could not be searched for."""
        errors = RoundErrors()
        # In this order, because orphans are reparented before the guardian's end can be seen.
        ended = [held.guardian.ended for held in attempts]
        empty = [held.leaf is None or not held.leaf.populated for held in attempts]
        alive = _search(attempts, errors)
        left = self._adopted.of(attempts, errors)
        certain = not errors.failed
        before.add(errors)
        return [
            Round(
                done=certain
                and ended[number]
                and empty[number]
                and not alive[number]
                and not any(orphan.may_be_of(held.guardian) for orphan in left),
                seen=seen[number],
            )
            for number, held in enumerate(attempts)
        ]

    def _log_changes(self, failed: dict[str, str]) -> None:
        """Log failures when they change, and not in each round."""
        if failed != self._failed:
            self._failed = dict(failed)
            if failed:
                log.error("backstop_parts_failed", parts=self._failed)
            else:
                log.info("backstop_parts_work_again")

    def _below(self, pid: int, errors: RoundErrors) -> list[int]:
        with errors.guard("tree"):
            return descendants(pid, use_children_files=self._means.children_files, on_error=errors.recorder("tree"))
        return []

    def _below_guardian(self, guardian: Handle, errors: RoundErrors) -> list[int]:
        return self._below(guardian.pid, errors) if not guardian.ended else []

    def _survivors(self, held: SweepTarget) -> tuple[Survivor, ...]:
        errors = RoundErrors()
        pids = self._below_guardian(held.guardian, errors)
        pids += _inside(held.leaf, errors)
        with errors.guard("process table"):
            pids += [one.pid for one in held.search(on_error=errors.recorder("process table"))]
        for orphan in self._adopted.of([held], errors):
            pids += [orphan.pid, *self._below(orphan.pid, errors)]
        found = [_survivor(pid) for pid in dict.fromkeys(pids)]
        there = [survivor for survivor in found if survivor is not None]
        # An init cannot end before everything else in its namespace. It is not a process of the job, and is left out.
        return tuple([survivor for survivor in there if survivor.pid != held.init_pid] or there)


def _survivor(pid: int) -> Survivor | None:
    """Return None if the process has ended. One that cannot be read is named by its pid."""
    try:
        stat = read_stat(pid)
    except Unreadable:
        return Survivor(pid, "?", "unknown")
    return None if stat is None else Survivor(stat.pid, stat.name, _STATES.get(stat.state, stat.state))


def _inside(leaf: AttemptCgroup | None, errors: RoundErrors) -> list[int]:
    if leaf is not None:
        with errors.guard("cgroup.procs"):
            return leaf.pids()
    return []


def _kill_inside(leaf: AttemptCgroup | None, errors: RoundErrors) -> list[int]:
    found = _inside(leaf, errors)
    if leaf is not None:
        with errors.guard("cgroup.kill"):
            leaf.kill()
    return found


def reap(pid: int) -> bool:
    """Reap one child that has ended, by pid. Other children are left to whatever waits for their status."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
