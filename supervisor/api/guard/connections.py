"""How many connections there may be, and who gives way when that is many.

Past the bound a new connection takes the place of the oldest one that is idle. When none is idle it is one of a
few spare ones, which stop jobs, keep leases alive and tell how the server is, and are refused everything else: a server
that is full can still be told to stop something.
"""

from __future__ import annotations

import time
from typing import Protocol

from supervisor.core.telemetry.health import Check

SPARE_SHARE = 8
MIN_SPARE, MAX_SPARE = 4, 64
MOST = 4096
FEWEST = 16
RETRY_AFTER_S = 1
FRESH_S = 0.25
"""Before a connection counts as idle: its first request may be on its way."""


class Client(Protocol):
    """One open connection."""

    @property
    def idle_since(self) -> float | None:
        """Since when no request of it is being answered, in monotonic seconds. None: one is."""

    def give_way(self) -> None:
        """Close it at once."""


def bound_for(open_files: int) -> int:
    """How many connections go with so many open files. The other half is for jobs and the journal.

    Below 0 is no limit.
    """
    return MOST if open_files < 0 else max(FEWEST, min(MOST, open_files // 2))


class Connections:
    """All of one server, in the order in which they came. Belongs to the event loop."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._spare_most = max(MIN_SPARE, min(MAX_SPARE, most // SPARE_SHARE))
        self._open: dict[Client, None] = {}
        self._spare: set[Client] = set()
        self.trouble: str | None = None
        """Why none can be accepted now."""

    def __len__(self) -> int:
        return len(self._open)

    def make_room(self, coming: int = 0) -> bool:
        """Whether one more may come, besides those that are coming already. Idle ones may have to give way for it."""
        while len(self._open) + coming >= self.most and self._close_idle(FRESH_S):
            continue
        return len(self._open) + coming < self.most + self._spare_most or self._close_idle(0)

    def close_idle(self) -> bool:
        """Close one that is idle, if there is one."""
        return self._close_idle(FRESH_S) or self._close_idle(0)

    def _close_idle(self, for_s: float) -> bool:
        """Close the oldest of those that have been idle for so long."""
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
        """Whether the client may only do what must work when everything else is too much."""
        return client in self._spare

    def check(self) -> Check:
        numbers = {"open": float(len(self)), "most": float(self.most)}
        if self.trouble is not None:
            return Check(False, f"no new connections: {self.trouble}", numbers=numbers, public="no new connections")
        detail = f"{len(self)} of {self.most} connections"
        return Check(not self._spare, detail, required=False, numbers=numbers, public=detail)
