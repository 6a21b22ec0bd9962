"""The supervisor's own kill, for when guardians are stopped, dead or late.

A dead guardian's orphans come to the supervisor, because it is a subreaper too. They are told from its own children
by their session: a runner starts a new session and nothing below it can join the supervisor's. An orphan does not say
whose it was, so it counts against every guardian that is dead and not younger than it, until it is reaped.

At level pgroup no orphan comes. There the process table is searched for each attempt, by what the supervisor itself
knows of the job: with a guardian what it has seen is lost.

There is one backstop for all jobs and one thread for its rounds: a hundred guardians that are late together cost one
pass over the adopted children, and the event loop goes on reading what those that are not late report.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from supervisor.containment.cgroup import Leaf
from supervisor.containment.handle import Handle, Identity, Survivor
from supervisor.containment.sightings import Sightings
from supervisor.posix.means import AVAILABLE, Means
from supervisor.posix.pidfd import ignore_missing
from supervisor.posix.proc import Stat, children, descendants, process_table, read_stat

log = structlog.get_logger()

_STATES = {"R": "running", "S": "sleeping", "D": "disk-sleep", "T": "stopped", "t": "tracing-stop", "Z": "zombie"}

CLEAR_ROUNDS = 20
CLEAR_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Held:
    """One attempt as the backstop sees it: its guardian, its cgroup if it has one, what to look for at level pgroup.

    `init_pid` is the init of its pid namespace, if it has one.
    """

    guardian: Handle
    leaf: Leaf | None = None
    sightings: Sightings | None = None
    init_pid: int | None = None

    def search(self, table: dict[int, Stat] | None = None) -> list[Identity]:
        """What the process table shows of it, where only that can tell."""
        return [] if self.sightings is None else self.sightings.search(table)


def _search(attempts: Sequence[Held]) -> list[list[Identity]]:
    """The same for many, from one reading of the table."""
    table = process_table() if any(held.sightings is not None for held in attempts) else None
    return [held.search(table) for held in attempts]


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found for one attempt.

    `done`: the guardian is dead, no orphan counts against it, the cgroup is empty and the process table shows nothing.
    """

    done: bool
    seen: frozenset[int]


