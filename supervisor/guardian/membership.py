"""What belongs to a job where no orphan comes back: remembered while it can be seen, searched for in the process table.

For level pgroup, where the kernel hands an orphan to pid 1 and nothing says whose it was. A process is taken for one of
the job's if
- it is below the guardian, or below one that is the job's; or
- it was that at an earlier look; or
- it is in a session of the job's, and with that in one of its process groups; or
- its environment has the job's mark.
What fits none of these is not found: a daemon in a new session with an emptied environment, whose parents ended between
two looks. That is why the level is called best effort. Light on purpose: guardians use it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from runner.protocol import Describe, RunTask
from supervisor.guardian.environment import COOKIE, JOB_ID
from supervisor.guardian.handle import Identity
from supervisor.guardian.proc import OnError, Stat, descendants, environment_of, process_table, read_stat, reraise
from supervisor.guardian.procfs import Unreadable

MANY_SESSIONS = 256


class KnownProcesses:
    """One job's. `root` is its guardian, in whose session the job begins; `leave_out` are the guardian's own."""

    def __init__(
        self,
        root: int,
        runner: Identity,
        *,
        leave_out: frozenset[int] = frozenset(),
        mark: dict[str, str] | None = None,
    ) -> None:
        self._root = root
        self._runner = runner
        self._not_ours = {os.getpid(), root, *leave_out}
        self._known = {runner}
        self._sessions: set[int] = {root}
        self._search_at = MANY_SESSIONS
        self.mark = mark or {}
        """Variables that everything of the job has in its environment, unless it took them out."""

    def look(self, *, on_error: OnError = reraise) -> None:
        """Remember what is below the guardian and below what is known. Costs some microseconds a process.

        Goes on without what cannot be read, if `on_error` returns.
        """
        self._known = {self._runner, *self._alive()}
        if len(self._sessions) >= self._search_at:
            self.search(
                on_error=on_error
            )  # which forgets those that are over, as a job that runs for days may have had thousands
            self._search_at = max(MANY_SESSIONS, 2 * len(self._sessions))
        for root in [self._root, *(one.pid for one in self._alive())]:
            for pid in descendants(root, leave_out=frozenset(self._not_ours), on_error=on_error):
                try:
                    stat = read_stat(pid)
                except Unreadable as exc:
                    on_error(exc)
                    continue
                if stat is not None:
                    self._remember(stat)

    def known(self) -> list[Identity]:
        """What was seen and has not ended, without a search."""
        return [one for one in self._alive() if one.pid not in self._not_ours]

    def search(self, table: dict[int, Stat] | None = None, *, on_error: OnError = reraise) -> list[Identity]:
        """Everything of the job that has not ended, from one reading of the whole table: this one, or a fresh one.

        Raises Unreadable, unless `on_error` returns: then it is what could be read.
        """
        if table is None:
            table = self._read_table(on_error)
        else:
            self._forget_what_is_over(table)
        found: dict[int, Stat] = {}
        # Whatever began before the runner is a stranger.
        younger = [stat for stat in table.values() if stat.start_ticks >= self._runner.start_ticks]
        pending = [stat for stat in younger if stat.pid not in self._not_ours]
        pending = self._collect(pending, found)
        for stat in pending:
            # An orphan's new parent is older than any of the job's; the others are below one that is looked at.
            parent = table.get(stat.ppid)
            if (parent is None or parent.start_ticks <= self._runner.start_ticks) and self._is_marked(stat, on_error):
                found[stat.pid] = stat
                self._remember(stat)
        self._collect(pending, found)  # what is below those, marked or not
        return [_identity(stat) for stat in found.values() if not stat.ended]

    def _read_table(self, on_error: OnError) -> dict[int, Stat]:
        failed: list[Unreadable] = []

        def note(error: Unreadable) -> None:
            failed.append(error)
            on_error(error)

        table = process_table(note)
        if not failed:  # else somebody who lives may be missing in it
            self._forget_what_is_over(table)
        return table

    def _collect(self, pending: list[Stat], found: dict[int, Stat]) -> list[Stat]:
        """Add to `found` what is the job's for what is known by now, until nothing more is. Those that are left."""
        while fresh := [stat for stat in pending if stat.pid not in found and self._is_ours(stat, found)]:
            for stat in fresh:
                found[stat.pid] = stat
                self._remember(stat)
        return [stat for stat in pending if stat.pid not in found]

    def _alive(self) -> Iterable[Identity]:
        return [one for one in self._known if _may_live(one)]

    def _remember(self, stat: Stat) -> None:
        self._known.add(_identity(stat))
        self._sessions.add(stat.sid)

    def _forget_what_is_over(self, table: dict[int, Stat]) -> None:
        """A number is free again once its process, or its session, is over, and may then be a stranger's."""
        self._known = {one for one in self._known if one.pid in table and _identity(table[one.pid]) == one}
        there = {stat.sid for stat in table.values()}
        ours = {*self._known, self._runner}
        self._sessions = {
            sid
            for sid in self._sessions & there
            if sid not in table or _identity(table[sid]) in ours or self._is_root(table[sid])
        }

    def _is_root(self, stat: Stat) -> bool:
        """Whether it is the guardian. What has its number and is younger than the runner is a stranger."""
        return stat.pid == self._root and stat.start_ticks <= self._runner.start_ticks

    def _is_ours(self, stat: Stat, found: dict[int, Stat]) -> bool:
        return (
            _identity(stat) in self._known
            or stat.sid in self._sessions
            or stat.ppid == self._root
            or stat.ppid in found
        )

    def _is_marked(self, stat: Stat, on_error: OnError) -> bool:
        if not self.mark:
            return False
        try:
            environment = environment_of(stat.pid)
        except Unreadable as exc:
            on_error(exc)
            return False
        return all(environment.get(name.encode()) == value.encode() for name, value in self.mark.items())


def _may_live(one: Identity) -> bool:
    """What cannot be read is not known to be gone."""
    try:
        stat = read_stat(one.pid)
    except Unreadable:
        return True
    return stat is not None and _identity(stat) == one and not stat.ended


def mark_of(order: RunTask | Describe) -> dict[str, str]:
    """What everything that is started for this order has in its environment. Empty where that would not be enough.

    The description of a task module is no job, and a server's cookie alone is in every process of the server.
    """
    cookie = order.environment.get(COOKIE)
    return {COOKIE: cookie, JOB_ID: order.job_id} if isinstance(order, RunTask) and cookie is not None else {}


def _identity(stat: Stat) -> Identity:
    return Identity(stat.pid, stat.start_ticks)
