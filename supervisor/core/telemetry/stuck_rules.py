"""The rules that decide whether a job is stuck, and since when. They have no side effects.

    no_heartbeat      the runner sends no heartbeat: C code holds the interpreter lock, or the runner is stopped
    no_event          the task sends nothing, although its runner responds; off by default
    starting_late     the job has a slot but its task does not run, or an import takes too long
    cancelling_late   the budget is over, and there is no verdict
    survivors         processes did not end; the finding names them

A job has one finding: that of the most serious rule that applies.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.jobs.liveness import Liveness
from supervisor.core.jobs.model import Rule, State, StuckAction
from supervisor.core.jobs.registry import LiveJob

STARTING_LATE_S = 5.0
SWEEPING_LATE_S = 2.5
"""Time to end after the result: half a second for a job to end by itself, then the server's budget."""
VERDICT_MARGIN_S = 0.25
"""How much longer than its budget a cancel may take before it counts as late."""


@dataclass(frozen=True, slots=True)
class StuckLimits:
    """The limits for one job, in seconds. None means off."""

    after_s: float | None
    no_event_s: float | None
    action: StuckAction
    import_s: float | None = None
    """Time limit for importing the task's module, if it must be imported."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`since` is the time of the last sign of life on the awake clock, not the time when the limit was exceeded."""

    rule: Rule
    since: float


def judge(record: LiveJob, limits: StuckLimits, now: float) -> Finding | None:
    """Return the finding for an unfinished job, if any. `now` is on the awake clock."""
    pulse, job = record.pulse, record.job
    match job.state:
        case State.CANCELLING:
            return _judge_cancel(record, now)
        case State.QUEUED | State.STARTING:
            return _judge_start(pulse, limits, now)
        case State.RUNNING if record.reported is not None:
            since = pulse.reported_at
            if since is not None and now - since >= SWEEPING_LATE_S:
                return Finding(Rule.SURVIVORS, since)
            return None
        case State.RUNNING:
            return _judge_running(pulse, limits, now)
        case _:
            return None


def _judge_start(pulse: Liveness, limits: StuckLimits, now: float) -> Finding | None:
    """Judge a starting job. While the runner imports the module its heartbeat means nothing: C code may be running."""
    since, limit_s = pulse.admitted_at, STARTING_LATE_S
    if pulse.bound_at is not None and limits.import_s is not None:
        since, limit_s = pulse.bound_at, limits.import_s
    if since is not None and now - since >= limit_s:
        return Finding(Rule.STARTING_LATE, since)
    return None


def _judge_running(pulse: Liveness, limits: StuckLimits, now: float) -> Finding | None:
    for rule, since, limit_s in (
        (Rule.NO_HEARTBEAT, pulse.beat_at, limits.after_s),
        (Rule.NO_EVENT, pulse.task_at, limits.no_event_s),
    ):
        if since is not None and limit_s is not None and now - since >= limit_s:
            return Finding(rule, since)
    return None


def _judge_cancel(record: LiveJob, now: float) -> Finding | None:
    cancellation = record.job.cancellation
    since = record.pulse.caused_at
    if cancellation is None or since is None:
        return None
    if cancellation.survivors:
        return Finding(Rule.SURVIVORS, since)
    if now - since >= cancellation.budget_s + VERDICT_MARGIN_S:
        return Finding(Rule.CANCELLING_LATE, since)
    return None
