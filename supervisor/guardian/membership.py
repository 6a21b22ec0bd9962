"""The processes of a job without a subreaper: remembered while they can be seen, and searched for in the process table.

At level pgroup the kernel reparents an orphan to pid 1, and nothing shows where it came from. A process is taken for
one of the job's if
- it is below the guardian, or below another process of the job; or
- it was there in an earlier sample; or
- it is in a session of the job; or
- its environment has the job's marker.
Anything else is not found: a daemon in a new session with an emptied environment, whose parents ended between two
samples. That is why the level is called best effort. This module is light, because guardians import it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from runner.protocol import Describe, RunTask
from supervisor.guardian.environment import COOKIE, JOB_ID
from supervisor.guardian.handle import Identity
from supervisor.guardian.proc import (
    OnError,
    Stat,
    descendants,
    environment_of,
    process_table,
    read_stat,
    read_stats,
    reraise,
)
from supervisor.guardian.procfs import Unreadable

MANY_SESSIONS = 256


class KnownProcesses:
    """The processes of one job. `root` is its guardian, whose session the job starts in; `leave_out` are the guardian's
    own.
    """

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
        """Variables that every process of the job has in its environment, unless it removed them."""

    def look(self, *, on_error: OnError = reraise) -> None:
        """Remember what is below the guardian and below known processes. This takes some microseconds for each process.

        Continue without what cannot be read, if `on_error` returns.
        """
        self._known = {self._runner, *self._alive()}
        if len(self._sessions) >= self._search_at:
            # The search forgets sessions that have ended. A job that runs for days may have had thousands of them.
            self.search(on_error=on_error)
            self._search_at = max(MANY_SESSIONS, 2 * len(self._sessions))
        for root in [self._root, *(one.pid for one in self._alive())]:
            for stat in read_stats(descendants(root, leave_out=frozenset(self._not_ours), on_error=on_error), on_error):
                self._remember(stat)

    def known(self) -> list[Identity]:
        """Return the known processes that have not ended, without a search."""
        return [one for one in self._alive() if one.pid not in self._not_ours]

    def search(self, table: dict[int, Stat] | None = None, *, on_error: OnError = reraise) -> list[Identity]:
        """Return every process of the job that has not ended, from one reading of the process table, or from `table`.

        Raise Unreadable, unless `on_error` returns: then the result contains what could be read.
        """
        if table is None:
            table = self._read_table(on_error)
        else:
            self._forget_ended(table)
        found: dict[int, Stat] = {}
        # Processes that started before the runner are unrelated.
        younger = [stat for stat in table.values() if stat.start_ticks >= self._runner.start_ticks]
        pending = [stat for stat in younger if stat.pid not in self._not_ours]
        pending = self._collect(pending, found)
        for stat in pending:
            # The new parent of an orphan is older than the job. All other processes are below one that is checked.
            parent = table.get(stat.ppid)
            if (parent is None or parent.start_ticks <= self._runner.start_ticks) and self._is_marked(stat, on_error):
                found[stat.pid] = stat
                self._remember(stat)
        self._collect(pending, found)  # the processes below those, with or without the marker
        return [_identity(stat) for stat in found.values() if not stat.ended]

    def _read_table(self, on_error: OnError) -> dict[int, Stat]:
        failed: list[Unreadable] = []

        def note(error: Unreadable) -> None:
            failed.append(error)
            on_error(error)

        table = process_table(note)
        if not failed:  # otherwise a living process may be missing in the table
            self._forget_ended(table)
        return table

    def _collect(self, pending: list[Stat], found: dict[int, Stat]) -> list[Stat]:
        """Add the processes of the job to `found` until there are no more. Return those that are left."""
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

    def _forget_ended(self, table: dict[int, Stat]) -> None:
        """Forget processes and sessions that have ended: the kernel may reuse their IDs for unrelated processes."""
        self._known = {one for one in self._known if one.pid in table and _identity(table[one.pid]) == one}
        there = {stat.sid for stat in table.values()}
        ours = {*self._known, self._runner}
        self._sessions = {
            sid
            for sid in self._sessions & there
            if sid not in table or _identity(table[sid]) in ours or self._is_root(table[sid])
        }

    def _is_root(self, stat: Stat) -> bool:
        """Return whether it is the guardian. A younger process with the same pid is unrelated."""
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
    """Return whether the process may be alive: if that cannot be read, it is not known to have ended."""
    try:
        stat = read_stat(one.pid)
    except Unreadable:
        return True
    return stat is not None and _identity(stat) == one and not stat.ended


def env_marker_of(order: RunTask | Describe) -> dict[str, str]:
    """Return the variables that every process of this order has in its environment, or none if they would not be
    enough.

    The description of a task module is not a job, and the server's cookie is in every process of the server.
    """
    cookie = order.environment.get(COOKIE)
    return {COOKIE: cookie, JOB_ID: order.job_id} if isinstance(order, RunTask) and cookie is not None else {}


def _identity(stat: Stat) -> Identity:
    return Identity(stat.pid, stat.start_ticks)
