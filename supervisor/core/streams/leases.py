"""Leases: a job that was created with `lease_s` is cancelled unless its client renews the lease in time.

They are for clients behind proxies that acknowledge bytes for them, where the connection does not show whether the
client is still there. A lease runs from the job's creation, also while the job waits in the queue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from supervisor.core.jobs.model import Cause, Job, Reason, State
from supervisor.core.loop.awake_clock import AwakeClock, AwakeTimer
from supervisor.errors import Conflict


@dataclass(frozen=True, slots=True)
class Renewed:
    """The time at which the renewed lease expires."""

    lease_s: float
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Running:
    timer: AwakeTimer
    expire: Callable[[Cause], None]


class Leases:
    """The leases of all unfinished jobs that have one. Only for use on the event loop.

    They run on `clock`, because a client cannot renew a lease while the server sleeps.
    """

    def __init__(self, clock: AwakeClock) -> None:
        self._clock = clock
        self._running: dict[str, _Running] = {}

    def begin(self, job: Job, expire: Callable[[Cause], None]) -> None:
        """Start the job's lease, if it has one. `expire` is called once, with the cause, when the lease expires."""
        if job.request.lease_s is not None:
            self._set(job.id, job.request.lease_s, expire)

    def renew(self, job: Job) -> Renewed:
        """Restart the lease. Raise Conflict if the job has none, or is already being stopped."""
        lease_s = job.request.lease_s
        if lease_s is None:
            raise Conflict(f"cannot renew the lease of job {job.id}: it was created without `lease_s`")
        running = self._running.get(job.id)
        if running is None or job.state is State.CANCELLING:
            raise Conflict(f"cannot renew the lease of job {job.id}: it is {job.state}")
        running.timer.cancel()
        self._set(job.id, lease_s, running.expire)
        return Renewed(lease_s, datetime.now(UTC) + timedelta(seconds=lease_s))

    def end(self, job_id: str) -> None:
        """Remove the lease of a job that has ended."""
        running = self._running.pop(job_id, None)
        if running is not None:
            running.timer.cancel()

    def _set(self, job_id: str, lease_s: float, expire: Callable[[Cause], None]) -> None:
        timer = self._clock.call_later(lease_s, self._expired, job_id, lease_s)
        self._running[job_id] = _Running(timer, expire)

    def _expired(self, job_id: str, lease_s: float) -> None:
        detail = f"the lease of {lease_s:g} s ran out"
        running = self._running.pop(job_id)
        running.expire(Cause(Reason.LEASE, running.timer.due_at, datetime.now(UTC), detail))
