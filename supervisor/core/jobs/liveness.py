"""When a job last gave a sign of life. All times are seconds of the server's awake clock; None means "not yet"."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Liveness:
    """Belongs to the event loop. `clock` does not count the time that the server itself slept through."""

    clock: Callable[[], float] = time.monotonic
    born_at: float = field(init=False)
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
    """The first cause to stop it came."""

    def __post_init__(self) -> None:
        self.born_at = self.clock()

    def now(self) -> float:
        return self.clock()

    def admitted(self) -> None:
        self.admitted_at = self.clock()

    def bound(self) -> None:
        self.bound_at = self.beat_at = self.task_at = self.clock()

    def beat(self) -> None:
        self.beat_at = self.clock()

    def task_spoke(self) -> None:
        self.task_at = self.clock()

    def reported(self) -> None:
        self.reported_at = self.clock()

    def caused(self) -> None:
        if self.caused_at is None:
            self.caused_at = self.clock()
