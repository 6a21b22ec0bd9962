"""Streams that a job depends on: when the last one leaves, the job is cancelled, at once or after its grace period."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from supervisor.core.jobs.model import Cause, Reason, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.loop.awake_clock import AwakeClock, AwakeTimer


class Attachments:
    """Only for use on the event loop. `cancel` stops a job; `on_held` is called when one starts to depend on them."""

    def __init__(
        self, cancel: Callable[[LiveJob, Cause], None], on_held: Callable[[LiveJob], None], clock: AwakeClock
    ) -> None:
        self._clock = clock
        self._cancel = cancel
        self._on_held = on_held
        self._graces: dict[str, AwakeTimer] = {}
        self._closing = False

    def attach(self, record: LiveJob) -> None:
        """Attach a stream."""
        record.streams += 1
        record.attached.set()
        if not record.held:
            record.held = True
            self._on_held(record)
        self.end_grace(record)

    def detach(self, record: LiveJob, *, vanished: bool = False, left_at: float | None = None) -> None:
        """Detach a stream. `left_at` is the monotonic time when its client left, if that is known."""
        record.streams -= 1
        if record.streams > 0 or (self._closing and record.job.state is State.QUEUED):
            return
        grace_s = record.job.request.reconnect_grace_s
        if grace_s <= 0:
            self._cancel(record, _disconnected(time.monotonic() if left_at is None else left_at, vanished=vanished))
        elif not record.job.state.terminal:
            self._graces[record.job.id] = self._clock.call_later(grace_s, self._grace_over, record)

    def end_grace(self, record: LiveJob) -> None:
        """Stop waiting for a client of this job to come back."""
        grace = self._graces.pop(record.job.id, None)
        if grace is not None:
            grace.cancel()

    def close(self) -> None:
        """Ignore the ends of streams from now on, because the shutdown causes them and not the clients."""
        self._closing = True
        for grace in self._graces.values():
            grace.cancel()
        self._graces.clear()

    def _grace_over(self, record: LiveJob) -> None:
        due = self._graces.pop(record.job.id).due_at
        self._cancel(record, _disconnected(due, vanished=False))


def _disconnected(detected: float, *, vanished: bool) -> Cause:
    at = datetime.now(UTC) - timedelta(seconds=time.monotonic() - detected)
    return Cause(Reason.CLIENT_DISCONNECTED, detected, at, vanished=vanished)
