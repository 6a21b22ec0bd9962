"""Writes to stdout and stderr from threads of their own.

A program that reads our pipe slowly, or not at all (`| less`), blocks a write for as long as it likes. On the event
loop that would also delay Ctrl-C. The threads are daemons and are never joined, so nothing of ours waits for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

STDOUT, STDERR = 1, 2
HIGH_WATER_BYTES = 1024 * 1024
LAST_WRITES_S = 0.3
"""How long leaving waits for what is queued. `drain` waits for all of it."""


class OutputWriter:
    """Use as an asynchronous context manager. Order is kept, also between stdout and stderr if they are one file."""

    def __init__(self) -> None:
        self.stdout_gone = asyncio.Event()
        """Set once our stdout has no reader any more."""
        self.failure: OSError | None = None
        """Why stdout cannot be written, such as a full disk; None if its reader left."""
        self._loop = asyncio.get_running_loop()
        self._watching = False
        self._hurrying = False
        out = _Pipe(self._loop, self._failed)
        err = out if _same_file(STDOUT, STDERR) else _Pipe(self._loop, self._failed)
        self._pipes = {STDOUT: out, STDERR: err}

    async def __aenter__(self) -> Self:
        for pipe in set(self._pipes.values()):
            pipe.start()
        # A pipe reports an error condition as soon as its last reader has left, so a silent job is stopped without
        # waiting for its next line. tail(1) watches its output in the same way.
        if stat.S_ISFIFO(os.fstat(STDOUT).st_mode):
            try:
                self._loop.add_reader(STDOUT, self._reader_left)
                self._watching = True
            except OSError:
                # Not every kind of descriptor can be polled; the next write finds the same, later.
                self._watching = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WRITES_S):
                await self.drain()
        self._unwatch()
        for pipe in set(self._pipes.values()):
            pipe.close()

    def put(self, fd: int, text: str) -> None:
        """Queue `text` without waiting."""
        if text and not (fd == STDOUT and self.stdout_gone.is_set()):
            self._pipes[fd].put(fd, text.encode("utf-8", "replace"))

    async def room(self) -> None:
        """Wait until the readers have taken enough of what is queued. After `hurry` there is always room."""
        while not self._hurrying and max(pipe.pending_bytes for pipe in self._pipes.values()) > HIGH_WATER_BYTES:
            await self._progress()

    async def drain(self) -> None:
        """Wait until everything is written, or cannot be."""
        while any(pipe.pending_bytes for pipe in self._pipes.values()):
            await self._progress()

    def hurry(self) -> None:
        """Queue without a limit from now on: what comes next matters more than a slow reader."""
        self._hurrying = True
        for pipe in self._pipes.values():
            pipe.progress.set()

    async def _progress(self) -> None:
        """Wait until some pipe has written something."""
        pipes = set(self._pipes.values())
        for pipe in pipes:
            pipe.progress.clear()
        waits = [asyncio.ensure_future(pipe.progress.wait()) for pipe in pipes]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _failed(self, fd: int, exc: OSError) -> None:
        if fd == STDERR:
            # The failure cannot be reported anywhere; the exit code still shows how the job ended.
            return
        if not isinstance(exc, BrokenPipeError):
            self.failure = exc
        self._reader_left()

    def _reader_left(self) -> None:
        self._unwatch()
        self.stdout_gone.set()
        self._pipes[STDOUT].discard(STDOUT)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_reader(STDOUT)


class _Pipe:
    """A queue and the thread that empties it. `on_failure` is called on the loop, with the descriptor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_failure: Callable[[int, OSError], None]) -> None:
        self.pending_bytes = 0
        self.progress = asyncio.Event()
        self._loop = loop
        self._on_failure = on_failure
        self._queue: deque[tuple[int, bytes]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._dead: set[int] = set()

    def start(self) -> None:
        threading.Thread(target=self._write_queued, name="output-writer", daemon=True).start()

    def put(self, fd: int, data: bytes) -> None:
        with self._changed:
            self._queue.append((fd, data))
            self.pending_bytes += len(data)
            self._changed.notify()

    def discard(self, fd: int) -> None:
        """Stop writing to `fd`; what is queued for it counts as written."""
        self._dead.add(fd)

    def close(self) -> None:
        """End the thread once the queue is empty."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def _write_queued(self) -> None:
        while True:
            with self._changed:
                while not self._queue:
                    if self._closing:
                        return
                    self._changed.wait()
                fd, data = self._queue.popleft()
            failure = None if fd in self._dead else self._write(fd, data)
            with self._changed:
                self.pending_bytes -= len(data)
            try:
                if failure is not None:
                    self._dead.add(fd)
                    self._loop.call_soon_threadsafe(self._on_failure, fd, failure)
                self._loop.call_soon_threadsafe(self.progress.set)
            except RuntimeError:
                # The loop is closed: the command has ended without waiting for this thread.
                return

    @staticmethod
    def _write(fd: int, data: bytes) -> OSError | None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:
                # Another program may have made the description that we share with it non-blocking.
                select.select([], [fd], [])
            except OSError as exc:
                return exc
        return None


def _same_file(first: int, second: int) -> bool:
    one, other = os.fstat(first), os.fstat(second)
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
