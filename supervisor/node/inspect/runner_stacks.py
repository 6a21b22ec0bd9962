"""The stacks of one runner, taken in a thread of their own: one dump at a time."""

from __future__ import annotations

import asyncio
import os
from multiprocessing.connection import Connection

from supervisor.node.inspect import native_stacks, stacks
from supervisor.node.inspect.looks import taken
from supervisor.node.inspect.stacks import NoStack
from supervisor.node.storage.lane import Lane


class RunnerStacks:
    """Belongs to the event loop. `pipe` is the reading end of the runner's stack pipe, `lane` has the thread."""

    def __init__(self, runner_pid: int, pipe: Connection, lane: Lane) -> None:
        self._runner_pid = runner_pid
        self._pipe = pipe
        self._lane = lane
        self._in_turn = asyncio.Lock()

    async def take(self, *, native: bool) -> str:
        """Return the stacks of the runner's Python threads, with `native` frames as well. Raise NoStack."""
        async with self._in_turn:
            if native:
                taking = self._lane.later(native_stacks.take, self._runner_pid)
                return await taken(taking, self._lane, native_stacks.TIMEOUT_S)
            try:
                fd = os.dup(self._pipe.fileno())
            except OSError:
                raise NoStack("the job's process has ended") from None
            taking = self._lane.later(stacks.take, self._runner_pid, fd)
            # The descriptor is closed when the thread has finished, or will not begin: the request may end before that.
            taking.add_done_callback(lambda _: os.close(fd))
            return await taken(taking, self._lane, stacks.TIMEOUT_S)
