"""When a job last gave a sign of life. All times are monotonic seconds; None means "not yet"."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class Pulse:
    """Belongs to the event loop."""

    born_at: float = field(default_factory=time.monotonic)
    """The job was created."""
    admitted_at: float | None = None
    """The job got its slot."""
    bound_at: float | None = None
    """It was handed over to a runner."""
    beat_at: float | None = None
    """The last heartbeat of the runner itself, which says nothing about the task."""
    task_at: float | None = None
    """The last word of the task: output, progress, log, phase, resource."""
    reported_at: float | None = None
    """The task's result arrived; since then its processes are to end."""
    caused_at: float | None = None
    """The first cause to stop it was detected."""

    @staticmethod
    def now() -> float:
        return time.monotonic()

    def admitted(self) -> None:
        self.admitted_at = time.monotonic()

    def bound(self) -> None:
        self.bound_at = self.beat_at = self.task_at = time.monotonic()

    def beat(self) -> None:
        self.beat_at = time.monotonic()

    def task_spoke(self) -> None:
        self.task_at = time.monotonic()

    def reported(self) -> None:
        self.reported_at = time.monotonic()

    def caused(self, detected: float) -> None:
        if self.caused_at is None:
            self.caused_at = detected

    def forgive(self, seconds: float) -> None:
        """Do not count a time in which nobody could have listened: the server itself stood still."""
        for each in fields(self):
            moment = getattr(self, each.name)
            if moment is not None:
                setattr(self, each.name, moment + seconds)
