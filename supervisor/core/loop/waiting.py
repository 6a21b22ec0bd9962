"""Wait for something, unless a stop comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


async def wait_unless(stop: asyncio.Event, waiting: Awaitable[object]) -> None:
    """Wait until `waiting` is done or `stop` is set. In the second case cancel `waiting`."""
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
    # After a stop the result is not used, and asyncio would log an unused exception as an error.
    if not ended.cancelled():
        ended.exception()
