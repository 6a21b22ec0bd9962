"""Times of a job's last signs of life, in seconds of the server's awake clock. None means "not yet"."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Liveness:
    """Only for use on the event loop. `clock` excludes time in which the server itself was stopped or suspended."""

    clock: Callable[[], float] = time.monotonic
    born_at: float = field(init=False)
    """When the job was created."""
    admitted_at: float | None = None
    """When the job got its slot."""
    bound_at: float | None = None
    """When the job was handed to a runner."""
    beat_at: float | None = None
    """When the runner sent its last heartbeat, which says nothing about the task."""
    task_at: float | None = None
    """When the task last sent something: output, progress, a log line, a phase or a resource."""
    reported_at: float | None = None
    """When the task's result arrived. From then on its processes are expected to end."""
    caused_at: float | None = None
    """When the first cause to stop the job came."""

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
