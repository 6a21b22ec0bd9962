"""The supervisor's ends of what was just started: {Event, guardian, runner}, not yet heard of."""

from __future__ import annotations

import atexit
import multiprocessing.util  # noqa: F401 - its exit handler must be registered before ours, so that ours runs first
import socket
import weakref
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event as SharedEvent
from typing import Any

from supervisor.engine.containment import Level
from supervisor.guardian.plan import Plan


class StartFailed(Exception):
    """A process could not be started within the bound. Met by the pool, which tries again."""


@dataclass(slots=True, eq=False)
class SpawnedWorker:
    """The Event was made first: a cause can always be told.

    `event` is None once the process has ended: it is five objects in /dev/shm, and jobs that are remembered remember
    their sets for as long.
    """

    level: Level
    plan: Plan
    event: SharedEvent | None
    process: ForkServerProcess
    control: socket.socket
    channel: socket.socket
    stdout: Connection
    stderr: Connection
    stack: Connection

    def __post_init__(self) -> None:
        _lifelines.add(self.control)

    def ask(self) -> None:
        """Set the Event, without its lock. Never blocks; raises OSError or ValueError when its semaphore is unusable.

        `Event.set()` takes the lock, which a job can hold for good, or die with, and then counts sleepers, who can be
        dead. Runners do not sleep on it: `is_set` looks at this one semaphore alone, and sem_post(3) never waits.
        """
        event: Any = self.event
        if event is not None:
            event._flag.acquire(
                False
            )  # so that asking again does not count up; a miss by a concurrent look is harmless
            event._flag.release()

    def discard(self) -> None:
        """Nobody wants it any more: its guardian sees the end of the lifeline and goes."""
        for end in (self.control, self.channel, self.stdout, self.stderr, self.stack):
            end.close()


_lifelines: weakref.WeakSet[socket.socket] = weakref.WeakSet()


@atexit.register
def _cut_lifelines() -> None:
    # multiprocessing joins its children at exit, and a guardian ends when its control socket does: cut them first,
    # or the interpreter waits for processes that wait for it.
    for lifeline in list(_lifelines):
        try:
            lifeline.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue  # closed before
