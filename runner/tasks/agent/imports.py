"""Slow imports beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")


async def beside_the_loop(make: Callable[[], Made]) -> Made:
    """Return or raise what `make` does. It runs in a thread that is abandoned if this task is cancelled.

    `asyncio.to_thread` is not enough: its threads are joined at the end of the loop, and an import cannot be
    interrupted.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Made] = loop.create_future()

    def settle(act: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the task was cancelled long ago
            loop.call_soon_threadsafe(lambda: None if outcome.done() else act())

    def run() -> None:
        try:
            made = make()
        except Exception as exc:
            problem = exc
            settle(lambda: outcome.set_exception(problem))
        else:
            settle(lambda: outcome.set_result(made))

    threading.Thread(target=run, name="deadstop-import", daemon=True).start()
    return await outcome
