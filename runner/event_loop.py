"""The event loop of an async task. It outlives the task's function, so that the outcome can be reported first.

`asyncio.run` waits without a limit for what the function has left: threads of the default executor, tasks that answer
CancelledError with more work, open async generators. This loop cancels them too, but with a time limit; after that the
end of the process ends them.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any

from runner.errors import JobCancelled

CLEANUP_TIMEOUT_S = 0.4
"""How long the remaining tasks of a loop may clean up: less than the 0.5 s after which the process is terminated."""


class TaskLoop:
    """The loop of one task, created when the task turns out to be async."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, coroutine: Coroutine[Any, Any, object]) -> object:
        """Run a coroutine as `asyncio.run` does, but keep the loop and its remaining tasks until `end`."""
        self._runner = asyncio.Runner()
        return self._runner.run(coroutine)

    def end(self, timeout_s: float | None = CLEANUP_TIMEOUT_S) -> None:
        """Cancel the remaining tasks and run them to their end. With a timeout the process then ends, even if something
        blocks the loop.
        """
        if self._runner is None:
            return
        if timeout_s is not None:
            alarm = threading.Timer(timeout_s, os._exit, (0,))
            alarm.daemon = True
            alarm.start()
        loop = self._runner.get_loop()
        deadline = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
        rest = loop.create_task(_cancel_remaining(loop))
        rest.add_done_callback(lambda _: loop.stop())
        while not rest.done() and time.monotonic() < deadline:
            try:
                loop.run_forever()
            except BaseException as exc:  # a KeyboardInterrupt or SystemExit of a task breaks out of the loop
                _report_late(exc)


async def _cancel_remaining(loop: asyncio.AbstractEventLoop) -> None:
    tasks = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    for task in tasks:
        await asyncio.wait([task])
        if not task.cancelled() and (exc := task.exception()) is not None:
            _report_late(exc)
    await loop.shutdown_asyncgens()


def _report_late(exc: BaseException) -> None:
    """Write an exception to stderr that came after the end of the task's function. It does not change how the job
    ended.
    """
    if not isinstance(exc, JobCancelled):
        sys.excepthook(type(exc), exc, exc.__traceback__)
