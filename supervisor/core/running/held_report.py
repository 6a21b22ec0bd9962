"""Delay the report of a job that was ended by a stop signal without a known cause: the server may be stopping as well.

A service manager signals every process of the server at once (systemd, KillMode=control-group), so a job's command and
its runner may end before the server has seen its own signal. Such a report is held for HOLD_S. If a cause comes in that
time, the job counts as cancelled, otherwise it fails as reported.
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
"""A busy event loop may run a timer before an earlier signal. The wait is then repeated, up to this often."""


class HeldReport:
    """Part of a job's controller. `apply` passes an input to the job's state machine."""

    def __init__(self, record: LiveJob, apply: Callable[[Input], None]) -> None:
        self._record = record
        self._apply = apply
        self._held: asyncio.Task[None] | None = None

    def take(self, fact: Input, *, by_stop_signal: bool = False) -> None:
        """Apply an input now, or hold it first."""
        if not isinstance(fact, Reported):
            self._apply(fact)
        elif self._held is None and by_stop_signal and not self._record.stop_wanted.is_set():
            self._held = asyncio.create_task(self._later(fact))
        elif self._held is None:
            self._apply(fact)

    async def settle(self, *, by_stop_signal: bool) -> None:
        """Wait until no report is held. A job that was ended by a stop signal without a report waits as long."""
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
