"""JobCancelled where Python cannot pass it on: it is raised again in the code that goes on.

An exception that leaves a `__del__`, a callback of C code or a callback of the garbage collector has no caller to go
to: Python gives it to `sys.unraisablehook` and goes on. Raised once more by a signal, it would most likely hit the next
such call, where the program spends its time. So the frames below it are watched, as a debugger watches them, and the
first of them that comes to its next line, or returns, raises it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from runner.cancellation import Cancellation
from runner.errors import JobCancelled

Hook = Callable[["sys.UnraisableHookArgs"], object]


class UnraisableHook:
    """A `sys.unraisablehook`. Other exceptions go to `otherwise`."""

    def __init__(self, cancellation: Cancellation, otherwise: Hook) -> None:
        self._cancellation = cancellation
        self._otherwise = otherwise

    def __call__(self, told: sys.UnraisableHookArgs) -> None:
        if not isinstance(told.exc_value, JobCancelled):
            self._otherwise(told)
        elif threading.current_thread() is threading.main_thread() and sys.gettrace() in (None, self._trace):
            self._watch(sys._getframe(1))

    def _watch(self, frame: FrameType | None) -> None:
        """Have `_trace` called for this frame and those that called it, but for the runner's own."""
        while frame is not None:
            if not frame.f_globals.get("__name__", "").startswith("runner."):
                frame.f_trace = self._trace
            frame = frame.f_back
        sys.settrace(self._trace)

    def _trace(self, frame: FrameType, event: str, _value: object) -> Any:
        if event == "call":
            return None  # a new frame may be one more of those that swallow it
        sys.settrace(None)
        self._cancellation.on_sigterm(signal.SIGTERM, frame)
        return None
