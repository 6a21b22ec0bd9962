"""The sweep of level pgroup: the same signals, sent to processes from the process table instead of a tree."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from supervisor.guardian.handle import Identity
from supervisor.guardian.membership import KnownProcesses
from supervisor.guardian.sweep import Sweep

LOOK_EVERY_S = 0.1
"""The interval between two samples of a running job, so that an orphan has been seen while its parents were alive."""


@dataclass(slots=True)
class TableSweep(Sweep):
    """`known_processes` are the job's processes. One that has ended does not count, whether it was reaped or not."""

    known_processes: KnownProcesses = field(kw_only=True)
    use_pidfd: bool = True
    next_look: float | None = 0.0
    _now: dict[int, Identity] = field(default_factory=dict)
    _thorough: bool = True
    _searched: bool = False

    def look(self, now: float) -> None:
        self.next_look = now + LOOK_EVERY_S
        self.known_processes.look(on_error=self.errors.recorder("look"))

    def mark(self, variables: dict[str, str]) -> None:
        self.known_processes.mark = variables

    def _walk(self) -> list[int]:
        found: list[Identity] = []
        on_error = self.errors.recorder("process table")
        with self.errors.guard("process table"):
            if self._thorough:
                found = self.known_processes.search(on_error=on_error)
        if not self._thorough or self.errors.failed:
            with self.errors.guard("look"):
                self.known_processes.look(on_error=on_error)
            found = list({*found, *self.known_processes.known()})
        self._now = {one.pid: one for one in found}
        return list(self._now)

    def terminate(self) -> list[int]:
        # SIGTERM needs only one search of the whole table; after that, new processes below known ones are enough.
        self._thorough = not self._searched
        self._searched = True
        fresh = Sweep.terminate(self)
        self._thorough = True
        return fresh

    def rss_bytes(self) -> int:
        self._thorough = False
        found = Sweep.rss_bytes(self)
        self._thorough = True
        return found

    def orphans(self) -> list[int]:
        return self._walk()

    def proven_empty(self) -> bool:
        # super() without arguments does not work in a dataclass with slots.
        if not Sweep.proven_empty(self):
            return False
        try:
            return not self.known_processes.search()
        except OSError:
            return False  # a table that cannot be read proves nothing

    def _signal(self, pid: int, number: signal.Signals) -> None:
        # By identity: an orphan is reaped by another process, so its pid may be reused as soon as it has ended.
        with self.errors.guard("signal"):
            self._now[pid].send(number, use_pidfd=self.use_pidfd)
