"""Notification of a process's end on the event loop: by its pidfd, or by polling where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from supervisor.guardian.handle import Handle

POLL_S = 0.01
"""The polling interval for a process without a pidfd."""


class ExitWatch:
    """Calls `on_exit` once, in a later iteration of the loop, when the process has ended; never after `stop`."""

    def __init__(self, handle: Handle, on_exit: Callable[[], None]) -> None:
        self._handle = handle
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        if handle.pidfd is None:
            self._timer = self._loop.call_later(0, self._poll)
        else:
            self._loop.add_reader(handle.pidfd, self._ended)

    def stop(self) -> None:
        """Call this before the handle is closed. Further calls do nothing."""
        if self._timer is not None:
            self._timer.cancel()
        elif self._handle.pidfd is not None:
            self._loop.remove_reader(self._handle.pidfd)

    def _poll(self) -> None:
        if self._handle.ended:
            self._on_exit()
        else:
            self._timer = self._loop.call_later(POLL_S, self._poll)

    def _ended(self) -> None:
        self.stop()
        self._on_exit()
