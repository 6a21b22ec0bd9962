"""The exceptions that interrupt a task's main thread, and whether the code there is already handling one."""

from __future__ import annotations

import signal
import sys
import weakref
from threading import get_ident  # the function itself: a task may replace the module's, as gevent does
from types import FrameType

from runner.errors import JobCancelled
from runner.unwinding import is_unwinding


class Interruption:
    """Create it in the main thread."""

    def __init__(self) -> None:
        self.main_thread = get_ident()
        self._raised: list[weakref.ref[JobCancelled]] = []
        self._notified_trio: object = None

    def new_exception(self) -> JobCancelled:
        exc = JobCancelled("this job was asked to terminate")
        self._raised.append(weakref.ref(exc))  # weak, so that the frames in its traceback can be freed
        return exc

    def is_handled_in(self, frame: FrameType | None, *, unwinding: bool) -> bool:
        """Return whether the code in this frame of the main thread runs because of an earlier exception."""
        if get_ident() == self.main_thread and unwinding and _comes_from_interrupt(sys.exception()):
            return True
        raised = [exc for ref in self._raised if (exc := ref()) is not None]
        return any(is_unwinding(exc, frame) for exc in raised)

    def is_handled(self, *, unwinding: bool) -> bool:
        """The same for whatever the main thread runs now. For any thread."""
        return self.is_handled_in(sys._current_frames().get(self.main_thread), unwinding=unwinding)

    def pass_to_trio(self, frame: FrameType | None) -> bool:
        """Return whether trio runs, and have its handler for SIGINT raise once.

        An exception must not break out of trio's loop, and its handler knows where to raise.
        """
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler) or getattr(handler, "__module__", "").partition(".")[0] != "trio":
            return False
        if handler is not self._notified_trio:
            self._notified_trio = handler
            handler(signal.SIGINT, frame)
        return True


def _comes_from_interrupt(exc: BaseException | None) -> bool:
    """Return whether the exception is a KeyboardInterrupt, or has one among its causes."""
    seen = set()
    while exc is not None and id(exc) not in seen:
        if isinstance(exc, KeyboardInterrupt):
            return True
        seen.add(id(exc))
        exc = exc.__cause__ or exc.__context__
    return False
