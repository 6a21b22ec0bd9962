"""A job that ended by a stop signal for which the server knows no cause: perhaps the server is being stopped as well.

A service manager signals every process of the server at once (systemd, KillMode=control-group), so a job's command and
its runner may end before the server has seen its own signal. Such an end is kept for HOLD_S: when a cause comes
meanwhile, the job was cancelled; when none comes, it failed as reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from supervisor.core.jobs.inputs import Input, Reported
from supervisor.core.jobs.registry import LiveJob

HOLD_S = 0.1
_LATE_S = 0.02
_TURNS = 5
"""An event loop that was busy takes a timer before a signal that came earlier: it gets as much time again."""


class HeldReport:
    """Belongs to a job's owner. `apply` gives a fact to the job's state machine."""

    def __init__(self, record: LiveJob, apply: Callable[[Input], None]) -> None:
        self._record = record
        self._apply = apply
        self._held: asyncio.Task[None] | None = None

    def take(self, fact: Input, *, by_stop_signal: bool = False) -> None:
        """Apply a fact, now or after it was held."""
        if not isinstance(fact, Reported):
            self._apply(fact)
        elif self._held is None and by_stop_signal and not self._record.stop_wanted.is_set():
            self._held = asyncio.create_task(self._later(fact))
        elif self._held is None:
            self._apply(fact)

    async def settle(self, *, by_stop_signal: bool) -> None:
        """Return once nothing is held, and a job that has ended like that without a report has had its time too."""
        if self._held is not None:
            await self._held
        elif self._record.reported is None and by_stop_signal and not self._record.stop_wanted.is_set():
            await self._cause_or_time()

    async def _later(self, fact: Reported) -> None:
        await self._cause_or_time()
        if not self._record.job.state.terminal:
            self._apply(fact)

    async def _cause_or_time(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_TURNS):
            due = loop.time() + HOLD_S
            with suppress(TimeoutError):
                await asyncio.wait_for(self._record.stop_wanted.wait(), HOLD_S)
            if loop.time() < due + _LATE_S:
                return
