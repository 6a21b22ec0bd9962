"""The protocols between jobs and machines.

The caller reserves room for an attempt, passes an order, and then receives reports. It may wait for room and give it
up. Nothing is awaited between the check for a cancel and `start`, so the two are one step. Times are relative: a stop
states its age. The caller passes no paths and no pids to the engine; pids in reports are for people to read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from supervisor.engine.inspection import EngineStatus, FoundFile, Opened, OpenFile, ProcessRow, StackDump
from supervisor.engine.order import ModuleDescription, Needs, Order, StdinChunk
from supervisor.engine.report import Ended, Report
from supervisor.engine.stop import Stop


class AttemptListener(Protocol):
    """Receives an attempt's reports. If it raises an exception, that report is lost and the attempt continues."""

    def report(self, report: Report) -> None: ...


class Attempt(Protocol):
    """One execution of a job, from its start to the proof of its end. Methods that are not coroutines never block."""

    def stop(self, stop: Stop) -> None:
        """Start the ladder, or bring its steps forward. Do nothing once the attempt has ended."""
        ...

    def write(self, chunk: StdinChunk) -> int:
        """Send a client's input. Return how many bytes of it and of earlier chunks are still waiting to be sent."""
        ...

    async def ended(self) -> Ended:
        """Wait until no process of the attempt is left. Never raise: after an internal error there is a proof too."""
        ...

    async def processes(self) -> list[ProcessRow]:
        """Return the job's processes, none once it has ended. Raise NotReady if the machine does not answer."""
        ...

    async def stacks(self, *, native: bool = False) -> StackDump:
        """Return the Python stacks of the job's runner, with the frames of C code if `native`."""
        ...

    def waits_for(self) -> str:
        """Return what a runner that has been silent for long is doing, in words."""
        ...


class Reservation(Protocol):
    """Room for one attempt. Call either `start` or `release`, once."""

    @property
    def node(self) -> str: ...

    async def prepare(self, order: Order) -> str:
        """Do the preparations that do not run the task. Return why the job cannot start, "" if it can."""
        ...

    def start(self, order: Order, listener: AttemptListener) -> Attempt:
        """Start the attempt, without blocking. The job's row must be durable before."""
        ...

    def release(self) -> None:
        """Give the room back."""
        ...


class JobFiles(Protocol):
    """The files that jobs have published."""

    async def list(self, job_id: str) -> tuple[list[FoundFile], bool]:
        """Return a job's files, and whether the list was cut. Raise NotReady if the disk does not answer."""
        ...

    async def open(self, job_id: str, path: bytes) -> OpenFile:
        """Open a regular file of a job. Raise NotFound if there is none, NotReady if the disk does not answer."""
        ...

    def discard(self, job_id: str) -> None:
        """Remove the files of a forgotten job in the background."""
        ...

    async def discarded(self, job_id: str) -> None:
        """Remove the files of a forgotten job. Raise StorageFull if that takes too long."""
        ...


class Engine(Protocol):
    """Runs attempts of jobs. Only for use on the event loop."""

    @property
    def files(self) -> JobFiles: ...

    async def open(self) -> Opened:
        """Kill the processes that earlier engines left, then start. Raise StartupError if the engine cannot be used."""
        ...

    def keep_files(self, is_known: Callable[[str], bool] | None, aside: str = "") -> None:
        """Remove the files of jobs that `is_known` rejects. If it is None, no job can be identified: then move all
        files to a folder with the suffix `aside`."""
        ...

    async def reserve(self, needs: Needs) -> Reservation:
        """Wait for room; cancel the call to give up. Raise StartRefused if the engine closes first."""
        ...

    async def describe(self, module: str) -> ModuleDescription:
        """Import a task module in a worker, and return the description of its tasks."""
        ...

    def status(self) -> EngineStatus: ...

    def stop_watches(self) -> None:
        """Stop periodic work, such as the self-test. Jobs continue."""
        ...

    async def close(self) -> None:
        """Stop the workers and release all resources, in a bounded time."""
        ...


class StartRefused(Exception):
    """Raised when an engine can no longer provide room. The message says why."""
