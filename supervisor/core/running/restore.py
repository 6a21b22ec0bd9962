"""Take over the jobs that an earlier server left unfinished.

Jobs that had started are lost: their guardians killed them when that server died. Jobs that were queued run now. If
such a job depends on a stream, its client must come back within a few seconds, or the job is cancelled.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from supervisor.core.jobs.inputs import ServerDied
from supervisor.core.jobs.model import Cause, Reason, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.loop.awake_clock import AwakeClock
from supervisor.core.running.controller import JobController
from supervisor.core.running.queue import Slot
from supervisor.engine.containment import Proof
from supervisor.engine.report import JobError, Loss

REATTACH_S = 5.0
"""How long after the start a queued job waits for its client."""


async def take_over(
    owner: JobController, enter: Callable[[], Slot], clear: Callable[[], Awaitable[str]], clock: AwakeClock, loss: Loss
) -> None:
    """Run an earlier server's job to its end.

    `enter` returns its place in the queue, and `clear` the task module with which it may start.
    """
    record = owner.record
    if record.job.state is not State.QUEUED:
        owner.mark_removed()
        owner.apply(_lost(loss))
        return
    if record.held and not await _client_is_back(record, clock):
        owner.cancel(
            Cause(
                Reason.CLIENT_DISCONNECTED,
                time.monotonic(),
                datetime.now(UTC),
                "its client did not come back after the server was restarted",
            )
        )
        return
    if not owner.stopped:
        await owner.run(enter(), clear())


async def _client_is_back(record: LiveJob, clock: AwakeClock) -> bool:
    """Return whether the client came back in time, or the job was stopped meanwhile."""
    bound_s = max(REATTACH_S, record.job.request.reconnect_grace_s)
    await clock.wait_any([record.attached.wait(), record.stop_wanted.wait()], bound_s)
    return record.attached.is_set() or record.stop_wanted.is_set()


def _lost(loss: Loss) -> ServerDied:
    proof = None if loss.proof is None else Proof(loss.proof)
    error = JobError("lost", f"the server ended while this job ran: {loss.words}", proof=proof)
    return ServerDied(error, None if loss.gone_at is None else datetime.fromtimestamp(loss.gone_at, UTC))
