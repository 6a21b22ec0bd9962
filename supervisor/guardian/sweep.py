"""Signalling a whole tree and reaping it, again and again until it is empty.

A snapshot of a tree is never enough: while it is read, its processes fork. So SIGTERM goes to newcomers on every
round, but to each process once, because many programs take a second one for "leave your clean-up". SIGKILL rounds end
only when there is nothing left to kill. Killing without stopping first wins against fork storms more often than
stopping first.

A part of a round that fails (no descriptors, say) is left out, and noted: all others have their turn.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field

from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.handle import Identity
from supervisor.guardian.own_view import Own
from supervisor.guardian.parts import Parts
from supervisor.guardian.pidfd import ignore_missing
from supervisor.guardian.proc import HAS_CHILDREN_FILES, Stat, children, descendants, look_at, read_stat
from supervisor.guardian.process_status import ignores, inner_pid
from supervisor.guardian.procfs import Unreadable

LOOK_S = 0.002


@dataclass(slots=True)
class Sweep:
    """The tree below one process (`root`, never signalled itself), without `leave_out`.

    `leaf` is its cgroup, if it has one: then the kill goes there first.
    `init_pid` is the init of a pid namespace in that tree. It is ours and not the job's, but killing it kills them all.
    """

    root: int
    leaf: AttemptCgroup | None = None
    leave_out: frozenset[int] = frozenset()
    init_pid: int | None = None
    use_children_files: bool = HAS_CHILDREN_FILES
    next_look: float | None = None
    """When to `look`; None at levels where an orphan comes back by itself and nothing has to be remembered."""
    seen: set[int] = field(default_factory=set)
    own: Own = field(default_factory=Own)
    parts: Parts = field(default_factory=Parts)
    _terminated: set[Identity] = field(default_factory=set)
    _hung_up: set[Identity] = field(default_factory=set)

    def pids(self) -> list[int]:
        """Everything of the job that is there now, zombies included."""
        found = self.sample()
        self.seen.update(found)
        return found

    def sample(self) -> list[int]:
        """The same for a look that comes again and again for as long as the job runs: who it met is not kept."""
        return [pid for pid in self._walk() if pid != self.init_pid]

    def _walk(self) -> list[int]:
        return descendants(
            self.root,
            leave_out=self.leave_out,
            use_children_files=self.use_children_files,
            on_error=self.parts.noting("tree"),
            first=self._directly_below(),
        )

    def _directly_below(self) -> list[int] | None:
        """None: they cannot be known better than others are."""
        if not self._knows_own_children:
            return None
        with self.parts.part("children"):
            return self.own.children()
        return None

    @property
    def _knows_own_children(self) -> bool:
        return self.root == self.own.pid and self.use_children_files

    def look(self, now: float) -> None:
        """Remember what is there, where that is needed."""

    def mark(self, variables: dict[str, str]) -> None:
        """Take note of what the job's processes have in their environment, where that is needed."""

    def orphans(self) -> list[int]:
        """What is the job's and not below the root. Nothing, where orphans come to the root."""
        return []

    def is_left_with(self, own_child: int | None) -> bool:
        """Whether no other child is directly below the root: what is orphaned comes there, so none means no tree.

        Zombies are children, and what cannot be read is not known to be none.
        """
        try:
            if self._knows_own_children:
                return set(self.own.children()) <= {own_child}
            return set(children(self.root, use_children_files=self.use_children_files)) <= {own_child}
        except OSError:
            return False

    def terminate(self) -> list[int]:
        """SIGTERM, then SIGCONT so that stopped ones receive it, to all that have not had it yet. Who they were.

        The leader of a terminal that ignores it, as an interactive shell does, gets SIGHUP besides.
        """
        found = self.pids()
        fresh = self._terminate(found)
        for pid in found:
            stat = look_at(pid)
            if stat is not None and _leads_terminal(stat) and ignores(pid, signal.SIGTERM):
                self._once(self._hung_up, Identity.shown_by(stat), signal.SIGHUP)
        return fresh

    def stop_command(self, pid: int) -> list[int]:
        """The same for one command of the job, with what is below it and what is in its process group.

        `pid` is what its runner calls it, which differs in a pid namespace. Nothing is done for what is not the job's.
        """
        found = self.pids()
        leader = pid if self.init_pid is None else next((one for one in found if inner_pid(one) == pid), None)
        if leader is None or leader not in found:
            return []
        below = set(
            descendants(
                leader,
                leave_out=self.leave_out,
                use_children_files=self.use_children_files,
                on_error=self.parts.noting("tree"),
            )
        )
        stats = (look_at(one) for one in found)
        grouped = {stat.pid for stat in stats if stat is not None and stat.pgid == leader}
        return self._terminate([one for one in found if one == leader or one in below | grouped])

    def _terminate(self, pids: list[int]) -> list[int]:
        named = (self._name(pid) for pid in pids)
        return [one.pid for one in named if one is not None and self._once(self._terminated, one, signal.SIGTERM)]

    def _name(self, pid: int) -> Identity | None:
        try:
            stat = read_stat(pid)
        except Unreadable as exc:
            self.parts.note("stat", exc)
            return Identity(pid, 0)  # it gets its signal, and a second one if it can be read later
        return None if stat is None else Identity.shown_by(stat)

    def _once(self, had: set[Identity], identity: Identity, number: signal.Signals) -> bool:
        """Whether it had not had this signal yet; now it has."""
        if identity in had:
            return False
        had.add(identity)
        self._signal(identity.pid, number)
        self._signal(identity.pid, signal.SIGCONT)
        return True

    def kill(self) -> list[int]:
        """One round of SIGKILL over all that is there now. Who they were.

        What has left the cgroup is still in the tree, and what is not ours to signal is in the cgroup.
        """
        self.parts.clear()
        found = self._walk()
        if self.leaf is not None:
            with self.parts.part("cgroup.kill"):
                self.leaf.kill()
        # With its init the kernel ends a whole namespace, also what is being forked right now.
        for pid in [self.init_pid] if self.init_pid in found else found:
            self._signal(pid, signal.SIGKILL)
        pids = [pid for pid in found if pid != self.init_pid]
        self.seen.update(pids)
        return pids

    def _signal(self, pid: int, number: signal.Signals) -> None:
        ignore_missing(os.kill, pid, number)

    def proven_empty(self) -> bool:
        """The proof: there is no child, not even a zombie, and the cgroup holds nothing. Only inside `root` itself.

        None is given while /proc does not show this process, or the cgroup cannot be read.
        """
        return _has_no_child() and self.own.is_seen() and (self.leaf is None or not self.leaf.populated)

    def rss_bytes(self) -> int:
        """Resident memory of the tree; shared pages count for each process that maps them."""
        stats = (look_at(pid) for pid in self.pids())
        return sum(stat.rss_bytes for stat in stats if stat is not None)


def _leads_terminal(stat: Stat) -> bool:
    """Whether it is the first process in a terminal: the leader of its session, or else a child of another session."""
    if not stat.terminal or stat.pgid != stat.pid:
        return False
    parent = read_stat(stat.ppid)
    return stat.sid == stat.pid or parent is None or parent.sid != stat.sid


def end_children() -> None:
    """Kill and reap everything below this process. Only for one that owns all its children."""
    sweep = Sweep(os.getpid())
    while not _has_no_child():
        sweep.kill()
        reap_children()
        time.sleep(LOOK_S)


def _has_no_child() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def reap_children() -> dict[int, int]:
    """Collect every child that has ended: pid → wait status. Only for a process that owns all its children."""
    reaped: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return reaped
        if pid == 0:
            return reaped
        reaped[pid] = status
