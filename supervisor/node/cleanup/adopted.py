"""Orphans that were reparented to the supervisor because their guardian died, and whether all of them can be seen.

Orphans differ from the supervisor's own children by their session: a runner starts a new session, and nothing below it
can join the supervisor's. A program that embeds a node may start children in sessions of their own: see
`host_children.py`. An orphan does not show which job it belonged to. So it counts against every dead guardian
that is not younger than the orphan, until it is reaped.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from supervisor.guardian.handle import Handle, Identity
from supervisor.guardian.kernel_features import KernelFeatures
from supervisor.guardian.membership import KnownProcesses
from supervisor.guardian.own_process import OwnProcess
from supervisor.guardian.proc import read_stat
from supervisor.guardian.procfs import Unreadable
from supervisor.guardian.round_errors import RoundErrors
from supervisor.node.cleanup.host_children import HostChildren


@dataclass(frozen=True, slots=True)
class Orphan:
    """A child of this process that another process has left. `start_ticks` is None if it cannot be read now."""

    pid: int
    start_ticks: int | None

    def may_be_of(self, guardian: Handle) -> bool:
        return self.start_ticks is None or self.start_ticks >= guardian.start_ticks


class Guarded(Protocol):
    """The part of an attempt that is needed here. At level pgroup, where `known_processes` is set, there are no
    orphans.
    """

    @property
    def guardian(self) -> Handle: ...
    @property
    def known_processes(self) -> KnownProcesses | None: ...


class AdoptedOrphans:
    """`guardians` are the supervisor's, by pid and start time, because a dead one's pid may be reused.

    Neither they nor the `host` program's own children are orphans.
    """

    def __init__(self, guardians: Collection[Identity], host: HostChildren, features: KernelFeatures) -> None:
        self._guardians = guardians
        self._host = host
        self._own = OwnProcess(use_children_files=features.children_files)
        self._sid = os.getsid(0)

    def of(self, attempts: Sequence[Guarded], errors: RoundErrors) -> list[Orphan]:
        """Return the orphans that count against any of these attempts. A failure to list them is recorded in
        `errors`.
        """
        oldest = [held.guardian.start_ticks for held in attempts if held.known_processes is None]
        if not oldest:
            return []
        with errors.guard("adopted"):
            found = [self._orphan(pid, errors) for pid in self._children(errors)]
            return [one for one in found if one is not None and _is_younger(one, min(oldest))]
        return []

    def _children(self, errors: RoundErrors) -> list[int]:
        with errors.guard("adopted"):
            return self._own.proven_children()
        return self._own.children()  # it proves nothing, but contains processes to signal

    def _orphan(self, pid: int, errors: RoundErrors) -> Orphan | None:
        """Return None if it is one of the supervisor's own processes or a guardian, or has been reaped."""
        try:
            stat = read_stat(pid)
        except Unreadable as exc:
            return self._unread(pid, exc, errors)
        if stat is None:
            return self._unread(pid, Unreadable(errno.EPERM, "it is not shown", f"/proc/{pid}"), errors)
        identity = Identity.shown_by(stat)
        if stat.sid == self._sid or identity in self._guardians or identity in self._host:
            return None
        return Orphan(pid, stat.start_ticks)

    def _unread(self, pid: int, error: Unreadable, errors: RoundErrors) -> Orphan | None:
        # It is a child that was not reaped, so its pid cannot be reused: the kernel can be asked without /proc.
        try:
            if os.getsid(pid) == self._sid:
                return None
        except ProcessLookupError:
            return None
        if pid in {one.pid for one in tuple(self._guardians)}:
            errors.record("adopted", error)  # it may be that guardian, or a process with the same pid
            return None
        return Orphan(pid, None)

    def close(self) -> None:
        self._own.close()


def _is_younger(orphan: Orphan, oldest_guardian: int) -> bool:
    return orphan.start_ticks is None or orphan.start_ticks >= oldest_guardian
