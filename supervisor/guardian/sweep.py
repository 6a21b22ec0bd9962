"""Signal a whole process tree and reap it, again and again until it is empty.

A snapshot of a tree is never enough: while it is read, its processes fork. So every round sends SIGTERM to new
processes, but once to each, because many programs take a second one as a request to skip their clean-up. Rounds of
SIGKILL end only when nothing is left. Killing without stopping first wins against fork storms more often than stopping
first.

If a part of a round fails (no descriptors, say), the error is recorded and the other parts still run.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field

from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.handle import Identity
from supervisor.guardian.own_process import OwnProcess
from supervisor.guardian.pidfd import ignore_missing
from supervisor.guardian.proc import HAS_CHILDREN_FILES, Stat, children, descendants, read_stat, try_read_stat
from supervisor.guardian.process_status import ignores, inner_pid
from supervisor.guardian.procfs import Unreadable
from supervisor.guardian.round_errors import RoundErrors

LOOK_S = 0.002


@dataclass(slots=True)
class Sweep:
    """The tree below one process (`root`, which is never signalled itself), without `leave_out`.

    `leaf` is its cgroup, if it has one: then the kill starts there. `init_pid` is the init of a pid namespace in that
    tree. It does not belong to the job, but killing it kills the whole namespace.
    """

    root: int
    leaf: AttemptCgroup | None = None
    leave_out: frozenset[int] = frozenset()
    init_pid: int | None = None
    use_children_files: bool = HAS_CHILDREN_FILES
    next_look: float | None = None
    """When to call `look`; None at levels where orphans are reparented to the root and nothing has to be remembered."""
    seen: set[int] = field(default_factory=set)
    own: OwnProcess = field(default_factory=OwnProcess)
    errors: RoundErrors = field(default_factory=RoundErrors)
    _terminated: set[Identity] = field(default_factory=set)
    _hung_up: set[Identity] = field(default_factory=set)

    def pids(self) -> list[int]:
        """Return every process of the job, zombies included."""
        found = self.sample()
        self.seen.update(found)
        return found

    def sample(self) -> list[int]:
        """Return the same, for sampling during the whole run of a job: the processes are not remembered."""
        return [pid for pid in self._walk() if pid != self.init_pid]

    def _walk(self) -> list[int]:
        return descendants(
            self.root,
            leave_out=self.leave_out,
            use_children_files=self.use_children_files,
            on_error=self.errors.recorder("tree"),
            first=self._own_children(),
        )

    def _own_children(self) -> list[int] | None:
        """Return None if the children of the root cannot be read better than those of others."""
        if not self._is_own_tree:
            return None
        with self.errors.guard("children"):
            return self.own.children()
        return None

    @property
    def _is_own_tree(self) -> bool:
        return self.root == self.own.pid and self.use_children_files

    def look(self, now: float) -> None:
        """Remember the processes, where that is needed."""

    def mark(self, variables: dict[str, str]) -> None:
        """Store the environment variables of the job's processes, where that is needed."""

    def orphans(self) -> list[int]:
        """Return the job's processes that are not below the root. There are none where orphans are reparented to the
        root.
        """
        return []

    def has_no_child_but(self, own_child: int | None) -> bool:
        """Return whether the root has no other child. Orphans are reparented to the root, so then the tree is empty.

        Zombies are children, and children that cannot be read are not known to be absent.
        """
        try:
            if self._is_own_tree:
                return set(self.own.children()) <= {own_child}
            return set(children(self.root, use_children_files=self.use_children_files)) <= {own_child}
        except OSError:
            return False

    def terminate(self) -> list[int]:
        """Send SIGTERM, and SIGCONT to wake stopped ones, to all processes that have not had it yet. Return those.

        The leader of a terminal that ignores SIGTERM, as an interactive shell does, gets SIGHUP besides.
        """
        found = self.pids()
        fresh = self._terminate(found)
        for pid in found:
            stat = try_read_stat(pid)
            if stat is not None and _leads_terminal(stat) and ignores(pid, signal.SIGTERM):
                self._once(self._hung_up, Identity.shown_by(stat), signal.SIGHUP)
        return fresh

    def stop_command(self, pid: int) -> list[int]:
        """Do the same for one command of the job, with the processes below it and in its process group.

        `pid` is the runner's number for it, which differs in a pid namespace. Nothing happens if it is not one of the
        job's processes.
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
                on_error=self.errors.recorder("tree"),
            )
        )
        stats = (try_read_stat(one) for one in found)
        grouped = {stat.pid for stat in stats if stat is not None and stat.pgid == leader}
        return self._terminate([one for one in found if one == leader or one in below | grouped])

    def _terminate(self, pids: list[int]) -> list[int]:
        named = (self._name(pid) for pid in pids)
        return [one.pid for one in named if one is not None and self._once(self._terminated, one, signal.SIGTERM)]

    def _name(self, pid: int) -> Identity | None:
        try:
            stat = read_stat(pid)
        except Unreadable as exc:
            self.errors.record("stat", exc)
            return Identity(pid, 0)  # it is signalled now, and again if it can be read later
        return None if stat is None else Identity.shown_by(stat)

    def _once(self, had: set[Identity], identity: Identity, number: signal.Signals) -> bool:
        """Send this signal unless the process has had it. Return whether it was sent."""
        if identity in had:
            return False
        had.add(identity)
        self._signal(identity.pid, number)
        self._signal(identity.pid, signal.SIGCONT)
        return True

    def kill(self) -> list[int]:
        """Send SIGKILL to all processes that exist now. Return them.

        The tree contains processes that have left the cgroup, and the cgroup those that we may not signal.
        """
        self.errors.clear()
        found = self._walk()
        if self.leaf is not None:
            with self.errors.guard("cgroup.kill"):
                self.leaf.kill()
        # When init ends, the kernel ends the whole namespace, including processes that are just being forked.
        for pid in [self.init_pid] if self.init_pid in found else found:
            self._signal(pid, signal.SIGKILL)
        pids = [pid for pid in found if pid != self.init_pid]
        self.seen.update(pids)
        return pids

    def _signal(self, pid: int, number: signal.Signals) -> None:
        ignore_missing(os.kill, pid, number)

    def proven_empty(self) -> bool:
        """Return the proof: there is no child, not even a zombie, and the cgroup is empty. Only inside `root` itself.

        Return False while /proc does not show this process, or the cgroup cannot be read.
        """
        return _has_no_child() and self.own.is_seen() and (self.leaf is None or not self.leaf.populated)

    def rss_bytes(self) -> int:
        """Return the resident memory of the tree. Shared pages count for each process that maps them."""
        stats = (try_read_stat(pid) for pid in self.pids())
        return sum(stat.rss_bytes for stat in stats if stat is not None)


def _leads_terminal(stat: Stat) -> bool:
    """Return whether it is the first process in a terminal: the session's leader, or a child of another session."""
    if not stat.terminal or stat.pgid != stat.pid:
        return False
    parent = read_stat(stat.ppid)
    return stat.sid == stat.pid or parent is None or parent.sid != stat.sid


def kill_children() -> None:
    """Kill and reap everything below this process. Only for a process that owns all its children."""
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
    """Reap every child that has ended: pid → wait status. Only for a process that owns all its children."""
    reaped: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return reaped
        if pid == 0:
            return reaped
        reaped[pid] = status
