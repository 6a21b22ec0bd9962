"""A job's state machine as a pure function: (job, input) → (job, effects).

    from        input                    to          effects
    queued      CancelRequested          cancelled   events; never started
    queued      Bound                    starting    job.starting
    starting    Began                    running     job.running; timeout starts
    starting    Reported                 starting    (a task that could not be loaded)
    running     Reported                 running     phase cleanup
    starting,   CancelRequested          cancelling  stop the attempt
    running     CancelRequested, after   same        sweep at once, within the budget; the result stands
                the result was reported
    starting,   Ended                    succeeded / failed, by what was reported
    running
    cancelling  CancelRequested(force)   cancelling  bring the ladder's steps forward
    cancelling  Acknowledged, Signalled  cancelling  events
    cancelling  Unproven                 cancelling  survivors are named, the sweep goes on
    cancelling  Ended                    cancelled / timed_out
    queued,     StartRefused             failed
    starting
    starting,   ServerDied               lost        by the next server
    running,
    cancelling
    not ended   PhaseReport,             same        event; not after the result was reported
                ResourceReport,          same        event
                StuckChanged             same        event
    any end     CancelRequested          same        nothing

Inputs that are not in the table are rejected with the job's history. Inputs that may cross a transition on their way (a
frame that was sent before the cancel) are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from supervisor.core.jobs import resources
from supervisor.core.jobs.inputs import (
    Bound,
    CancelRequested,
    Effect,
    Emit,
    Finish,
    Input,
    Reported,
    ServerDied,
    StartRefused,
    StartTimeout,
    StopAttempt,
    StuckChanged,
)
from supervisor.core.jobs.json import cancellation_fields, error_fields, survivor_fields
from supervisor.core.jobs.model import Cancellation, Cause, Job, Json, Method, Reason, State, Stuck
from supervisor.engine.containment import Proof
from supervisor.engine.report import (
    Acknowledged,
    Began,
    Ended,
    JobError,
    PhaseReport,
    ResourceReport,
    Signalled,
    Unproven,
)


class RefusedTransition(Exception):
    """Raised for an input that the job's state does not allow. This is a bug in the caller."""

    def __init__(self, state: State, fact: Input, story: tuple[str, ...]) -> None:
        super().__init__(f"cannot take {type(fact).__name__} in state {state}; so far: {' → '.join(story)}")


@dataclass(frozen=True, slots=True)
class Life:
    """A job, with data that only the machine needs: the task's report, and the inputs so far."""

    job: Job
    reported: Reported | None = None
    stuck: Stuck | None = None
    story: tuple[str, ...] = ("queued",)


def step(life: Life, fact: Input, now: datetime) -> tuple[Life, list[Effect]]:
    """Apply one input. `now` is wall-clock time in UTC. Raise RefusedTransition if the state does not allow it."""
    after, effects = _dispatch(life, fact, now)
    if after is not life and not isinstance(fact, PhaseReport | ResourceReport | StuckChanged):
        after = replace(after, story=(*life.story, f"{type(fact).__name__}: {after.job.state}")[-50:])
    return after, effects


def _dispatch(life: Life, fact: Input, now: datetime) -> tuple[Life, list[Effect]]:
    state = life.job.state
    if isinstance(fact, PhaseReport | ResourceReport | StuckChanged):
        return (life, []) if state.terminal else _observed(life, fact, now)
    match state:
        case State.QUEUED:
            return _queued(life, fact, now)
        case State.STARTING | State.RUNNING:
            return _alive(life, fact, now)
        case State.CANCELLING:
            return _cancelling(life, fact, now)
        case State.SUCCEEDED | State.FAILED | State.CANCELLED | State.TIMED_OUT | State.LOST:
            if isinstance(fact, CancelRequested | Acknowledged | Signalled):
                return life, []
            raise RefusedTransition(state, fact, life.story)
    assert_never(state)


