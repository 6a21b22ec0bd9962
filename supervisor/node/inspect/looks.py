"""Inspection of a job by people: its processes, its stacks and its files, each on threads of its own kind.

A job can make each of them slow, with as many processes, bytes or folders as it likes. So none of them shares its
threads with another, nor with the end of any job, and each answer has a timeout.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from supervisor.engine.inspection import FoundFile, ProcessRow
from supervisor.errors import NotReady
from supervisor.node.inspect import processes
from supervisor.node.inspect.stacks import NoStack
from supervisor.node.storage.lane import Lane, Late
from supervisor.node.storage.published_files import Files

PROCESSES_TIMEOUT_S = 5.0
FILES_TIMEOUT_S = 10.0
STACK_PATIENCE_S = 3.0
"""How long a stack may wait for its turn."""
RETRY_AFTER_S = 2
CLOSE_TIMEOUT_S = 0.1

_FILES = "DEADSTOP_STATE_DIR/files"

Answer = TypeVar("Answer")


class Looks:
    """Belongs to the event loop."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.stacks = Lane("stacks", threads=4)
        self._processes = Lane("processes", threads=2)
        self._reading = Lane("files", threads=4)

    def start(self) -> None:
        for lane in (self.stacks, self._processes, self._reading):
            lane.start()

    def close(self) -> None:
        for lane in (self.stacks, self._processes, self._reading):
            lane.close(CLOSE_TIMEOUT_S)

    async def processes(self, root_pid: int) -> list[ProcessRow]:
        """Return the process table of a job. Raise NotReady."""
        try:
            return await self._processes.call(processes.table, root_pid, timeout_s=PROCESSES_TIMEOUT_S)
        except Late as exc:
            raise NotReady(f"cannot look at the processes of the job: {exc}", RETRY_AFTER_S) from None

    async def call(self, function: Callable[..., Answer], *args: Any, timeout_s: float) -> Answer:
        """Run a function that reads /proc, on the threads for processes. Raise NotReady."""
        try:
            return await self._processes.call(function, *args, timeout_s=timeout_s)
        except Late as exc:
            raise NotReady(f"cannot read /proc: {exc}", RETRY_AFTER_S) from None

    async def files(self, job_id: str) -> tuple[list[FoundFile], bool]:
        """Return the files that a job left, and whether there are more. Raise NotReady."""
        return await self.read(self._files.list, job_id)

    async def open_file(self, job_id: str, path: bytes) -> int:
        """Return a descriptor for reading. Raise NotFound or NotReady."""
        opening = self.read_later(self._files.open_file, job_id, path)
        try:
            return await self._reading.answer(opening, FILES_TIMEOUT_S, drop=True)
        except BaseException as exc:
            opening.add_done_callback(_close_opened)  # the client has disconnected, or its request timed out
            if isinstance(exc, Late | OSError):
                raise _not_ready(exc) from None
            raise

    async def read(self, function: Callable[..., Answer], *args: Any) -> Answer:
        """Return the result of a function that reads files which jobs left. Raise NotReady."""
        try:
            return await self._reading.call(function, *args, timeout_s=FILES_TIMEOUT_S, place=_FILES)
        except (Late, OSError) as exc:
            raise _not_ready(exc) from None

    def read_later(self, function: Callable[..., Answer], *args: Any) -> Future[Answer]:
        """Start the same, without waiting."""
        return self._reading.later(function, *args, place=_FILES)


def _not_ready(exc: Late | OSError) -> NotReady:
    reason = f"{_FILES}: {exc.strerror}" if isinstance(exc, OSError) else str(exc)
    return NotReady(f"cannot read the files of the job: {reason}", RETRY_AFTER_S)


def _close_opened(opening: Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


async def taken(taking: Future[str], lane: Lane, timeout_s: float) -> str:
    """Wait for a stack that is taken on a lane, at most the timeout from its turn. Raise NoStack."""
    try:
        return await lane.answer(taking, STACK_PATIENCE_S + timeout_s, drop=True)
    except Late as exc:
        raise NoStack(f"the stack could not be taken: {exc}") from None
