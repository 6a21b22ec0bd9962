"""The protocols between jobs and machines.

An engine is asked for room, then given an order, and from then on speaks only in reports. Room can be waited for and
given up; between room and `start` nothing is awaited, so "look for a cause and start" is one step. Everything is
relative: a stop says how old it is. No path and no pid goes down; pids come up for people to read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from supervisor.engine.inspection import EngineStatus, FoundFile, Opened, OpenFile, ProcessRow, StackDump
from supervisor.engine.order import ModuleDescription, Needs, Order, StdinChunk
from supervisor.engine.report import Ended, Report
from supervisor.engine.stop import Stop


class AttemptListener(Protocol):
    """What an attempt reports to. A listener may raise: then that one report is lost, and the attempt goes on."""

    def report(self, report: Report) -> None: ...


class Attempt(Protocol):
    """One execution of a job, from its start to its proof. Methods that are not awaited never block."""

    def stop(self, stop: Stop) -> None:
        """Start the ladder, or raise it. Nothing happens once nothing of the attempt is left."""
        ...

    def write(self, chunk: StdinChunk) -> int:
        """Send what a client has typed. Return how many bytes are not sent yet, of this chunk and those before."""
        ...

    async def ended(self) -> Ended:
        """Wait until nothing of the attempt is left. Does not raise: an error of the engine ends in a proof too."""
        ...

    async def processes(self) -> list[ProcessRow]:
        """Return the processes of the job; none once it has ended. Raise NotReady when the machine does not answer."""
        ...

    async def stacks(self, *, native: bool = False) -> StackDump:
        """Return the Python stacks of the job's runner, with the frames of C code if `native`."""
        ...

    def waits_for(self) -> str:
        """Return what the runner does, in words, when it has been silent for long."""
        ...


class Reservation(Protocol):
    """Room for one attempt. Use it once: `start`, or `release`."""

    @property
    def node(self) -> str: ...

    async def prepare(self, order: Order) -> str:
        """Do what needs no permission to run the task. Return why the job cannot be started; "" if it can."""
        ...

    def start(self, order: Order, listener: AttemptListener) -> Attempt:
        """Start the attempt. Call it once the job's row is durable; never blocks."""
        ...

    def release(self) -> None:
        """Give the room back."""
        ...


class JobFiles(Protocol):
    """The files that jobs left for people."""

    async def list(self, job_id: str) -> tuple[list[FoundFile], bool]:
        """Return the files of a job, and whether there are more than are listed. Raise NotReady."""
        ...

    async def open(self, job_id: str, path: bytes) -> OpenFile:
        """Open an ordinary file of a job. Raise NotFound, NotReady."""
        ...

    def discard(self, job_id: str) -> None:
        """Remove the files of a job that is forgotten. Waits for nothing."""
        ...

    async def discarded(self, job_id: str) -> None:
        """Remove them, and wait for that. Raise StorageFull when it takes too long."""
        ...


class Engine(Protocol):
    """Where jobs run. Belongs to the event loop."""

    @property
    def files(self) -> JobFiles: ...

    async def open(self) -> Opened:
        """End what earlier engines left, and begin. Raise StartupError."""
        ...

    def keep_files(self, is_known: Callable[[str], bool] | None, aside: str = "") -> None:
        """Remove the files of jobs that are not known. None: nothing is known of any; keep them aside, with this
        suffix to the folder's name."""
        ...

    async def reserve(self, needs: Needs) -> Reservation:
        """Wait for room. Cancel it to give the place up. Raise StartRefused when the engine closes before."""
        ...

    async def describe(self, module: str) -> ModuleDescription:
        """Import a module of tasks in a worker, and return what it offers."""
        ...

    def status(self) -> EngineStatus: ...

    def stop_watches(self) -> None:
        """Stop what the engine does by itself, such as its self-test. Jobs go on."""
        ...

    async def close(self) -> None:
        """End the workers, and give back what the engine holds. Bounded."""
        ...


class StartRefused(Exception):
    """Raised when an engine cannot give room any more. The message says why."""
