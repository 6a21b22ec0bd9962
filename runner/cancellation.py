"""How a cancel request reaches the code of a task, gently first.

The watch thread polls the attempt's shared Event. When it is set, polling code sees a flag and an async task gets
CancelledError. Code that reacts to neither gets JobCancelled in the main thread when SIGTERM arrives. Each of them
unwinds the stack, so that `finally` blocks and context managers run, and a clean-up that has begun is not interrupted.
An exception that is swallowed, by a bare `except`, a `__del__` or a callback of C code, is raised again after a pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

from runner.errors import JobCancelled
from runner.interruption import Interruption

AGAIN_S = 0.1
"""The pause before JobCancelled is raised again in a task that has swallowed it."""
LATE_REQUEST_S = 0.1
"""How long a task that was ended by SIGTERM waits before it reports, in case the server is being stopped too."""


def _signal_group(pid: int) -> None:
    # For tests, which have no guardian. A stopped process receives SIGTERM when it continues.
    for number in (signal.SIGTERM, signal.SIGCONT):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


class Cancellation:
    """The cancel flag of an attempt, and its listeners.

    `stop_command` signals a command of `ctx.terminal`: it takes the pid and signals the command's process group.
    """

    def __init__(self, acknowledge: Callable[[], None], stop_command: Callable[[int], None] = _signal_group) -> None:
        self._acknowledge = acknowledge
        self.stop_command = stop_command
        self._requested = threading.Event()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._unwinding = False
        self._uninterruptible = False
        """The task certainly knows of the request. It is not interrupted any more."""
        self._acted_at: float | None = None
        self._loop_notified_at: float | None = None
        self.left = False
        """The task's function has returned or raised. Nothing is raised in it any more."""
        self._interruption = Interruption()
        self._shielded = 0
        self._raise_later = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[object] | None = None
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    @property
    def unwinding(self) -> bool:
        """Whether the task's code knows of the request and is cleaning up."""
        return self._unwinding

    @property
    def wake_fd(self) -> int:
        """A descriptor that is readable from the request on, for code that waits in select or poll."""
        return self._wake_read

    def notice(self) -> bool:
        """Return whether to stop. A caller that gets True is unwinding from now on and is not interrupted any more."""
        # A thread that an async task has started is not the task: the task still has to be cancelled.
        if self.requested and (self._task is None or threading.current_thread() is threading.main_thread()):
            self._unwinding = self._uninterruptible = True
        return self.requested or self._unwinding

    def raise_if_requested(self) -> None:
        if self.notice():
            raise JobCancelled("this job was cancelled")

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the request or the timeout. Return whether the job is to stop."""
        return self._requested.wait(timeout_s)

    def wait_for_late_request(self) -> None:
        """Return at once, unless SIGTERM came without a request: then the server may have received it too, and may send
        one.
        """
        if self._unwinding and not self.requested:
            self.wait(LATE_REQUEST_S)

    def request(self) -> None:
        """Record the request and pass it on to all listeners. The watch thread calls this once."""
        with self._lock:
            if self._requested.is_set():
                return
            self._requested.set()
            listeners = list(self._listeners)
        self._acknowledge()
        os.write(self._wake_write, b"!")
        for listener in listeners:
            listener()
        self._cancel_soon()

    def on_request(self, listener: Callable[[], None]) -> None:
        """Have the watch thread call `listener` when the job is to stop. It is not called if that was requested
        before.
        """
        with self._lock:
            if not self._requested.is_set():
                self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[], None]) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def bind_async(self, task: asyncio.Task[object]) -> None:
        """Cancel `task` on the request. Call this on its loop; after the request the task is cancelled at once."""
        self._task = task
        self._loop = task.get_loop()
        if self.requested:
            self._cancel_async()

    def unbind_async(self) -> None:
        self._loop = self._task = None

    def _cancel_soon(self) -> None:
        loop = self._loop
        if loop is not None:
            self._loop_notified_at = self._loop_notified_at or monotonic()
            loop.call_soon_threadsafe(self._cancel_async)

    def _cancel_async(self) -> None:
        if self._task is not None and not self._task.done() and not self._unwinding:
            self._unwinding = self._uninterruptible = True
            self._task.cancel("this job was cancelled")

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Protect a few instructions of the main thread that must not be interrupted, such as the writing of a
        message.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._shielded += 1
        try:
            yield
        finally:
            self._shielded -= 1
        if self._raise_later and not self._shielded:
            self._raise_later = False
            raise self._interruption.new_exception()

    def on_sigterm(self, _number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM. Python runs this in the main thread."""
        if self.left or self._uninterruptible or self._interruption.is_handled_in(frame, unwinding=self._unwinding):
            return
        self._acted_at = monotonic()
        if self._waits_for_loop():
            self._cancel_soon()
            return
        self._unwinding = True
        if self._shielded:
            self._raise_later = True
            return
        if not self._interruption.pass_to_trio(frame):
            raise self._interruption.new_exception()

    def raise_again(self) -> None:
        """Send the signal again if the task continues as if nothing had been raised in it.

        The watch thread calls this in each of its rounds.
        """
        if self._acted_at is None or self.left or self._uninterruptible or monotonic() - self._acted_at < AGAIN_S:
            return
        if signal.getsignal(signal.SIGTERM) != self.on_sigterm:
            return  # the task has installed a handler of its own
        if not self._interruption.is_handled(unwinding=self._unwinding):
            signal.pthread_kill(self._interruption.main_thread, signal.SIGTERM)

    def _waits_for_loop(self) -> bool:
        """Return whether the loop of an async task is to cancel it: an exception would hit a frame that is not the
        task's.

        Return False once the loop had time to do so and did not, because something computes in it.
        """
        task = self._task
        if task is None or asyncio.current_task(self._loop) is task:
            return False
        return self._loop_notified_at is None or monotonic() - self._loop_notified_at < AGAIN_S

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self.on_sigterm)

    def reset_after_fork(self) -> None:
        """Restore SIGTERM in a process that the task has forked, as `multiprocessing` and other programs expect."""
        if signal.getsignal(signal.SIGTERM) == self.on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def quiet_excepthook(
    report: Callable[[threading.ExceptHookArgs], object],
) -> Callable[[threading.ExceptHookArgs], object]:
    """Return a `threading.excepthook` that does not report a thread that ended because the job was cancelled."""

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not issubclass(arguments.exc_type, JobCancelled):
            report(arguments)

    return hook
