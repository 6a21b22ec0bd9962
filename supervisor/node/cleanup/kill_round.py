"""One round of SIGKILL over guardians' trees, their cgroups and adopted orphans, and what it leaves.

A part that fails keeps no other part from signalling. What could not be read counts as not ended.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.engine.containment import Survivor
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.handle import Handle, Identity
from supervisor.guardian.kernel_features import KernelFeatures
from supervisor.guardian.membership import KnownProcesses
from supervisor.guardian.pidfd import ignore_missing
from supervisor.guardian.proc import OnError, Stat, descendants, process_table, read_stat
from supervisor.guardian.procfs import Unreadable
from supervisor.guardian.round_errors import RoundErrors
from supervisor.node.cleanup.adopted import AdoptedOrphans

_STATES = {"R": "running", "S": "sleeping", "D": "disk-sleep", "T": "stopped", "t": "tracing-stop", "Z": "zombie"}


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


@dataclass(frozen=True, slots=True)
class Round:
    """The result of one round for one attempt.

    `done` means that the guardian is dead, no orphan counts against it, the cgroup is empty and the process table shows
    nothing of the job.
    """

    done: bool
    seen: frozenset[int]


class KillRound:
    """Blocks for as long as it takes to read /proc: call it from a thread."""

    def __init__(self, adopted: AdoptedOrphans, features: KernelFeatures) -> None:
        self._adopted = adopted
        self._features = features

    def run(self, attempts: Sequence[SweepTarget], errors: RoundErrors) -> list[Round]:
        """Kill and reap once, and return what is left of each attempt."""
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
                one.send(signal.SIGKILL, use_pidfd=self._features.pidfd)
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

    def survivors(self, held: SweepTarget) -> tuple[Survivor, ...]:
        """Return the processes that are still there. What cannot be read is left out."""
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

    def _below(self, pid: int, errors: RoundErrors) -> list[int]:
        with errors.guard("tree"):
            return descendants(pid, use_children_files=self._features.children_files, on_error=errors.recorder("tree"))
        return []

    def _below_guardian(self, guardian: Handle, errors: RoundErrors) -> list[int]:
        return self._below(guardian.pid, errors) if not guardian.ended else []


def _search(attempts: Sequence[SweepTarget], errors: RoundErrors) -> list[list[Identity]]:
    """Return the same for several attempts, from one reading of the table."""
    on_error = errors.recorder("process table")
    with errors.guard("process table"):
        table = process_table(on_error) if any(held.known_processes is not None for held in attempts) else None
        return [held.search(None if errors.failed else table, on_error=on_error) for held in attempts]
    return [[] for _ in attempts]


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