class Backstop:
    """Rounds of SIGKILL over guardians' trees, their cgroups and what was adopted.

    `is_guardian` names the pids to leave.
    """

    def __init__(self, is_guardian: Callable[[int], bool], means: Means = AVAILABLE) -> None:
        self._means = means
        self._is_guardian = is_guardian
        self._pid = os.getpid()
        self._sid = os.getsid(0)
        self._thread = ThreadPoolExecutor(1, "deadstop-backstop")
        self._asked: list[tuple[Held, asyncio.Future[Round]]] = []
        self._rounds: asyncio.Task[None] | None = None

    async def round(self, held: Held) -> Round:
        """Kill and reap once, together with everybody else who asks at this moment."""
        answer: asyncio.Future[Round] = asyncio.get_running_loop().create_future()
        self._asked.append((held, answer))
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._serve(), name="backstop")
        return await answer

    async def clear(self, held: Held) -> bool:
        """End and reap what a guardian has left that held no job. Bounded; False: it would not go."""
        for _ in range(CLEAR_ROUNDS):
            if (await self.round(held)).done:
                return True
            await asyncio.sleep(CLEAR_PAUSE_S)
        return False

    async def survivors(self, held: Held) -> tuple[Survivor, ...]:
        """Who is still there, for people to look at."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._survivors, held)

    def close(self) -> None:
        """End the thread. Call when nobody asks any more; a round is short and is waited for."""
        self._thread.shutdown()

    async def _serve(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                await self._serve_one_round(asked)
        finally:
            self._rounds = None

    async def _serve_one_round(self, asked: list[tuple[Held, asyncio.Future[Round]]]) -> None:
        attempts = [held for held, _ in asked]
        try:
            rounds = await asyncio.get_running_loop().run_in_executor(self._thread, self.kill_once, attempts)
        except OSError as exc:
            # Out of descriptors or of memory, say: the next round may do better, and nobody must wait for ever.
            log.error("backstop_round_failed", error=str(exc))
            rounds = [Round(done=False, seen=frozenset()) for _ in asked]
        for (_, answer), found in zip(asked, rounds, strict=True):
            if not answer.done():
                answer.set_result(found)

    def kill_once(self, attempts: Sequence[Held]) -> list[Round]:
        """One round over all of them. Blocks for as long as reading their part of /proc takes."""
        guardians = [held.guardian for held in attempts]
        trees = [self._below_guardian(guardian) for guardian in guardians]
        inside = [_kill_inside(held.leaf) for held in attempts]
        sighted = _search(attempts)
        orphans = self._orphans_of(attempts)
        below = {orphan.pid: [orphan.pid, *self._below(orphan.pid)] for orphan in orphans}
        for pid in {pid for tree in (*trees, *below.values()) for pid in tree}:
            ignore_missing(os.kill, pid, signal.SIGKILL)
        for one in {one for found in sighted for one in found}:
            one.send(signal.SIGKILL, use_pidfd=self._means.pidfd)
        for guardian in guardians:
            # Last, so that until then nothing below it is reparented away while it is being listed.
            guardian.kill()
        for orphan in orphans:
            reap(orphan.pid)
        # In this order: what a guardian leaves is adopted before its end can be seen.
        ended = [guardian.ended for guardian in guardians]
        empty = [held.leaf is None or not held.leaf.populated for held in attempts]
        alive = _search(attempts)
        left = self._orphans_of(attempts)
        return [
            Round(
                done=ended[number]
                and empty[number]
                and not alive[number]
                and not any(_may_be_of(guardian, orphan) for orphan in left),
                seen=frozenset(trees[number]).union(
                    inside[number],
                    (one.pid for one in sighted[number]),
                    *(below[orphan.pid] for orphan in orphans if _may_be_of(guardian, orphan)),
                ),
            )
            for number, guardian in enumerate(guardians)
        ]

    def _below(self, pid: int) -> list[int]:
        return descendants(pid, use_children_files=self._means.children_files)

    def _below_guardian(self, guardian: Handle) -> list[int]:
        return self._below(guardian.pid) if not guardian.ended else []

    def _orphans_of(self, attempts: Sequence[Held]) -> list[Stat]:
        """Those that count against any of these attempts."""
        adopting = [held.guardian.start_ticks for held in attempts if held.sightings is None]
        return self._orphans(min(adopting)) if adopting else []

    def _orphans(self, born_after_ticks: int) -> list[Stat]:
        """Adopted children: another session, not a guardian, not older than the oldest guardian that is asked for."""
        stats = [read_stat(pid) for pid in children(self._pid, use_children_files=self._means.children_files)]
        return [
            stat
            for stat in stats
            if stat is not None
            and stat.sid != self._sid
            and stat.start_ticks >= born_after_ticks
            and not self._is_guardian(stat.pid)
        ]

    def _survivors(self, held: Held) -> tuple[Survivor, ...]:
        pids = self._below_guardian(held.guardian)
        if held.leaf is not None:
            pids += held.leaf.pids()
        pids += [one.pid for one in held.search()]
        for orphan in self._orphans_of([held]):
            pids += [orphan.pid, *self._below(orphan.pid)]
        stats = [stat for pid in dict.fromkeys(pids) if (stat := read_stat(pid)) is not None]
        # An init cannot end before all else in its namespace has: it is ours, and waits for those who are to be named.
        named = [stat for stat in stats if stat.pid != held.init_pid] or stats
        return tuple(Survivor(stat.pid, stat.name, _STATES.get(stat.state, stat.state)) for stat in named)


def _kill_inside(leaf: Leaf | None) -> list[int]:
    if leaf is None:
        return []
    found = leaf.pids()
    leaf.kill()
    return found


def _may_be_of(guardian: Handle, orphan: Stat) -> bool:
    return orphan.start_ticks >= guardian.start_ticks


def reap(pid: int) -> bool:
    """Collect one child that has ended, by pid: never any child, whose status somebody else may wait for."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