def _observed(
    life: Life, fact: PhaseReport | ResourceReport | StuckChanged, now: datetime
) -> tuple[Life, list[Effect]]:
    """Apply an observation, which leaves the job in its state."""
    job = life.job
    match fact:
        case PhaseReport(phase, detail):
            if life.reported is not None:
                return life, []  # the phase stays cleanup
            return replace(life, job=replace(job, phase=phase)), [Emit("job.phase", {"phase": phase, "detail": detail})]
        case ResourceReport(action, kind, name):
            changed = resources.changed(job.resources, action, kind, name, now)
            fields: dict[str, Json] = {"action": action, "kind": kind, "name": name}
            return replace(life, job=replace(job, resources=changed)), [Emit("job.resource", fields)]
        case StuckChanged(stuck, said):
            event = "job.unstuck" if stuck is None else "job.stuck"
            return replace(life, stuck=stuck), [] if said is None else [Emit(event, said)]
    assert_never(fact)


def _queued(life: Life, fact: Input, now: datetime) -> tuple[Life, list[Effect]]:
    match fact:
        case Bound():
            return replace(life, job=replace(life.job, state=State.STARTING)), [Emit("job.starting", {})]
        case CancelRequested(cause, budget_s):
            record = replace(
                _record(cause, budget_s),
                gone_ms=0.0,
                method=Method.NEVER_STARTED,
                proof=Proof.NEVER_STARTED,
                workspace_removed=True,
                within_budget=True,
            )
            life = replace(life, job=replace(life.job, cancellation=record))
            after, effects = _finish_cancelled(life, now)
            return after, [_requested(record), *effects]
        case StartRefused(error):
            return _finish(life, State.FAILED, now, error=error)
        case _:
            raise RefusedTransition(life.job.state, fact, life.story)


def _alive(life: Life, fact: Input, now: datetime) -> tuple[Life, list[Effect]]:
    job = life.job
    match fact:
        case Began(fields) if job.state is State.STARTING:
            effects: list[Effect] = [Emit("job.running", fields)]
            if job.request.timeout_s is not None:
                effects.append(StartTimeout(job.request.timeout_s))
            # The import, which is a phase of its own, is over.
            phase = job.phase if life.reported is not None else None
            return replace(life, job=replace(job, state=State.RUNNING, started_at=now, phase=phase)), effects
        case Reported() if life.reported is None:
            # The first report is final. But the job's processes may continue after it.
            swept = replace(life, reported=fact, job=replace(job, phase="cleanup"))
            cleanup: dict[str, Json] = {"phase": "cleanup", "detail": "waiting for the processes of the task to end"}
            return swept, [Emit("job.phase", cleanup)]
        case CancelRequested(cause, budget_s) if life.reported is None:
            record = _record(cause, budget_s)
            after = replace(life, job=replace(job, state=State.CANCELLING, cancellation=record))
            return after, [_requested(record), StopAttempt(cause, budget_s)]
        case CancelRequested(cause, budget_s):
            return life, [StopAttempt(cause, budget_s)]
        case Ended():
            job = replace(job, leftovers=fact.leftovers)
            said = life.reported or Reported(error=fact.error)
            if said.error is not None and fact.limit is not None:
                said = Reported(error=fact.limit)
            state = State.SUCCEEDED if said.error is None else State.FAILED
            return _finish(replace(life, job=job), state, now, result=said.result, error=said.error)
        case StartRefused(error):
            return _finish(life, State.FAILED, now, error=error)
        case ServerDied(error, gone_at):
            return _finish(life, State.LOST, gone_at or now, error=error)
        case Reported() | Acknowledged() | Signalled() | Unproven():
            return life, []  # a second report, or the sweep after the result
        case _:
            raise RefusedTransition(job.state, fact, life.story)


