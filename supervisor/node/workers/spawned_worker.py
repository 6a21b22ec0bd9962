"""The supervisor's side of a worker that was just started, {Event, guardian, runner}, before it has reported."""

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
    """Raised when a process could not be started in time. The pool tries again."""


@dataclass(slots=True, eq=False)
class SpawnedWorker:
    """The Event is created first, so that a stop can always be requested.

    `event` is None once the process has ended: it is five objects in /dev/shm, and remembered jobs keep their workers.
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
        """Set the Event, without its lock. Never block. Raise OSError or ValueError if its semaphore is unusable.

        `Event.set()` takes the lock, which a job can hold for good, even after its death, and then counts sleepers,
        which may be dead. Runners do not sleep on it: `is_set` reads this one semaphore alone, and sem_post(3) never
        blocks.
        """
        event: Any = self.event
        if event is not None:
            # Without this, each call would count up. It may miss because of a concurrent read, which does no harm.
            event._flag.acquire(False)
            event._flag.release()

    def discard(self) -> None:
        """Close all channels of an unwanted worker: its guardian sees the end of the lifeline and ends."""
        for end in (self.control, self.channel, self.stdout, self.stderr, self.stack):
            end.close()


_lifelines: weakref.WeakSet[socket.socket] = weakref.WeakSet()


@atexit.register
def _cut_lifelines() -> None:
    # multiprocessing joins its children at exit, and a guardian ends when its control socket does. Without this, the
    # interpreter would wait for processes that wait for it.
    for lifeline in list(_lifelines):
        try:
            lifeline.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue  # it was closed before
