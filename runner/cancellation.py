"""How cancel reaches the code of a task, gently first.

The watch thread polls the attempt's shared Event. When it is set: polling code sees a flag, an async task gets
CancelledError. Code that does neither gets JobCancelled in the main thread when SIGTERM comes. Each way
unwinds the stack once, so that `finally` blocks and context managers run; clean-up that has begun is not
interrupted again.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event as SharedEvent
from types import FrameType

from runner.protocol import TO_RUNNER, Ask, Input, ProtocolError, decode

POLL_S = 0.025
"""How often the Event is read. A tight loop on `is_set()` can be killed while it holds the Event's lock, and
then `set()` hangs in the supervisor; from 20 ms up that was never seen."""
READ_BYTES = 1 << 18


class JobCancelled(BaseException):
    """Raised in a task that is being cancelled. A BaseException, so that `except Exception` does not stop it."""


class Cancellation:
    """The one flag of an attempt, and everybody who has to hear of it."""

    def __init__(self, acknowledge: Callable[[], None]) -> None:
        self._acknowledge = acknowledge
        self._requested = threading.Event()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._unwinding = False
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
            self._unwinding = True
        return self.requested or self._unwinding

    def raise_if_requested(self) -> None:
        if self.notice():
            raise JobCancelled("this job was cancelled")

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the ask or the timeout, in seconds. True: asked to stop."""
        return self._requested.wait(timeout_s)

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
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._cancel_async)

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

    def _cancel_async(self) -> None:
        if self._task is not None and not self._task.done() and not self._unwinding:
            self._unwinding = True
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
            raise JobCancelled("this job was asked to terminate")

    def on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        """The signal handler; Python runs it in the main thread."""
        if self._unwinding:
            return
        task = self._task
        if task is not None and asyncio.current_task(self._loop) is not task:
            # The loop waits or runs somebody else's callback: an exception here would hit the wrong frame.
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._cancel_async)
            return
        self._unwinding = True
        if self._shielded:
            self._raise_later = True
            return
        raise JobCancelled("this job was asked to terminate")

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self.on_sigterm)

    def forked(self) -> None:
        """In a process that the task has forked: SIGTERM ends it, as `multiprocessing` and everybody else expect."""
        if signal.getsignal(signal.SIGTERM) == self.on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def threads_end_quietly(
    report: Callable[[threading.ExceptHookArgs], object],
) -> Callable[[threading.ExceptHookArgs], object]:
    """A `threading.excepthook`: that a thread of the task ended because the job was cancelled is no news."""

    def hook(told: threading.ExceptHookArgs) -> None:
        if not issubclass(told.exc_type, JobCancelled):
            report(told)

    return hook


class Watch(threading.Thread):
    """Polls the Event and reads the runner's channel until either asks, then asks the task. Input is passed on.

    `rest` is what was read from the channel behind the order. `on_input` must not wait: an ask may come behind it.
    """

    def __init__(
        self,
        event: SharedEvent,
        channel: socket.socket,
        cancellation: Cancellation,
        *,
        rest: bytes = b"",
        on_input: Callable[[Input], None] = lambda _frame: None,
    ) -> None:
        super().__init__(name="deadstop-watch", daemon=True)
        self._event = event
        self._channel = channel
        self._cancellation = cancellation
        self._unparsed = rest
        self._on_input = on_input

    def run(self) -> None:
        asked = self._parse(b"")
        while not asked and not self._event.is_set():
            readable, _, _ = select.select([self._channel], [], [], POLL_S)
            if readable:
                asked = self._read()
        self._cancellation.ask()

    def _read(self) -> bool:
        """Take what is there. Whether it asks to stop."""
        try:
            data = self._channel.recv(READ_BYTES)
        except ConnectionResetError:
            data = b""
        # EOF means that the supervisor is gone: the guardian kills everything in a moment, until then unwinding is
        # right too.
        return not data or self._parse(data)

    def _parse(self, data: bytes) -> bool:
        *lines, self._unparsed = (self._unparsed + data).split(b"\n")
        for line in lines:
            try:
                frame = decode(TO_RUNNER, line)
            except ProtocolError:
                return True  # a supervisor that talks nonsense cannot be relied on to ask
            if isinstance(frame, Ask):
                return True
            if isinstance(frame, Input):
                self._on_input(frame)
        return False
