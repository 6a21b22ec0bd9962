"""The limit on open connections, and which of them are closed or restricted when it is reached.

Beyond the limit a new connection replaces the oldest idle one. If none is idle, it becomes one of a few spare ones,
which may only cancel jobs, renew leases and query the server's health: a full server can still be asked to stop a job.
"""

from __future__ import annotations

import time
from typing import Protocol

from supervisor.engine.inspection import Check

SPARE_SHARE = 8
MIN_SPARE, MAX_SPARE = 4, 64
MOST = 4096
FEWEST = 16
OWN_FILES = 64
"""File descriptors for the server itself: journal, folders, threads, warm workers, and a reserve."""
RETRY_AFTER_S = 1
FRESH_S = 0.25
"""A connection counts as idle after this time: its first request may be on its way."""


class Client(Protocol):
    """One open connection."""

    @property
    def idle_since(self) -> float | None:
        """The monotonic time since when no request has been in progress. None: one is in progress."""

    def give_way(self) -> None:
        """Close the connection at once."""


def bound_for(open_files: int) -> int:
    """Return how many connections to allow for a limit of open files, a negative one if there is no limit.

    What the server holds without a client is left out, and half of the rest is for jobs.
    """
    return MOST if open_files < 0 else max(FEWEST, min(MOST, (open_files - OWN_FILES) // 2))


class Connections:
    """All connections of a server, in the order of their arrival. Only for use on the event loop."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._spare_most = max(MIN_SPARE, min(MAX_SPARE, most // SPARE_SHARE))
        self._open: dict[Client, None] = {}
        self._spare: set[Client] = set()
        self.trouble: str | None = None
        """Why no connection can be accepted at present."""

    def __len__(self) -> int:
        return len(self._open)

    def make_room(self, coming: int = 0) -> bool:
        """Return whether one more connection fits besides those being opened. Idle ones are closed if necessary."""
        while len(self._open) + coming >= self.most and self._close_idle(FRESH_S):
            continue
        return len(self._open) + coming < self.most + self._spare_most or self._close_idle(0)

    def close_idle(self) -> bool:
        """Close an idle connection, if there is one."""
        return self._close_idle(FRESH_S) or self._close_idle(0)

    def _close_idle(self, for_s: float) -> bool:
        """Close the oldest connection that has been idle for that time."""
        until = time.monotonic() - for_s
        idle = (client for client in self._open if (since := client.idle_since) is not None and since <= until)
        oldest = next(idle, None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.give_way()
        return True

    def enter(self, client: Client) -> None:
        self._open[client] = None
        if len(self._open) > self.most:
            self._spare.add(client)

    def leave(self, client: Client) -> None:
        self._open.pop(client, None)
        self._spare.discard(client)
        if len(self._open) <= self.most:
            self._spare.clear()

    def is_spare(self, client: object) -> bool:
        """Return whether the client is restricted to what must work under any load."""
        return client in self._spare

    def check(self) -> Check:
        numbers = {"open": float(len(self)), "most": float(self.most)}
        if self.trouble is not None:
            return Check(False, f"no new connections: {self.trouble}", numbers=numbers, public="no new connections")
        detail = f"{len(self)} of {self.most} connections"
        return Check(not self._spare, detail, required=False, numbers=numbers, public=detail)
