"""Observe processes from outside, by handle: PID, start time and pidfd, all from the kernel.

Nothing here asks the product. "Gone" means ended *and* reaped: a zombie that its parent does not reap is not gone.
Orphans that are reparented to this process (the test run is a subreaper) are reaped here.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

ZOMBIE_POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class Handle:
    """One process, safe from PID reuse. `parent` is the PID of its parent when it was first seen."""

    pid: int
    started: float
    name: str
    parent: int
    pidfd: int

    @classmethod
    def open(cls, pid: int) -> Handle | None:
        """Return a handle, or None if there is no such process (any more)."""
        try:
            process = psutil.Process(pid)
            pidfd = os.pidfd_open(pid)
        except (psutil.NoSuchProcess, ProcessLookupError):
            return None
        try:
            # psutil took the start time before the pidfd was opened; the same start time again means the same process.
            with process.oneshot():
                handle = cls(pid, process.create_time(), process.name(), process.ppid(), pidfd)
            if process.is_running():
                return handle
        except psutil.NoSuchProcess:
            pass
        os.close(pidfd)
        return None

    def status(self) -> str | None:
        """Return its current status in /proc, such as "sleeping" or "zombie", or None if it is gone."""
        try:
            process = psutil.Process(self.pid)
            return str(process.status()) if process.create_time() == self.started else None
        except psutil.NoSuchProcess:
            return None

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap_if_adopted(self) -> None:
        """Only what became our child later: what we started ourselves has a Popen that wants its status."""
        if self.parent != os.getpid():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)

    def __str__(self) -> str:
        return f"{self.name}[{self.pid}] {self.status() or 'gone'}"


class Watched:
    """A set of handles. Use it as a context manager: it closes its pidfds."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.handles = [handle for pid in pids if (handle := Handle.open(pid)) is not None]

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for handle in self.handles:
            os.close(handle.pidfd)
        self.handles = []

    def left(self) -> list[Handle]:
        """Return the processes that still exist, zombies included."""
        for handle in self.handles:
            handle.reap_if_adopted()
        return [handle for handle in self.handles if handle.status() is not None]

    def wait_gone(self, deadline: float) -> list[Handle]:
        """Wait until all are gone, at most until `deadline` (monotonic seconds). Return those that are not."""
        poller = select.poll()
        open_fds = {handle.pidfd for handle in self.handles}
        for fd in open_fds:
            poller.register(fd, select.POLLIN)
        while open_fds and (left_s := deadline - time.monotonic()) > 0:
            for fd, _ in poller.poll(left_s * 1000):
                poller.unregister(fd)
                open_fds.discard(fd)
        # All have ended; their parents may take another moment to reap them, and there is no event for that.
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(ZOMBIE_POLL_S)
        return left

    def kill(self) -> None:
        for handle in self.handles:
            handle.kill()


def descendants(root_pid: int) -> list[int]:
    """Return all descendants of `root_pid`, from one reading of the whole process table."""
    try:
        return [process.pid for process in psutil.Process(root_pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def snapshot(root_pid: int) -> Watched:
    """Return handles on `root_pid` and all of its descendants."""
    return Watched([root_pid, *descendants(root_pid)])


def parent_of(pid: int) -> int:
    return psutil.Process(pid).ppid()


def describe(handles: Sequence[Handle]) -> str:
    return ", ".join(str(handle) for handle in handles) or "nothing"


class Beacon:
    """A FIFO whose write end every process of a job inherits: EOF on the read end proves that all of them are dead.

    It needs no list of processes, so it also covers those that were born after the last look.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()  # as /proc shows it
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def __enter__(self) -> Beacon:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._fd)
        self.path.unlink()

    def wait_in_place(self, bound_s: float) -> bool:
        """Return whether a holder has written into it within the bound."""
        return bool(select.select([self._fd], [], [], bound_s)[0]) and os.read(self._fd, 1) != b""

    def wait_eof(self, deadline: float) -> bool:
        """Return whether every holder was dead by `deadline`. A beacon that was never held gives no EOF."""
        poller = select.poll()
        poller.register(self._fd, 0)  # POLLHUP comes unasked
        return bool(poller.poll(max(0.0, deadline - time.monotonic()) * 1000))

    def holders(self) -> list[int]:
        """Return the PIDs that have it open now, found in /proc whatever their parent, session or environment is."""
        return [pid for pid in psutil.pids() if self._is_held_by(pid)]

    def _is_held_by(self, pid: int) -> bool:
        if pid == os.getpid():
            return False
        folder = f"/proc/{pid}/fd"
        try:
            return any(self._is_at(f"{folder}/{fd}") for fd in os.listdir(folder))
        except OSError:  # gone, or owned by another user
            return False

    def _is_at(self, link: str) -> bool:
        try:
            return os.readlink(link) == str(self.path)  # noqa: PTH115 - a storm is faster than Path objects
        except OSError:
            return False

    def kill_holders(self, deadline: float) -> bool:
        """Kill the holders until none is left, after a sin that was not contained. Return False at `deadline`."""
        while not self.wait_eof(time.monotonic() + 0.001):
            if time.monotonic() > deadline:
                return False
            # Newest first: that is where a storm is, as long as pids do not wrap.
            for pid in sorted(psutil.pids(), reverse=True):
                self._kill_if_holding(pid)
        return True

    def _kill_if_holding(self, pid: int) -> None:
        if self._is_held_by(pid):
            with contextlib.suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                try:
                    # Check again after the pidfd was opened, because the PID may have been reused in between.
                    if self._is_held_by(pid):
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                finally:
                    os.close(pidfd)