def _cancelling(life: Life, fact: Input, now: datetime) -> tuple[Life, list[Effect]]:
    job = life.job
    record = job.cancellation
    assert record is not None
    match fact:
        case CancelRequested(cause, budget_s):
            if record.force or not cause.force:
                return life, []  # the first cause is kept, and severity only rises
            raised = replace(record, force=True)
            return replace(life, job=replace(job, cancellation=raised)), [StopAttempt(cause, budget_s)]
        case Acknowledged(ms):
            known = replace(record, acknowledged_ms=ms)
            return replace(life, job=replace(job, cancellation=known)), [Emit("cancel.acknowledged", {"ms": ms})]
        case Signalled(name, shown, ms):
            mark = {"SIGTERM": "terminated_ms", "SIGKILL": "killed_ms"}[name]
            known = replace(record, **{mark: ms})  # type: ignore[arg-type]
            fields: dict[str, Json] = {"signal": name, **shown, "ms": ms}
            return replace(life, job=replace(job, cancellation=known)), [Emit("cancel.signalled", fields)]
        case Unproven(survivors):
            known = replace(record, survivors=survivors, within_budget=False)
            fields = {"survivors": [survivor_fields(survivor) for survivor in survivors]}
            return replace(life, job=replace(job, cancellation=known)), [Emit("cancel.unproven", fields)]
        case Ended():
            return _finish_cancelled(replace(life, job=_proven(job, record, fact)), now)
        case ServerDied(error, gone_at):
            return _finish(life, State.LOST, gone_at or now, error=error)
        case Began() | Reported():
            return life, []  # reported before the request to stop arrived; the cancel wins
        case _:
            raise RefusedTransition(job.state, fact, life.story)


def _proven(job: Job, record: Cancellation, gone: Ended) -> Job:
    terminated = gone.terminated_ms if gone.terminated_ms is not None else record.terminated_ms
    killed = gone.killed_ms if gone.killed_ms is not None else record.killed_ms
    known = replace(
        record,
        acknowledged_ms=gone.acknowledged_ms if gone.acknowledged_ms is not None else record.acknowledged_ms,
        terminated_ms=terminated,
        killed_ms=killed,
        gone_ms=gone.gone_ms,
        method=_method(terminated, killed),
        proof=gone.proof,
        processes_seen=gone.processes_seen,
        survivors=(),
        workspace_removed=gone.workspace_removed,
        within_budget=gone.gone_ms is not None and gone.gone_ms <= record.budget_s * 1000,
    )
    return replace(job, cancellation=known)


def _method(terminated_ms: float | None, killed_ms: float | None) -> Method:
    if killed_ms is not None:
        return Method.SIGKILL
    return Method.SIGTERM if terminated_ms is not None else Method.COOPERATIVE


def _record(cause: Cause, budget_s: float) -> Cancellation:
    return Cancellation(
        reason=cause.reason,
        detail=cause.detail,
        requested_at=cause.requested_at,
        force=cause.force,
        budget_s=budget_s,
    )


def _requested(record: Cancellation) -> Emit:
    return Emit("cancel.requested", {"reason": record.reason, "budget_s": record.budget_s})


def _finish_cancelled(life: Life, now: datetime) -> tuple[Life, list[Effect]]:
    record = life.job.cancellation
    assert record is not None
    state = State.TIMED_OUT if record.reason is Reason.TIMEOUT else State.CANCELLED
    fields = cancellation_fields(record)
    after, effects = _finish(life, state, now)
    return after, [Emit("cancel.verified", fields), *effects]


def _finish(
    life: Life, state: State, now: datetime, *, result: Json = None, error: JobError | None = None
) -> tuple[Life, list[Effect]]:
    job = replace(life.job, state=state, phase=None, finished_at=now, result=result, error=error)
    fields: dict[str, Json]
    match state:
        case State.SUCCEEDED:
            fields = {"result": result}
        case State.FAILED | State.LOST:
            assert error is not None
            fields = {"error": error_fields(error)}
        case _:
            assert job.cancellation is not None
            fields = {"cancellation": cancellation_fields(job.cancellation)}
    return replace(life, job=job, stuck=None), [Emit(f"job.{state}", fields), Finish()]
