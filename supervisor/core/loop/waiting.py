"""Waiting for something that a stop makes unnecessary."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


async def wait_unless(stop: asyncio.Event, waiting: Awaitable[object]) -> None:
    """Return once `waiting` is done or `stop` is set, whichever comes first. In the second case cancel `waiting`."""
    task = asyncio.ensure_future(waiting)
    task.add_done_callback(_retrieve)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        if not task.done():
            task.cancel()


def _retrieve(ended: asyncio.Future[object]) -> None:
    # After a stop nothing reads how the waiting ended, and asyncio would log that as an error.
    if not ended.cancelled():
        ended.exception()
