"""How cancel reaches the code of a task, gently first.

The watch thread polls the attempt's shared Event. When it is set: polling code sees a flag, an async task gets
CancelledError. Code that does neither gets JobCancelled in the main thread when SIGTERM comes. Each way
unwinds the stack, so that `finally` blocks and context managers run, and clean-up that has begun is not interrupted.
What is swallowed instead, by a bare `except`, a `__del__` or a callback of C code, is raised again after a pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident  # the function itself: a task may replace the module's, as gevent does
from time import monotonic
from types import FrameType

from runner.unwinding import is_unwinding

AGAIN_S = 0.1
"""The pause before JobCancelled is raised again in a task that has swallowed it."""
LATE_ASK_S = 0.1
"""How long a task that was ended by SIGTERM keeps its outcome for itself, in case the server is being stopped too."""


class JobCancelled(KeyboardInterrupt):
    """Raised in a task that is being cancelled.

    A BaseException, so that `except Exception` does not stop it; and the one that programs are ended by already. Event
    loops, pools and test runners keep any other in the task, greenlet or test that it hits, and go on: this one they
    pass on and unwind. See asyncio's `Task`, gevent's `Hub.SYSTEM_ERROR`, pytest's `CallInfo.from_call`.
    """


def _signal_group(pid: int) -> None:
    # Where there is no guardian. A stopped process takes SIGTERM when it continues.
    for number in (signal.SIGTERM, signal.SIGCONT):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


class Cancellation:
    """The one flag of an attempt, and everybody who has to hear of it.

    `stop_command` has a command of `ctx.terminal` signalled: given its pid, it signals the command's process group.
    """

    def __init__(self, acknowledge: Callable[[], None], stop_command: Callable[[int], None] = _signal_group) -> None:
        self._acknowledge = acknowledge
        self.stop_command = stop_command
        self._requested = threading.Event()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._unwinding = False
        self._in_peace = False
        """The task has heard it in a way that it cannot have missed: it is never interrupted any more."""
        self._raised: list[weakref.ref[JobCancelled]] = []
        self._acted_at: float | None = None
        self._loop_asked_at: float | None = None
        self.left = False
        """The task's function has been left: nothing is raised any more."""
        self._main_thread = get_ident()
        self._told_trio: object = None
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
        """Whether the task's code has been told, and is cleaning up."""
        return self._unwinding

    @property
    def wake_fd(self) -> int:
        """Readable from the moment of the ask: for code that waits in select or poll."""
        return self._wake_read

    def notice(self) -> bool:
        """Whether to stop. A caller who hears yes is unwinding from now on and is not interrupted any more."""
        # A thread that an async task has started speaks for itself alone: the task has yet to be cancelled.
        if self.requested and (self._task is None or threading.current_thread() is threading.main_thread()):
            self._unwinding = self._in_peace = True
        return self.requested or self._unwinding

    def raise_if_requested(self) -> None:
        if self.notice():
            raise JobCancelled("this job was cancelled")

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the ask or the timeout, in seconds. True: asked to stop."""
        return self._requested.wait(timeout_s)

    def wait_for_a_late_ask(self) -> None:
        """Return at once, unless SIGTERM came without an ask: then the server may have had it too, and may ask soon."""
        if self._unwinding and not self.requested:
            self.wait(LATE_ASK_S)

    def ask(self) -> None:
        """Called by the watch thread, once."""
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

    def on_ask(self, listener: Callable[[], None]) -> None:
        """Have the watch thread call `listener` when the job is asked to stop; never if it was already."""
        with self._lock:
            if not self._requested.is_set():
                self._listeners.append(listener)

    def forget(self, listener: Callable[[], None]) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def bind_async(self, task: asyncio.Task[object]) -> None:
        """Cancel `task` when asked. Called on its loop; a task that is bound after the ask is cancelled at once."""
        self._task = task
        self._loop = task.get_loop()
        if self.requested:
            self._cancel_async()

    def unbind_async(self) -> None:
        self._loop = self._task = None

    def _cancel_soon(self) -> None:
        loop = self._loop
        if loop is not None:
            self._loop_asked_at = self._loop_asked_at or monotonic()
            loop.call_soon_threadsafe(self._cancel_async)

    def _cancel_async(self) -> None:
        if self._task is not None and not self._task.done() and not self._unwinding:
            self._unwinding = self._in_peace = True
            self._task.cancel("this job was cancelled")

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """A few instructions of the main thread that must not be torn, such as writing one frame."""
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
            raise self._exception()

    def on_sigterm(self, _number: int, frame: FrameType | None) -> None:
        """The signal handler; Python runs it in the main thread. What it raises, it may be asked to raise again."""
        if self.left or self._in_peace or self._is_answered(frame):
            return
        self._acted_at = monotonic()
        if self._waits_for_loop():
            self._cancel_soon()
            return
        self._unwinding = True
        if self._shielded:
            self._raise_later = True
            return
        if not self._trio_takes_it(frame):
            raise self._exception()

    def insist(self) -> None:
        """Have the signal handler look again when the task goes on as if nothing had been raised in it.

        Called by the watch thread, all the time.
        """
        if self._acted_at is None or self.left or self._in_peace or monotonic() - self._acted_at < AGAIN_S:
            return
        if signal.getsignal(signal.SIGTERM) != self.on_sigterm:
            return  # the task has one of its own
        if not self._is_answered(sys._current_frames().get(self._main_thread)):
            signal.pthread_kill(self._main_thread, signal.SIGTERM)

    def _waits_for_loop(self) -> bool:
        """Whether the loop of an async task is to cancel it. An exception would hit a frame that is not the task's.

        Not any more when the loop had time and did not come to it, because something computes in it.
        """
        task = self._task
        if task is None or asyncio.current_task(self._loop) is task:
            return False
        return self._loop_asked_at is None or monotonic() - self._loop_asked_at < AGAIN_S

    def _exception(self) -> JobCancelled:
        exc = JobCancelled("this job was asked to terminate")
        self._raised.append(weakref.ref(exc))  # weak, or what it came through would live on
        return exc

    def _is_answered(self, frame: FrameType | None) -> bool:
        """Whether the code in this frame of the main thread runs because of what was raised in it before."""
        if get_ident() == self._main_thread and _is_from_interrupt(sys.exception()) and self._unwinding:
            return True
        raised = [exc for ref in self._raised if (exc := ref()) is not None]
        return any(is_unwinding(exc, frame) for exc in raised)

    def _trio_takes_it(self, frame: FrameType | None) -> bool:
        """Whether trio runs: its loop cannot be broken out of, and its handler for SIGINT knows where to raise."""
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler) or getattr(handler, "__module__", "").partition(".")[0] != "trio":
            return False
        if handler is not self._told_trio:
            self._told_trio = handler
            handler(signal.SIGINT, frame)
        return True

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self.on_sigterm)

    def forked(self) -> None:
        """In a process that the task has forked: SIGTERM ends it, as `multiprocessing` and everybody else expect."""
        if signal.getsignal(signal.SIGTERM) == self.on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _is_from_interrupt(exc: BaseException | None) -> bool:
    """Whether the exception that is handled is a KeyboardInterrupt, or came of one."""
    seen = set()
    while exc is not None and id(exc) not in seen:
        if isinstance(exc, KeyboardInterrupt):
            return True
        seen.add(id(exc))
        exc = exc.__cause__ or exc.__context__
    return False


def threads_end_quietly(
    report: Callable[[threading.ExceptHookArgs], object],
) -> Callable[[threading.ExceptHookArgs], object]:
    """A `threading.excepthook`: that a thread of the task ended because the job was cancelled is no news."""

    def hook(told: threading.ExceptHookArgs) -> None:
        if not issubclass(told.exc_type, JobCancelled):
            report(told)

    return hook
