"""Hearing of a process's end on the event loop: from its pidfd, or by looking, where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from supervisor.guardian.handle import Handle

LOOK_S = 0.01
"""How often a process without a pidfd is looked at."""


class ExitWatch:
    """Calls `on_exit` once, on a later turn of the loop, when the process has ended; never after `stop`."""

    def __init__(self, handle: Handle, on_exit: Callable[[], None]) -> None:
        self._handle = handle
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._look_again: asyncio.TimerHandle | None = None
        if handle.pidfd is None:
            self._look_again = self._loop.call_later(0, self._look)
        else:
            self._loop.add_reader(handle.pidfd, self._ended)

    def stop(self) -> None:
        """Call before the handle is closed. Again is harmless."""
        if self._look_again is not None:
            self._look_again.cancel()
        elif self._handle.pidfd is not None:
            self._loop.remove_reader(self._handle.pidfd)

    def _look(self) -> None:
        if self._handle.ended:
            self._on_exit()
        else:
            self._look_again = self._loop.call_later(LOOK_S, self._look)

    def _ended(self) -> None:
        self.stop()
        self._on_exit()
