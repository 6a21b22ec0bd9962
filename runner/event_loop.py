"""The event loop of an async task: it outlives the task's function, so that the end can be reported first.

`asyncio.run` waits without a bound for what the function has left: threads of the default executor, tasks that answer
CancelledError with more work, open async generators. Here the rest is cancelled too, but for a bounded time; the end of
the process takes what is left then.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any

from runner.cancellation import JobCancelled

REST_S = 0.4
"""How long what an ended task left in its loop may clean up: less than the 0.5 s after which its process is ended."""


class TaskLoop:
    """The loop of one task, if it turns out to need one."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, coroutine: Coroutine[Any, Any, object]) -> object:
        """As `asyncio.run`, but what is left in the loop stays until `end`."""
        self._runner = asyncio.Runner()
        return self._runner.run(coroutine)

    def end(self, bound_s: float | None = REST_S) -> None:
        """Cancel what is left and run it to its end. With a bound the process ends when it is over, also when something
        blocks the loop."""
        if self._runner is None:
            return
        if bound_s is not None:
            alarm = threading.Timer(bound_s, os._exit, (0,))
            alarm.daemon = True
            alarm.start()
        loop = self._runner.get_loop()
        deadline = time.monotonic() + (float("inf") if bound_s is None else bound_s)
        rest = loop.create_task(_rest(loop))
        rest.add_done_callback(lambda _: loop.stop())
        while not rest.done() and time.monotonic() < deadline:
            try:
                loop.run_forever()
            except BaseException as exc:  # a KeyboardInterrupt or SystemExit of a task breaks out of the loop
                _tell(exc)


async def _rest(loop: asyncio.AbstractEventLoop) -> None:
    tasks = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    for task in tasks:
        await asyncio.wait([task])
        if not task.cancelled() and (exc := task.exception()) is not None:
            _tell(exc)
    await loop.shutdown_asyncgens()


def _tell(exc: BaseException) -> None:
    """Write what came after the end of the task's function to stderr. How the job ended it cannot change."""
    if not isinstance(exc, JobCancelled):
        sys.excepthook(type(exc), exc, exc.__traceback__)
