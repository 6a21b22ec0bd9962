"""Which jobs are stuck, by which rule, since when. Pure; the caller brings the time.

    no_heartbeat      the runner's own heartbeat is silent: C code holds the interpreter lock, or it is stopped
    no_event          the task says nothing, although its runner is well; off unless asked for
    starting_late     a slot, but no running task; or an import that takes too long
    cancelling_late   past the budget, and no verdict
    survivors         processes that would not go, named

One row a job: the gravest rule that holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.jobs.liveness import Liveness
from supervisor.core.jobs.model import Rule, State, StuckAction
from supervisor.core.jobs.registry import LiveJob

STARTING_LATE_S = 5.0
SWEEPING_LATE_S = 2.5
"""After its result a job has half a second to end by itself, and is then stopped within the server's budget."""
VERDICT_MARGIN_S = 0.25
"""How much longer than a budget a cancel may take to be told, before it counts as late."""


@dataclass(frozen=True, slots=True)
class StuckLimits:
    """What counts as stuck for one job. Seconds; None is off."""

    after_s: float | None
    no_event_s: float | None
    action: StuckAction
    import_s: float | None = None
    """How long the import of the task's module may take, if it has to be imported."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`since` is on the awake clock: the last sign of life, not the moment when patience ended."""

    rule: Rule
    since: float


def judge(record: LiveJob, limits: StuckLimits, now: float) -> Finding | None:
    """What is wrong with an unfinished job, if anything. `now` is on the awake clock."""
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
    """From the hand-over on the runner imports the module. Its heartbeat says nothing then: that may compute in C."""
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
