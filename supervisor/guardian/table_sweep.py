"""The sweep of level pgroup: the same signals, to what the process table shows instead of to a tree."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from supervisor.guardian.handle import Identity
from supervisor.guardian.membership import KnownProcesses
from supervisor.guardian.sweep import Sweep

LOOK_EVERY_S = 0.1
"""How often a running job is looked at, so that an orphan has been seen while its parents lived."""


@dataclass(slots=True)
class TableSweep(Sweep):
    """`sightings` knows the job's processes. One that has ended counts as gone, whoever has to reap it."""

    sightings: KnownProcesses = field(kw_only=True)
    use_pidfd: bool = True
    next_look: float | None = 0.0
    _now: dict[int, Identity] = field(default_factory=dict)
    _thorough: bool = True
    _searched: bool = False

    def look(self, now: float) -> None:
        self.next_look = now + LOOK_EVERY_S
        self.sightings.look(on_error=self.parts.noting("look"))

    def mark(self, variables: dict[str, str]) -> None:
        self.sightings.mark = variables

    def _walk(self) -> list[int]:
        found: list[Identity] = []
        on_error = self.parts.noting("process table")
        with self.parts.part("process table"):
            if self._thorough:
                found = self.sightings.search(on_error=on_error)
        if not self._thorough or self.parts.failed:
            with self.parts.part("look"):
                self.sightings.look(on_error=on_error)
            found = list({*found, *self.sightings.known()})
        self._now = {one.pid: one for one in found}
        return list(self._now)

    def terminate(self) -> list[int]:
        # For what is only asked to go one search is enough, and then newcomers in sight.
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
        # Zero-argument super() does not find its class in one with slots.
        if not Sweep.proven_empty(self):
            return False
        try:
            return not self.sightings.search()
        except OSError:
            return False  # what cannot be read is not empty

    def _signal(self, pid: int, number: signal.Signals) -> None:
        # By identity: nobody waits for an orphan here, so its number is free as soon as it has ended.
        with self.parts.part("signal"):
            self._now[pid].send(number, use_pidfd=self.use_pidfd)
